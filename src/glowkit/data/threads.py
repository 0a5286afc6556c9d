"""A parallel map that keeps the order, reads only a little ahead, and shows how far it is."""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 64  # items under way: enough for every thread, few enough for memory
PATIENCE = 1.0  # seconds of work before a progress bar is worth showing


def ordered_map(
    work: Callable[[Item], Result], items: Iterable[Item], count: int, title: str
) -> Generator[Result, None, None]:
    """work(item) for each of the `count` items, in order, by several threads.

    After a second a progress bar called `title` appears on stderr, if that is a terminal.
    Whatever `work` raises comes out at the place of its item.
    """
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    under_way: deque[Future[Result]] = deque()
    try:
        with _progress(count, title) as step:
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) >= AHEAD:
                    yield under_way.popleft().result()
                    step()
            while under_way:
                yield under_way.popleft().result()
                step()
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _progress(count: int, title: str) -> Iterator[Callable[[], None]]:
    """A function to call after every item."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(title, total=count)
    begun = time.monotonic()
    shown = False

    def step() -> None:
        nonlocal shown
        bar.advance(task)
        if not shown and time.monotonic() - begun > PATIENCE:
            bar.start()
            shown = True

    try:
        yield step
    finally:
        bar.stop()
