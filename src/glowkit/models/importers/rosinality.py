"""rosinality/glow-pytorch: a state dict, saved from DataParallel."""

from collections.abc import Callable

import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.models.importers.files import Contents
from glowkit.models.importers.parts import Factors, Level, Scaled, Step, Weights, interleave
from glowkit.nets.glow import LOG_SCALE_FACTOR

MARK = r"blocks\.\d+\.flows\.\d+\."
"""How the names of this format begin."""


_MASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "u_mask": lambda ones: ones.triu(1),
    "l_mask": lambda ones: ones.tril(-1),
    "l_eye": lambda ones: ones.tril().triu(),
}
"""Of a factored matrix, from a square of ones."""


def read(file: Contents) -> Weights:
    """Map the tensors of rosinality/glow-pytorch onto ours.

    Differences from openai/glow, and how they are absorbed: actnorm multiplies by a signed number,
    whose sign goes into the columns of the 1x1 matrix that follows, and whose logarithm is the
    scale; the net has biases instead of actnorms; its first convolution pads with zeros (edge
    weights 0), and the zero-initialised ones pad every input with ones (edge weights: the sum over
    the inputs); couplings and split priors hold their two kinds of parameters one after the other,
    and not in turns. Every level has a prior, the top one of a map of zeros.
    """
    steps = max(file.numbers(r"blocks\.\d+\.flows\.(\d+)\.")) + 1
    count = max(file.numbers(r"blocks\.(\d+)\.")) + 1
    channels = file.size("blocks.0.flows.0.actnorm.loc", 1)
    width = file.size("blocks.0.flows.0.coupling.net.0.weight", 0)
    affine = file.size("blocks.0.flows.0.coupling.net.4.conv.weight", 0) == channels
    levels, top = [], None
    for level in range(count):
        names = [f"blocks.{level}.flows.{k}" for k in range(steps)]
        read_steps = [_step(file, name, channels, width, affine) for name in names]
        prior = f"blocks.{level}.prior"
        if level < count - 1:
            split = _in_turns(_zero_conv(file, prior, channels // 2, channels), "first, second")
            levels.append(Level(read_steps, split))
            channels *= 2
        else:
            levels.append(Level(read_steps, None))
            top = _on_zeros(_zero_conv(file, prior, channels, 2 * channels))
    return Weights(levels, top)


def _step(file: Contents, name: str, channels: int, width: int, affine: bool) -> Step:
    if not file.take(f"{name}.actnorm.initialized"):
        raise GlowkitError(f"{file.path}: {name}.actnorm was never initialized; train the model")
    scale = file.flat(f"{name}.actnorm.scale", 1, channels, 1, 1)
    if not scale.all():
        raise GlowkitError(f"{file.path}: {name}.actnorm.scale holds a 0, which has no inverse")
    net, half = f"{name}.coupling.net", channels // 2
    last = _zero_conv(file, f"{net}.4", width, channels if affine else half)
    return Step(
        file.flat(f"{name}.actnorm.loc", 1, channels, 1, 1),
        scale.abs().log() / LOG_SCALE_FACTOR,
        _mix(file, f"{name}.invconv", channels, scale.sign()),
        (
            _convolution(file, f"{net}.0", half, width, 3),
            _convolution(file, f"{net}.2", width, width, 1),
            _in_turns(last, "second, first") if affine else last,
        ),
    )


def _mix(file: Contents, name: str, channels: int, signs: Tensor) -> Tensor | Factors:
    """The 1x1 matrix times diag(signs). In the factored form, L·U·diag(signs) is one again."""
    square = (channels, channels)
    if file.has(rf"{name}\.weight"):
        return file.take(f"{name}.weight", *square, 1, 1)[:, :, 0, 0] * signs
    for mask, make in _MASKS.items():
        held = file.take(f"{name}.{mask}", *square)
        if not torch.equal(held, make(torch.ones_like(held))):
            raise GlowkitError(f"{file.path}: {name}.{mask} is another than this format's")
    return Factors(
        file.take(f"{name}.w_p", *square),
        file.take(f"{name}.w_l", *square),
        file.take(f"{name}.w_u", *square) * signs,
        file.take(f"{name}.w_s", channels),
        file.take(f"{name}.s_sign", channels) * signs,
    ).check(f"{file.path}: {name}")


def _convolution(file: Contents, name: str, inside: int, width: int, kernel: int) -> Scaled:
    weight = file.take(f"{name}.weight", width, inside, kernel, kernel)
    bias = file.take(f"{name}.bias", width)
    edge = torch.zeros_like(weight[:, 0]) if kernel == 3 else None
    return Scaled(weight, bias, torch.zeros_like(bias), edge)


def _zero_conv(file: Contents, name: str, inside: int, out: int) -> Scaled:
    weight = file.take(f"{name}.conv.weight", out, inside, 3, 3)
    bias = file.take(f"{name}.conv.bias", out)
    return Scaled(weight, bias, file.flat(f"{name}.scale", 1, out, 1, 1), weight.sum(1))


def _in_turns(conv: Scaled, order: str) -> Scaled:
    """Reorder the outputs from two halves to channels that take turns, beginning with `order`."""

    def turn(tensor: Tensor) -> Tensor:
        first, second = tensor.chunk(2)
        return interleave(first, second) if order == "first, second" else interleave(second, first)

    assert conv.edge is not None
    return Scaled(turn(conv.weight), turn(conv.bias), turn(conv.logs), turn(conv.edge))


def _on_zeros(conv: Scaled) -> Scaled:
    """The top prior: of its weights on C channels of zeros only the padding is left.

    Ours has 2C such channels, as openai/glow's has.
    """
    out = len(conv.bias)
    return Scaled(torch.zeros(out, out, 3, 3).double(), conv.bias, conv.logs, conv.edge)
