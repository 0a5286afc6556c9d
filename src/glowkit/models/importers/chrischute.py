"""chrischute/glow: a state dict under "net", whose couplings are RealNVP's."""

import re

import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.models.importers.files import Contents
from glowkit.models.importers.parts import Level, Scaled, Step, Weights, interleave, no_edge
from glowkit.models.realnvp import LOGIT_ALPHA
from glowkit.nets.glow import LOG_SCALE_FACTOR

MARK = r"flows\.(?:next\.)*steps\.\d+\."
"""How the names of this format begin."""

BATCH_NORM_EPSILON = 1e-5
"""What torch's batch norm adds to a variance by default, as this repository leaves it."""


def read(file: Contents) -> Weights:
    """Map the tensors of chrischute/glow onto ours.

    Differences from openai/glow that our settings express: the second half conditions, the scale
    is exp(g · tanh(s)), the conditioner begins with an activation, pixels go through a logit. And
    those that are absorbed: batch norms, by their running statistics, are the affine maps they are
    in evaluation (those between convolutions go into the one before); the logs of actnorm lack the
    factor 3 (divided by it); 3x3 convolutions pad with zeros alone (edge weights 0); the outputs
    hold scale and shift in turns, where ours hold shift and scale; what leaves early has a standard
    normal prior, as a zero convolution gives. Splitting after the squeeze is the same as before.
    """
    bounds = float(file.take("bounds", 1))
    if abs(bounds - (1 - 2 * LOGIT_ALPHA)) > 1e-6:
        raise GlowkitError(
            f"{file.path}: bounds is {bounds:g}, where this format has {1 - 2 * LOGIT_ALPHA:g}"
        )
    count = max(file.numbers(r"flows\.steps\.(\d+)\.")) + 1
    channels = file.size("flows.steps.0.norm.bias", 1)
    width = file.size("flows.steps.0.coup.nn.in_conv.weight", 0)
    levels: list[Level] = []
    here = "flows"
    while True:
        steps = [_step(file, f"{here}.steps.{k}", channels, width) for k in range(count)]
        here += ".next"
        if not file.has(re.escape(f"{here}.")):
            levels.append(Level(steps, None))
            return Weights(levels, kept_half="second", preprocessing="logit")
        levels.append(Level(steps, _standard_normal(channels)))
        channels *= 2


def _step(file: Contents, name: str, channels: int, width: int) -> Step:
    if not file.take(f"{name}.norm.is_initialized", 1):
        raise GlowkitError(f"{file.path}: {name}.norm was never initialized; train the model")
    net, half = f"{name}.coup.nn", channels // 2
    out_weight = _in_turns(file.take(f"{net}.out_conv.weight", channels, width, 3, 3))
    out_bias = _in_turns(file.take(f"{net}.out_conv.bias", channels))
    first = file.take(f"{net}.in_conv.weight", width, half, 3, 3)
    second = file.take(f"{net}.mid_conv.weight", width, width, 1, 1)
    return Step(
        file.flat(f"{name}.norm.bias", 1, channels, 1, 1),
        file.flat(f"{name}.norm.logs", 1, channels, 1, 1) / LOG_SCALE_FACTOR,
        file.take(f"{name}.conv.weight", channels, channels),
        (
            _normed(first, *_batch_norm(file, f"{net}.mid_norm", width)),
            _normed(second, *_batch_norm(file, f"{net}.out_norm", width)),
            Scaled(out_weight, out_bias, torch.zeros_like(out_bias), no_edge(channels)),
        ),
        entry=_batch_norm(file, f"{net}.in_norm", half),
        gain=file.take(f"{name}.coup.scale", half, 1, 1),
    )


def _batch_norm(file: Contents, name: str, channels: int) -> tuple[Tensor, Tensor]:
    """Scale and bias of the affine map that a batch norm is by its running statistics."""
    file.take(f"{name}.num_batches_tracked")
    variance = file.take(f"{name}.running_var", channels)
    if bool((variance < 0).any()):
        raise GlowkitError(f"{file.path}: {name}.running_var is negative; the file is damaged")
    scale = file.take(f"{name}.weight", channels) * (variance + BATCH_NORM_EPSILON).rsqrt()
    mean = file.take(f"{name}.running_mean", channels)
    return scale, file.take(f"{name}.bias", channels) - mean * scale


def _normed(weight: Tensor, scale: Tensor, bias: Tensor) -> Scaled:
    """A convolution and the affine map after it, as one."""
    edge = no_edge(len(weight)) if weight.shape[-1] == 3 else None
    return Scaled(weight * scale[:, None, None, None], bias, torch.zeros_like(bias), edge)


def _in_turns(tensor: Tensor) -> Tensor:
    """From scale, shift, scale, ... along the first axis to shift, scale, shift, ..."""
    return interleave(tensor[1::2], tensor[0::2])


def _standard_normal(channels: int) -> Scaled:
    """The prior of a split without weights: a convolution of zeros gives mean 0 and ln s = 0."""
    zeros = torch.zeros(channels, dtype=torch.float64)
    weight = torch.zeros(channels, channels // 2, 3, 3, dtype=torch.float64)
    return Scaled(weight, zeros, zeros, no_edge(channels))
