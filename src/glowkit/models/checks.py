"""What a config is refused for: its settings, or a model that no computer could hold."""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, NamedTuple, NoReturn

from glowkit.core import GlowkitError, shown

LARGEST = 2**31 - 1
"""Of whole numbers in a config: of what counts something, no computer holds more."""


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a value that is not among the choices."""
    if not isinstance(value, str) or value not in choices:
        raise GlowkitError(
            f"{name} {shown(value)} does not exist; choose one of {', '.join(choices)}"
        )


def check_at_least(config: object, **minima: float) -> None:
    """Refuse settings below their minimum, and those that are not of the kind that is meant."""
    for field in fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if field.type in (int, "int"):
            _check_whole(field.name, value)
        if field.type in (bool, "bool") and not isinstance(value, bool):
            raise GlowkitError(f"{field.name} is {shown(value)}; it must be true or false")
        if field.type in (float, "float") and not _is_number(value):
            raise GlowkitError(f"{field.name} is {shown(value)}; it must be a number")
    for name, minimum in minima.items():
        value = getattr(config, name)
        if value < minimum:
            raise GlowkitError(f"{name} is {value}; it must be at least {minimum}")


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise GlowkitError(f"{name} is {shown(value)}; it must be a whole number")
    if value > LARGEST:
        raise GlowkitError(f"{name} is {shown(value)}; it must be at most {LARGEST}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_untouched(config: Any, only: str, *names: str) -> None:
    """Refuse settings that nothing reads in this config, unless they are as they come."""
    defaults = {field.name: field.default for field in fields(config)}
    for name in names:
        value = getattr(config, name)
        if value != defaults[name]:
            raise GlowkitError(
                f"{name} is {shown(value)}, but only {only} uses it; leave it out, or choose {only}"
            )


def image_shape(value: object) -> tuple[int, int, int]:
    """The shape of an image, whatever sequence a file holds.

    Raises GlowkitError when it is not channels, height and width.
    """
    sizes = tuple(value) if isinstance(value, list | tuple) else ()
    if len(sizes) != 3 or not all(type(size) is int and size >= 1 for size in sizes):
        raise GlowkitError(
            f"image_shape is {shown(value)}; give channels, height, width as whole numbers"
        )
    if math.prod(sizes) > LARGEST:
        raise GlowkitError(f"image_shape is {shown(value)}; an image has at most {LARGEST} numbers")
    return sizes


def check_sides(shape: tuple[int, int, int], halvings: int) -> None:
    """Refuse an image whose sides cannot be halved that often, naming the sides that can."""
    if halvings > (most := LARGEST.bit_length()):
        raise GlowkitError(f"{halvings} halvings leave nothing of an image; use at most {most}")
    step = 2**halvings
    for side in shape[1:]:
        if side % step:
            below, above = side // step * step, -(-side // step) * step
            near = f"{below} or {above}" if below else f"{above}"
            raise GlowkitError(
                f"a side of {side} pixels is not divisible by {step}, as {halvings} halvings need;"
                f" use a side of {near} (for example with --size), or fewer levels"
            )


def check_patches(shape: tuple[int, int, int], patch: int) -> None:
    """Refuse an image that cannot be cut into square patches of this side."""
    for side in shape[1:]:
        if side % patch:
            raise GlowkitError(
                f"a side of {side} pixels is not divisible by patch, which is {patch}; use"
                " another patch, or another side (for example with --size)"
            )


def check_heads(config: Any, heads: str = "heads", width: str = "width") -> None:
    """Refuse heads of attention that do not divide the width that they share; 0 are none."""
    count, shared = getattr(config, heads), getattr(config, width)
    if count and shared % count:
        raise GlowkitError(f"{heads} is {count}; it must divide {width}, which is {shared}")


def check_no_classes(family: str, classes: int) -> None:
    """Refuse class labels where no part of the model takes them yet."""
    if classes:
        raise GlowkitError(
            f"{family} is not conditional: it has no use for {classes} classes; set classes to 0,"
            " or train a Glow"
        )


MOST_LAYERS = 10_000
"""Fifty times those of the deepest published model; more take minutes to build."""


class Demand(NamedTuple):
    """layers: each of which has a tensor at least. numbers: in all of them, at least."""

    layers: int
    numbers: int


def demand(config: Any) -> Demand:
    """Lower bounds of what a model of this config holds, in closed form; 0 where none is known.

    >>> from glowkit.models.glow import GlowConfig
    >>> demand(GlowConfig((1, 8, 8), levels=2, steps=8, width=64)).layers
    16
    """
    bound = _DEMANDS.get(type(config).__module__)
    return bound(config) if bound else Demand(0, 0)


def check_against_file(config: Any, tensors: int, numbers: int, where: str) -> None:
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


def check_countable(config: Any) -> None:
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


def check_buildable(config: Any, count: Callable[[], int]) -> None:
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
    channels = 4 * (config.image_shape[0] + config.augmented_channels)
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
            config, 4 * config.image_shape[0], config.dequantization_width
        )
    if config.augmentation == "variational":
        layers += config.augmentation_steps
        numbers += config.augmentation_steps * _step(
            config, 4 * config.augmented_channels, config.augmentation_width
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
    size = config.flow_dimensions
    if config.coupling in ("planar", "radial"):
        return Demand(config.steps, config.steps * size)
    kept = size // 2 if config.structure == "coupling" else 0
    seen = kept + config.context_features
    hidden = max(0, config.depth - 1) * config.width * config.width
    ends = config.width * (seen + (size - kept)) if config.depth else seen * (size - kept)
    mix = size * size if config.permutation.startswith("conv1x1") else size
    return Demand(config.steps * (1 + config.depth), config.steps * (mix + hidden + ends))


def _residual(config: Any) -> Demand:
    size, width = config.dimensions, config.width
    hidden = max(0, config.depth - 1) * width * width
    ends = width * (2 * size + config.context_features) if config.depth else size * size
    return Demand(config.blocks * (2 + config.depth), config.blocks * (hidden + ends))


def _resflow(config: Any) -> Demand:
    per_scale = [config.image_shape[0] << (2 * scale) for scale in range(config.scales)]
    each = [18 * channels * config.width + config.width**2 for channels in per_scale]
    return Demand(3 * config.scales * config.blocks, config.blocks * sum(each))


def _continuous(config: Any) -> Demand:
    ends = config.width * (2 * config.dimensions + config.context_features)
    return Demand(config.depth, (config.depth - 1) * config.width * config.width + ends)


def _cube(config: Any) -> Demand:
    size, kept = config.dimensions, config.dimensions // 2
    couplings = config.rounds * max(1, 2 * (size - 1).bit_length())
    if size == 1:
        return Demand(couplings, couplings * config.bins)
    seen = kept * (config.blobs if config.encoding == "one-blob" else 1)
    out = kept * config.bins
    hidden = max(0, config.depth - 1) * config.width * config.width
    ends = config.width * (seen + out) if config.depth else seen * out
    return Demand(couplings * (1 + config.depth), couplings * (hidden + ends))


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


def _autoregressive(config: Any) -> Demand:
    channels, height, width = config.image_shape
    tokens = (height // config.patch) * (width // config.patch)
    entry = channels * config.patch**2 * config.width + tokens * config.width
    each = config.layers * 12 * config.width**2 + entry
    return Demand(config.blocks * config.layers, config.blocks * each)


def _jet(config: Any) -> Demand:
    channels, rows, columns = config.grid
    ends = config.width * (rows * columns + channels // 2 + channels)
    each = config.layers * 12 * config.width**2 + ends
    return Demand(config.couplings * config.layers, config.couplings * each)


_DEMANDS: dict[str, Callable[[Any], Demand]] = {
    f"{__package__}.continuous": _continuous,
    f"{__package__}.autoregressive": _autoregressive,
    f"{__package__}.cube": _cube,
    f"{__package__}.flowpp": _flowpp,
    f"{__package__}.glow": _glow,
    f"{__package__}.jet": _jet,
    f"{__package__}.nice": _nice,
    f"{__package__}.points": _points,
    f"{__package__}.realnvp": _realnvp,
    f"{__package__}.residual": _residual,
    f"{__package__}.resflow": _resflow,
}
"""Of the families of this package, by the modules of their configs."""
