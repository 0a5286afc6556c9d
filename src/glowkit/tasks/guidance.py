"""What makes samples of a TarFlow sharp, and is not in its density: guidance, and denoising."""

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from glowkit.bijections import TarAffine, TokenAutoregressive, Transformer
from glowkit.core import Density, GlowkitError, sum_per_example
from glowkit.core.finite import broken_examples
from glowkit.core.freezing import gradients_of_inputs
from glowkit.densities import Noisy, WithLabels, no_label
from glowkit.nets.causal import CausalNet, CausalState


def guided(model: Density, weight: float, attention_temperature: float = 1.0) -> Density:
    """A TarFlow whose μ and α are pushed away from those of a weaker one: classifier-free guidance.

    μ = μ_c + w (μ_c − μ_u) and α likewise, for each dimension of each token in each block: c is the
    model as it is; u is the same without the class label, if it was trained so (class_dropout), and
    with its scores of attention divided by `attention_temperature`, which is all the difference for
    a model without classes or without class_dropout. It shares the weights of `model`, which is
    left as it is. What it gives is a flow too: its decode inverts its encode, and its log p is that
    of the *guided* samples, and says nothing of data. Weight 0 is the model itself, to the bit. α
    is not bounded by 5 any more. Cost: two evaluations of every network for one. Source: Zhai et
    al. 2024 (TarFlow); Ho and Salimans 2022. Departure: one weight for all tokens, which the
    reference can also let grow along them.

    Raises:
        GlowkitError: for a model without TarFlow's affine tokens, a weight below 0, a temperature
            of 0 or below, or where the weaker model would be the same.

    >>> from glowkit.models import AutoregressiveConfig, build
    >>> settings = {"head": "affine", "inner": 0, "width": 8, "heads": 1, "layers": 1}
    >>> model = build(AutoregressiveConfig((1, 4, 4), **settings, classes=2, class_dropout=0.1))
    >>> guided(model, weight=2.0).sample(4, context=torch.tensor([0, 0, 1, 1])).shape
    torch.Size([4, 1, 4, 4])
    """
    if not 0 <= weight < math.inf:
        raise GlowkitError(f"guidance has a weight of {weight:g}; give 0, for none, or more")
    if not 0 < attention_temperature < math.inf:
        raise GlowkitError(
            f"an attention temperature of {attention_temperature:g} makes no sense; give more than"
            " 0, such as 0.5 or 2"
        )
    layers = [part for part in model.modules() if isinstance(part, TokenAutoregressive)]
    if not layers or not all(isinstance(layer.transformer, TarAffine) for layer in layers):
        raise GlowkitError(
            "guidance mixes the means and scales of a TarFlow's tokens, which this model does not"
            " have; leave it out, or train one (--preset tarflow-tiny)"
        )
    drops = any(isinstance(part, WithLabels) and part.keep.p > 0 for part in model.modules())
    if weight and not drops and attention_temperature == 1:
        raise GlowkitError(
            "guidance pushes samples away from those without a label, which this model never"
            " learned: train it with --conditional --set class_dropout=0.1, or give an attention"
            " temperature other than 1, for samples that are worse and to be pushed away from"
        )
    twin = _rebuilt(model, weight, attention_temperature, drops)
    assert isinstance(twin, Density)
    twin.config = None  # which would build the model itself
    return twin


def _rebuilt(module: nn.Module, weight: float, temperature: float, drops: bool) -> nn.Module:
    """The same module where no token is transformed inside, else one with other such layers."""
    if isinstance(module, TokenAutoregressive):
        parts: dict[str, nn.Module] = {
            "net": _Both(module.net, temperature, drops),
            "transformer": _Mixed(weight),
        }
    else:
        found = dict(module.named_children())
        parts = {name: _rebuilt(part, weight, temperature, drops) for name, part in found.items()}
        if all(parts[name] is part for name, part in found.items()):
            return module
    twin = copy.copy(module)
    twin._modules = {**module._modules, **parts}
    return twin


class _States(NamedTuple):
    model: CausalState
    weaker: CausalState


class _Both(nn.Module):
    """What a network gives for a dimension, and then what the weaker one does: 2P numbers."""

    def __init__(self, net: CausalNet, temperature: float, drops: bool) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature
        self.drops = drops

    @property
    def reads_context(self) -> bool:
        return self.net.reads_context

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        every = (self.net(x, context), self.net(x, self._less(context), self.temperature))
        each = [h.unflatten(1, (self.net.dimensions, -1)) for h in every]
        return torch.cat(each, 2).flatten(1, 2)

    def start(self, n: int, context: Tensor | None = None) -> _States:
        weaker = self.net.start(n, self._less(context), self.temperature)
        return _States(self.net.start(n, context), weaker)

    def outputs(self, states: _States, known: Tensor) -> Tensor:
        each = [self.net.outputs(state, known) for state in states]
        size = self.net.outputs_each
        return torch.cat([h.reshape(len(h), -1, size) for h in each], 2)

    def step(self, states: _States, token: Tensor) -> _States:
        return _States(*(self.net.step(state, token) for state in states))

    def _less(self, context: Tensor | None) -> Tensor | None:
        return no_label(context) if self.drops and context is not None else context


class _Mixed(Transformer):
    """`TarAffine` of mixed parameters: h is those of the model, then those of the weaker one."""

    parameters_per_channel = 2 * TarAffine.parameters_per_channel

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.affine = TarAffine()

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = self._mean_and_log_scale(x, h)
        return (x - mean) * (-log_scale).exp(), -sum_per_example(log_scale)

    def inverse(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = self._mean_and_log_scale(y, h)
        return y * log_scale.exp() + mean, sum_per_example(log_scale)

    def _mean_and_log_scale(self, x: Tensor, h: Tensor) -> list[Tensor]:
        own, weaker = (
            self.affine.mean_and_log_scale(x, part.flatten(1, 2))
            for part in self.group(x, h).chunk(2, 2)
        )
        return [c + self.weight * (c - u) for c, u in zip(own, weaker, strict=True)]


def denoised(
    density: Density, y: Tensor, deviation: float, context: Tensor | None = None
) -> Tensor:
    """y without its noise: E[x | y] = y + σ² ∇ log p(y), where y = x + σ ε has this density.

    That is Tweedie's formula, exact where the density is. Shapes: (N, ...) to the same. Cost: one
    log p and its gradient. Source: Zhai et al. 2024 (TarFlow).

    >>> from glowkit.bijections import Scale
    >>> from glowkit.densities import StandardNormal, Then
    >>> noisy = Then(Scale(0.5**0.5), StandardNormal((1,)))  # N(0, 1) plus noise of deviation 1
    >>> denoised(noisy, torch.tensor([[3.0]]), deviation=1.0)
    tensor([[1.5000]])
    """
    with torch.enable_grad(), gradients_of_inputs():
        at = y.detach().requires_grad_()
        (slope,) = torch.autograd.grad(density.log_prob(at, context).sum(), at)
    return y.detach() + deviation**2 * slope


def cleaned(
    model: Noisy,
    noises: Sequence[Tensor],
    context: Tensor | None = None,
    decoder: Noisy | None = None,
) -> tuple[Tensor, Tensor]:
    """Images that a model trained on noisy ones makes of noises, denoised, and which are broken.

    decoder: makes the noisy ones instead of the model, which denoises them, such as a guided one.
    """
    with torch.no_grad():
        y, log_p = (decoder or model).density.decode(noises, context)
    x = denoised(model.density, y, model.deviation, context)
    return model.quantized(x), broken_examples(x, log_p)
