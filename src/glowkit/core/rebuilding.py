"""Rebuilding: gradients of a chain of bijections from its output alone."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from glowkit.core.bijection import Bijection, compose
from glowkit.core.conditioned import Conditioned


def rebuilt(
    bijections: Sequence[Bijection], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compose bijections, keeping nothing for the backward pass but their output and parameters.

    The backward pass goes from the last bijection to the first. Each is inverted, and its gradient
    taken at the x found, so that the activations of one at a time are held. All gradients are
    returned through autograd, for x, context and parameters, so that hooks see them as usual.
    Differentiable once. A bijection must do in the backward pass what it did in the forward pass.
    """
    # One entry a tensor, though several bijections may share it.
    position: dict[Tensor, int] = {}
    links = []
    for bijection in bijections:
        used = ((name, p) for name, p in bijection.named_parameters() if p.requires_grad)
        names = {f"bijection.{name}": position.setdefault(p, len(position)) for name, p in used}
        links.append((_Local(bijection), names))
    return _Rebuilding.apply(links, x, context, *position)


Local = tuple[Tensor, list[Tensor], tuple[Tensor, Tensor]]


class _Local(nn.Module):
    """One bijection around one y: x, and y again as a function of x."""

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    def forward(self, y: Tensor, context: Tensor | None) -> Local:
        """x, the leaves whose gradients add up to that by x, and forward(x)."""
        bijection = self.bijection
        if not isinstance(bijection, Conditioned):
            x = _leaf(bijection.inverse, y, context)
            return x, [x], bijection(x, context)
        read = y.detach().requires_grad_()
        h = bijection.condition(read, context)
        x = _leaf(bijection.inverse_given, y, h)
        return x, [x, read], bijection.forward_given(x, h)


def _leaf(inverse: Callable[..., tuple[Tensor, Tensor]], *given: Tensor | None) -> Tensor:
    with torch.no_grad():
        return inverse(*given)[0].detach().requires_grad_()


class _Rebuilding(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        links: list[tuple[_Local, dict[str, int]]],
        x: Tensor,
        context: Tensor | None,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        kind = x.device.type
        # Without autocast's cache: what it casts here, outside of any graph, it would hand out
        # again inside of one, and gradients would be lost.
        ctx.autocast = {
            "device_type": kind,
            "dtype": torch.get_autocast_dtype(kind),
            "enabled": torch.is_autocast_enabled(kind),
            "cache_enabled": False,
        }
        ctx.links = links
        with torch.autocast(**ctx.autocast):
            y, ladj = compose((local.bijection for local, _ in links), x, context)
        ctx.save_for_backward(y, context, *parameters)
        return y, ladj

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_ladj: Tensor) -> tuple[Tensor | None, ...]:
        y, context, *parameters = ctx.saved_tensors
        # Leaves of their own that share memory: no gradient runs on from here, and no hook of a
        # parameter runs twice.
        leaves = [p.detach().requires_grad_() for p in parameters]
        y = y.detach()
        if context is not None:
            context = context.detach().requires_grad_(ctx.needs_input_grad[2])
        by_context: Tensor | None = None
        by_leaf: list[Tensor | None] = [None] * len(leaves)
        with torch.enable_grad(), torch.autocast(**ctx.autocast):
            for local, names in reversed(ctx.links):
                own = {name: leaves[i] for name, i in names.items()}
                y, grad_y, more, found = _step_back(local, own, y, context, grad_y, grad_ladj)
                by_context = _plus(by_context, more)
                for i, gradient in zip(names.values(), found, strict=True):
                    by_leaf[i] = _plus(by_leaf[i], gradient)
        return None, grad_y, by_context, *by_leaf


def _step_back(
    local: _Local,
    own: dict[str, Tensor],
    y: Tensor,
    context: Tensor | None,
    grad_y: Tensor,
    grad_ladj: Tensor,
) -> tuple[Tensor, Tensor, Tensor | None, Sequence[Tensor | None]]:
    """x, and the gradients by x, the context and a bijection's own parameters."""
    x, leaves, outputs = functional_call(local, own, (y, context))
    around = [context] if context is not None and context.requires_grad else []
    pairs = zip(outputs, (grad_y, grad_ladj), strict=True)
    # A ladj that depends on nothing has no graph.
    roots, gradients = zip(*((t, g.to(t.dtype)) for t, g in pairs if t.requires_grad), strict=True)
    inputs = [*leaves, *around, *own.values()]
    found = torch.autograd.grad(roots, inputs, gradients, allow_unused=True)
    grad_x = None
    for gradient in found[: len(leaves)]:
        grad_x = _plus(grad_x, gradient)
    assert grad_x is not None
    rest = found[len(leaves) :]
    return x.detach(), grad_x, rest[0] if around else None, rest[len(around) :]


def _plus(total: Tensor | None, gradient: Tensor | None) -> Tensor | None:
    if total is None or gradient is None:
        return gradient if total is None else total
    return total + gradient
