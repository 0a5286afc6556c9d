"""`glowkit doctor`: what this machine computes with, and how fast a step is."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from glowkit import __version__
from glowkit.cli.common import JSON, KERNELS, NO_KERNELS, show_json
from glowkit.cli.speech import QUIET, show
from glowkit.system.errors import GlowkitError

ROUNDS, SECONDS = 9, 2.0  # turns of either kind, at the most; and after which there is no other
LEAST = 3
BATCH, SHAPE, WIDTH, STEPS = 16, (3, 32, 32), 64, 4


def doctor(
    plain: Annotated[bool, NO_KERNELS] = False,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Say versions, devices, cache and compiled kernels, and time a training step of a small Glow.

    Where compiled kernels run, the step is timed with and without them, in turns.

    Example: `glowkit doctor`
    """
    import torch

    from glowkit.nets.kernels.library import state

    kernels = state()
    folder, held = _cache()
    times = _times(both=kernels.reason is None)
    figures: dict[str, Any] = {
        "glowkit": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "devices": _devices(),
        "kernels": kernels.instructions if kernels.reason is None else None,
        "kernels_tiles": kernels.tiles or None,
        "kernels_path": str(kernels.path) if kernels.path else None,
        "kernels_compiler": kernels.compiler,
        "kernels_reason": kernels.reason,
        "kernels_note": kernels.note,
        "cache": str(folder) if folder else None,
        "cache_bytes": held,
        "step_ms": times.get(True),
        "plain_step_ms": times[False],
    }
    if as_json:
        show_json(figures)
        return
    text = {
        "python": figures["python"],
        "torch": figures["torch"],
        "system": figures["system"],
        "threads": str(figures["threads"]),
        "devices": ", ".join(figures["devices"]),
        "kernels": str(kernels),
        "library": figures["kernels_path"] or "none",
        "cache": f"{folder}, {held / 2**20:.1f} MiB" if folder else "there is no home folder",
        "step": f"{times[False]:.1f} ms in plain torch",
    }
    if True in times:
        gain = times[False] / times[True]
        text["step"] += f", {times[True]:.1f} ms with kernels ({gain:.2f} times as fast)"
    show(f"glowkit {__version__}", text)


def _devices() -> list[str]:
    import torch

    found = ["cpu"]
    for index in range(torch.cuda.device_count()):
        found.append(f"cuda:{index} ({torch.cuda.get_device_name(index)})")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def _cache() -> tuple[Path | None, int]:
    """The folder of the cache, and the bytes in it."""
    from glowkit.system.files import cache_folder

    try:
        folder = cache_folder()
    except GlowkitError:
        return None, 0
    held = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                held += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # another process has removed it
                continue
    return folder, held


def _times(both: bool) -> dict[bool, float]:
    """Median milliseconds of a training step, with kernels or without."""
    step = _step()
    taken: dict[bool, list[float]] = {kind: [] for kind in ([True, False] if both else [False])}
    given = os.environ.get(KERNELS)
    try:
        for kind in taken:  # the first time is another
            _switch(kind)
            step()
        start = time.monotonic()
        while any(
            len(each) < (LEAST if time.monotonic() - start > SECONDS else ROUNDS)
            for each in taken.values()
        ):
            for kind, each in taken.items():  # in turns: a busy moment is one for both
                _switch(kind)
                before = time.perf_counter()
                step()
                each.append(1000 * (time.perf_counter() - before))
    finally:
        if given is None:
            os.environ.pop(KERNELS, None)
        else:
            os.environ[KERNELS] = given
    return {kind: statistics.median(each) for kind, each in taken.items()}


def _switch(on: bool) -> None:
    os.environ[KERNELS] = "1" if on else "0"


def _step() -> Callable[[], None]:
    """Forward and backward pass of a small Glow."""
    import torch

    from glowkit.core import initialize
    from glowkit.models import GlowConfig, build

    generator = torch.Generator().manual_seed(0)
    model = build(GlowConfig(SHAPE, levels=3, steps=STEPS, width=WIDTH)).train()
    images = torch.randint(0, 256, (BATCH, *SHAPE), generator=generator)
    initialize(model, images, generator=generator)
    density = model.log_prob

    def run() -> None:
        model.zero_grad()
        (-density(images, generator=generator).mean()).backward()

    return run
