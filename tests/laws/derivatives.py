"""What the laws of derivatives are about: a scalar function of all that a module depends on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

Values = tuple[Tensor, ...]


class _Calling(nn.Module):
    """`functional_call` needs a forward."""

    def __init__(self, module: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, *given: Tensor) -> Any:
        return self.call(*given)


@dataclass
class Function:
    """A weighted sum of what a call of a module gives, by its inputs, then its parameters."""

    calling: _Calling
    inputs: int
    names: list[str]

    def __call__(self, *values: Tensor) -> Tensor:
        state = dict(zip(self.names, values[self.inputs :], strict=True))
        outputs = functional_call(self.calling, state, values[: self.inputs])
        # Weights that are nothing special, and no random numbers: transforms do not draw any.
        weighted = (
            (output * torch.arange(output.numel()).view(output.shape).add(1).mul(0.7).cos()).sum()
            for output in outputs
        )
        return sum(weighted)  # type: ignore[return-value]


def function_of(
    module: nn.Module, call: Callable[..., Any], *inputs: Tensor | None
) -> tuple[Function, Values]:
    """The function, and the values at which it stands."""
    given = [tensor for tensor in inputs if tensor is not None]
    calling = _Calling(module, call)
    names = [name for name, _ in calling.named_parameters()]
    values = tuple(t.detach().clone() for t in (*given, *module.parameters()))
    return Function(calling, len(given), names), values


def leaves(values: Values) -> Values:
    return tuple(value.detach().clone().requires_grad_() for value in values)


def gradient(output: Tensor, values: Values, graph: bool = False) -> Values:
    """Zeros where the output does not depend on a value."""
    if not output.requires_grad:
        return tuple(map(torch.zeros_like, values))
    found = torch.autograd.grad(output, values, create_graph=graph, allow_unused=True)
    return tuple(
        torch.zeros_like(value) if one is None else one
        for value, one in zip(values, found, strict=True)
    )


def along(directions: Values, derivatives: Values) -> Tensor:
    return torch.stack(
        [(one * other).sum() for one, other in zip(directions, derivatives, strict=True)]
    ).sum()


def derivative(function: Function, values: Values, directions: Values, order: int) -> Values:
    """The gradient of the derivative of one order lower along a direction, and so on."""
    slope = function(*values)
    for _ in range(order - 1):
        slope = along(directions, gradient(slope, values, graph=True))
    return tuple(one.detach() for one in gradient(slope, values))


def differences(
    function: Function, values: Values, directions: Values, order: int, step: float = 1e-7
) -> Values:
    """The same by central differences of what is one order lower: small, since ReLUs have kinks."""
    moved = (
        tuple(v + sign * step * d for v, d in zip(values, directions, strict=True))
        for sign in (1, -1)
    )
    above, below = (derivative(function, leaves(at), directions, order - 1) for at in moved)
    return tuple((a - b) / (2 * step) for a, b in zip(above, below, strict=True))


def draw(values: Values, seed: int = 3) -> Values:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(v.shape, dtype=v.dtype, generator=generator) for v in values)


def error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference, relative to the largest number; absolute where all are tiny."""
    pairs = [(a.detach(), b.detach()) for a, b in zip(found, expected, strict=True) if a.numel()]
    off = max(float((a - b).abs().max()) for a, b in pairs)
    return off / max(float(b.abs().max()) for _, b in pairs) if off > 1e-9 else off
