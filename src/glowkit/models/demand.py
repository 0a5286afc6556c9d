"""What a config asks for at the least, known before anything is built."""

import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from glowkit.core import GlowkitError
from glowkit.models.families import Config, family_of

MOST_LAYERS = 10_000
"""Fifty times those of the deepest published model; more take minutes to build."""


class Demand(NamedTuple):
    """layers: each of which has a tensor at least. numbers: in all of them, at least."""

    layers: int
    numbers: int


def demand(config: Config) -> Demand:
    """Lower bounds of what a model of this config holds, in closed form; 0 where none is known.

    >>> from glowkit.models.glow import GlowConfig
    >>> demand(GlowConfig((1, 8, 8), levels=2, steps=8, width=64)).layers
    16
    """
    bound = _DEMANDS.get(family_of(config).name)
    return bound(config) if bound else Demand(0, 0)


def check_against_file(config: Config, tensors: int, numbers: int, where: str) -> None:
    """Refuse a config whose model cannot be the one that a file of so much holds.

    Raises GlowkitError.
    """
    least = demand(config)
    if least.layers > tensors or least.numbers > numbers:
        raise GlowkitError(
            f"the weights in {where} do not fit its config.json, which asks for at least"
            f" {least.layers:,} tensors of {least.numbers:,} numbers, where the file has"
            f" {tensors:,} of {numbers:,}; the two are not of one model"
        )


def check_countable(config: Config) -> None:
    """Refuse a model that would take minutes to build, even without memory for its weights.

    Raises GlowkitError.
    """
    least = demand(config)
    if least.layers > MOST_LAYERS:
        raise GlowkitError(
            f"these settings ask for {least.layers:,} layers, and at most {MOST_LAYERS:,} are"
            " built; use fewer steps, blocks or levels"
        )
    if least.numbers > _MOST_NUMBERS:
        _refuse(least.numbers, _free_memory())


def check_buildable(config: Config, count: Callable[[], int]) -> None:
    """Refuse a model that needs more memory than there is.

    count: says how many numbers the model has exactly; asked when the bound alone does not tell.

    Raises GlowkitError.
    """
    least = demand(config)
    free = _free_memory()
    numbers = least.numbers
    if numbers * 4 <= free < numbers * 4 * _SLACK:
        numbers = count()
    if numbers * 4 > free:
        _refuse(numbers, free)


def _refuse(numbers: int, free: float) -> NoReturn:
    raise GlowkitError(
        f"a model of these settings has {numbers:,} weights or more, which take"
        f" {numbers * 4 / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB of memory are free; use"
        " a smaller width, fewer steps or smaller images"
    )


_MOST_NUMBERS = 2**50
"""Far beyond any memory, and far below where torch could not count them any more."""

_SLACK = 64
"""No model of a preset, or of settings near one, has so many times the numbers of its bound."""


def _free_memory() -> float:
    """Bytes that this process can still have; infinite where the system does not say."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return math.inf


def _glow(config: Any) -> Demand:
    channels = 4 * config.image_shape[0]
    numbers = 0
    for level in range(config.levels):
        here = channels << level
        numbers += config.steps * _step(config, here, config.width)
        numbers += 9 * here * here // 2 if level < config.levels - 1 else 0
    top = channels << (config.levels - 1)
    numbers += 36 * top * top if config.learn_top else 0
    numbers += 2 * top * (config.classes + config.context_features)
    layers = config.levels * config.steps
    if config.dequantization == "variational":
        layers += config.dequantization_steps
        numbers += config.dequantization_steps * _step(
            config, channels, config.dequantization_width
        )
    return Demand(layers, numbers)


def _step(config: Any, channels: int, width: int) -> int:
    half = channels // 2
    mix = channels * channels if config.permutation.startswith("conv1x1") else channels
    per_channel = {"mixture": 3 * config.components, "spline": 3 * config.bins - 1}
    out = half * (per_channel.get(config.coupling, 1) if half else 1)
    return mix + 9 * half * width + width * width + config.last_kernel**2 * width * out


def _realnvp(config: Any) -> Demand:
    channels, height, width = config.image_shape
    layers = numbers = 0
    for level in range(config.levels):
        last = level == config.levels - 1
        cells = (height >> level) * (width >> level)
        hidden = config.width << level
        boards, halves = (4, 0) if last else (3, 3)
        layers += (boards + halves) * (1 + 2 * config.blocks)
        entry, body = 18 * (channels << level) * hidden, 18 * config.blocks * hidden * hidden
        numbers += boards * (cells + entry + body) + halves * 4 * (entry + body)
    return Demand(layers, numbers)


def _nice(config: Any) -> Demand:
    size = math.prod(config.image_shape)
    hidden = (config.depth - 1) * config.width * config.width
    each = (size // 2) * config.width + hidden + config.width * (size // 2) + size
    return Demand(config.couplings * config.depth, config.couplings * each)


def _points(config: Any) -> Demand:
    size, kept = config.dimensions, config.dimensions // 2
    hidden = max(0, config.depth - 1) * config.width * config.width
    ends = config.width * (kept + (size - kept)) if config.depth else kept * (size - kept)
    mix = size * size if config.permutation.startswith("conv1x1") else size
    return Demand(config.steps * (1 + config.depth), config.steps * (mix + hidden + ends))


def _flowpp(config: Any) -> Demand:
    channels, height, width = config.image_shape
    layers = numbers = 0
    for scale, pair in enumerate(config.couplings):
        half, cells = (channels << (2 * scale)) // 2, (height >> scale) * (width >> scale)
        layers += sum(pair) * (1 + config.blocks)
        numbers += sum(pair) * _gated(config, half, cells // 2, config.blocks)
    if config.dequantization == "variational":
        couplings, blocks = config.dequantization_couplings, config.dequantization_blocks
        layers += couplings * (1 + blocks) + config.context_blocks
        numbers += couplings * _gated(config, channels, height * width // 2, blocks)
        numbers += config.context_blocks * 18 * config.context_width**2
    return Demand(layers, numbers)


def _gated(config: Any, half: int, cells: int, blocks: int) -> int:
    width = config.width
    out = half * (2 + 3 * config.components)
    return 9 * half * width + blocks * 2 * width * width + 9 * width * out + width * cells


_DEMANDS: dict[str, Callable[[Any], Demand]] = {
    "flowpp": _flowpp,
    "glow": _glow,
    "nice": _nice,
    "points": _points,
    "realnvp": _realnvp,
}
"""Of the families of this package."""
