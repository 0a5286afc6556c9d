"""Rebuilding: gradients of a chain of bijections from its output alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from glowkit.core.bijection import Bijection
from glowkit.core.conditioned import Conditioned


def rebuilt(
    bijections: Sequence[Bijection], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compose bijections, keeping for the backward pass their parameters and the last one's output.

    The backward pass goes from the last to the first. Each bijection is inverted, and its gradient
    taken at the x found, which the one before is then inverted from; the activations of one at a
    time are held. Each is a node of autograd's graph that returns gradients for x, context and
    parameters: hooks see them as they come, and none waits for others. Differentiable once.
    """
    tape = _Tape(x.device.type)
    total = x.new_zeros(x.shape[0])
    for i, bijection in enumerate(bijections):
        places, last = _places(bijection), i == len(bijections) - 1
        slots = list(places.values())
        x, ladj = _Rebuilding.apply(tape, bijection, slots, last, x, context, *places)
        total = total + ladj
    return x, total


class _Tape:
    """What the nodes of one chain share."""

    def __init__(self, kind: str) -> None:
        self.y: Tensor | None = None  # in the backward pass, of the node whose turn it is
        self.kind = kind
        self.dtype = torch.get_autocast_dtype(kind)
        self.enabled = torch.is_autocast_enabled(kind)

    def autocast(self) -> torch.autocast:
        """As it was in the forward pass, but without its cache.

        What the cache takes in outside of a graph, it would hand out again inside of one, and
        gradients would be lost.
        """
        return torch.autocast(self.kind, self.dtype, self.enabled, cache_enabled=False)


Slots = list[tuple[dict[str, Any], str]]


def _places(bijection: Bijection) -> dict[Tensor, Slots]:
    """Where each parameter that is trained stands: in several modules, if it is shared."""
    places: dict[Tensor, Slots] = {}
    for module in bijection.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.requires_grad:
                places.setdefault(parameter, []).append((module._parameters, name))
    return places


@contextmanager
def _standing_in(places: list[Slots], tensors: list[Tensor]) -> Iterator[None]:
    """As `torch.func.functional_call` does it, but without a walk through the modules each time."""
    before = [(home, name, home[name]) for slots in places for home, name in slots]
    try:
        for slots, tensor in zip(places, tensors, strict=True):
            for home, name in slots:
                home[name] = tensor
        yield
    finally:
        for home, name, parameter in before:
            home[name] = parameter


def _around(
    bijection: Bijection, y: Tensor, context: Tensor | None
) -> tuple[Tensor, list[Tensor], tuple[Tensor, Tensor]]:
    """x, the leaves whose gradients add up to the gradient by x, and forward(x)."""
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
        tape: _Tape,
        bijection: Bijection,
        places: list[Slots],
        last: bool,
        x: Tensor,
        context: Tensor | None,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.tape, ctx.bijection, ctx.places = tape, bijection, places
        with tape.autocast():
            y, ladj = bijection(x, context)
        ctx.save_for_backward(y if last else None, context, *parameters)
        return y, ladj

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_ladj: Tensor) -> tuple[Tensor | None, ...]:
        output, context, *parameters = ctx.saved_tensors
        y = ctx.tape.y if output is None else output.detach()
        # Leaves of their own that share memory: no gradient runs on from here, and no hook of a
        # parameter runs twice.
        own = [p.detach().requires_grad_() for p in parameters]
        around = []
        if context is not None:
            context = context.detach().requires_grad_(ctx.needs_input_grad[5])
            around = [context] if context.requires_grad else []
        with torch.enable_grad(), ctx.tape.autocast(), _standing_in(ctx.places, own):
            x, leaves, outputs = _around(ctx.bijection, y, context)
        # A ladj that depends on nothing has no graph.
        pairs = zip(outputs, (grad_y, grad_ladj), strict=True)
        roots, gradients = zip(*(pair for pair in pairs if pair[0].requires_grad), strict=True)
        inputs = [*leaves, *around, *own]
        found = torch.autograd.grad(roots, inputs, gradients, allow_unused=True)
        ctx.tape.y = x.detach()
        grad_x, *more = (gradient for gradient in found[: len(leaves)] if gradient is not None)
        for gradient in more:
            grad_x = grad_x + gradient
        rest = found[len(leaves) :]
        return None, None, None, None, grad_x, *([] if around else [None]), *rest
