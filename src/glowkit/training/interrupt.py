"""Ctrl-C and SIGTERM as a wish to stop at the end of the batch, instead of an exception."""

import signal
import threading
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Notes the first SIGINT or SIGTERM; a second SIGINT interrupts at once.

    A context manager: puts the former handlers back. In a thread it does nothing, since Python
    delivers signals to the main thread only.
    """

    def __init__(self) -> None:
        self.received = 0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            # None is a handler that was not installed from Python, and cannot be from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received += 1
        if number == signal.SIGINT and self.received > 1:
            raise KeyboardInterrupt
