"""Gradients of a chain of bijections from its output alone."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from glowkit.core.bijection import Bijection, Conditioned

Slots = list[tuple[dict[str, Any], str]]
"""Where a tensor stands, by dictionary and name: in several modules, if it is shared."""


def places(module: nn.Module) -> dict[Tensor, Slots]:
    """Where each parameter and buffer of a module stands.

    What is evaluated again in a backward pass must see those of the first time: in between,
    `torch.func.functional_call` may have put others there, and taken them away.
    """
    found: dict[Tensor, Slots] = {}
    for part in module.modules():
        for home in (part._parameters, part._buffers):
            for name, tensor in home.items():
                if tensor is not None:
                    found.setdefault(tensor, []).append((home, name))
    return found


@contextmanager
def standing_in(slots: Iterable[Slots], tensors: Iterable[Tensor]) -> Iterator[None]:
    """As `torch.func.functional_call` does it, but without a walk through the modules each time."""
    pairs = list(zip(slots, tensors, strict=True))
    before = [(home, name, home[name]) for each, _ in pairs for home, name in each]
    try:
        for each, tensor in pairs:
            for home, name in each:
                home[name] = tensor
        yield
    finally:
        for home, name, tensor in before:
            home[name] = tensor


@contextmanager
def untransformed() -> Iterator[None]:
    """Outside of all transforms of `torch.func`, for what is evaluated again as it was there.

    A gradient that is taken under `torch.vmap` runs the backward pass of a graph from outside.
    """
    if not torch._C._are_functorch_transforms_active():
        yield
        return
    from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

    with temporarily_clear_interpreter_stack():
        yield


def rebuilt(
    bijections: Sequence[Bijection], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compose bijections, keeping for the backward pass their parameters and the last one's output.

    The backward pass goes from the last to the first. Each bijection is inverted, and its gradient
    taken at the x found, which the one before is then inverted from; the activations of one at a
    time are held. Each is a node of autograd's graph that returns gradients for x, context and
    parameters: hooks see them as they come, and none waits for others. Gradients that are to be
    differentiated themselves (`create_graph=True`) are, with all activations held for it.
    """
    tape = _Tape(x.device.type)
    total = x.new_zeros(x.shape[0])
    for i, bijection in enumerate(bijections):
        stood, last = places(bijection), i == len(bijections) - 1
        # Those that are trained come last, and are given to the node.
        order = sorted(stood, key=lambda tensor: tensor.requires_grad)
        fixed = [tensor for tensor in order if not tensor.requires_grad]
        call = _Call(tape, bijection, [stood[tensor] for tensor in order], fixed)
        x, ladj = _Rebuilding.apply(call, last, x, context, *order[len(fixed) :])
        total = total + ladj
    return x, total


class _Tape:
    """What the nodes of one chain share."""

    def __init__(self, kind: str) -> None:
        self.y: Tensor | None = None  # in the backward pass, of the node whose turn it is
        self.kind = kind
        self.dtype = torch.get_autocast_dtype(kind)
        self.enabled = torch.is_autocast_enabled(kind)

    def turn(self, output: Tensor | None) -> Tensor:
        """What the node whose turn it is maps to; only the last one has its output at hand."""
        if output is None:
            assert self.y is not None
            return self.y
        # Else what the backward pass ends with would stay, and where it has a graph, hold itself.
        engine = torch.autograd.Variable._execution_engine
        engine.queue_callback(self._end)
        return output

    def _end(self) -> None:
        self.y = None

    def autocast(self) -> torch.autocast:
        """As it was in the forward pass, but without its cache.

        What the cache takes in outside of a graph, it would hand out again inside of one, and
        gradients would be lost.
        """
        return torch.autocast(self.kind, self.dtype, self.enabled, cache_enabled=False)


class _Call(NamedTuple):
    """One bijection of a chain, and what stood in it: what is fixed, before what is trained."""

    tape: _Tape
    bijection: Bijection
    slots: list[Slots]
    fixed: list[Tensor]

    @contextmanager
    def again(self, trained: Sequence[Tensor]) -> Iterator[None]:
        """As it was in the forward pass, with these in the place of what is trained."""
        with self.tape.autocast(), standing_in(self.slots, [*self.fixed, *trained]):
            yield


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
        call: _Call,
        last: bool,
        x: Tensor,
        context: Tensor | None,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.call = call
        with call.tape.autocast():
            y, ladj = call.bijection(x, context)
        ctx.save_for_backward(y if last else None, context, *parameters)
        return y, ladj

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return _differentiable(ctx, *grads)
        output, context, *parameters = ctx.saved_tensors
        y = ctx.call.tape.turn(output).detach()
        with torch.enable_grad(), untransformed():
            # Leaves of their own that share memory: no gradient runs on from here, and no hook of a
            # parameter runs twice.
            own = [p.detach().requires_grad_() for p in parameters]
            around = []
            if context is not None:
                context = context.detach().requires_grad_(ctx.needs_input_grad[3])
                around = [context] if context.requires_grad else []
            with ctx.call.again(own):
                x, leaves, outputs = _around(ctx.call.bijection, y, context)
        found = _gradients(outputs, [*leaves, *around, *own], grads)
        ctx.call.tape.y = x.detach()
        grad_x, *more = (gradient for gradient in found[: len(leaves)] if gradient is not None)
        for gradient in more:
            grad_x = grad_x + gradient
        rest = found[len(leaves) :]
        return None, None, grad_x, *([] if around else [None]), *rest


def _differentiable(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients as functions of the chain's output, the context and the parameters.

    The output is one of x in its turn: differentiating on goes through the chain once more.
    """
    output, context, *parameters = ctx.saved_tensors
    call = ctx.call
    y = call.tape.turn(output)
    with call.again(parameters):
        x, _ = call.bijection.inverse(y, context)
    # Nodes of their own: the gradients are those of forward alone, at what the inverse found.
    around = [] if context is None else [context.view_as(context)]
    own = [parameter.view_as(parameter) for parameter in parameters]
    inputs = [x.view_as(x), *around, *own]
    with call.again(own):
        outputs = call.bijection(inputs[0], *around)
    call.tape.y = x
    grad_x, *rest = _gradients(outputs, inputs, grads)
    return None, None, grad_x, *([] if around else [None]), *rest


def _gradients(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], grads: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    # A ladj that depends on nothing has no graph, nor has a context that was given as it is.
    pairs = zip(outputs, grads, strict=True)
    roots, gradients = zip(*(pair for pair in pairs if pair[0].requires_grad), strict=True)
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    found = iter(
        torch.autograd.grad(
            roots, wanted, gradients, create_graph=torch.is_grad_enabled(), allow_unused=True
        )
    )
    return [next(found) if tensor.requires_grad else None for tensor in inputs]
