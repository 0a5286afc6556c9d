"""Bijection: a pure, invertible map that knows its log-determinant."""

from abc import ABC, abstractmethod
from math import prod

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad


class Bijection(nn.Module, ABC):
    """A pure, invertible map x <-> y.

    To write one: implement `forward` and `inverse`. Each returns the mapped tensor and `ladj`,
    the log |det Jacobian| of *that direction* in nats, shape (N,), summed over all dimensions,
    float32 or wider. Neither draws random numbers, changes state or writes into its input.

    Shapes: x and y are (N, ...); context, when the bijection uses it, is (N, ...) or (N, features).

    One that never looks at its context says so by `reads_context = False`, and one made of others
    asks those: a context that nothing in a model would read is then refused instead of ignored.
    """

    @property
    def reads_context(self) -> bool:
        """Whether the map may depend on the context."""
        return True

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map x to y. Returns y and log |det dy/dx|, shape (N,), nats."""

    @abstractmethod
    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map y to x. Returns x and log |det dx/dy|, shape (N,), nats."""


def sum_per_example(values: Tensor) -> Tensor:
    """Sum everything but the batch, in float32 or wider.

    >>> sum_per_example(torch.ones(2, 3, 4))
    tensor([12., 12.])
    """
    values = values if values.dtype == torch.float64 else values.float()
    return values.flatten(1).sum(1) if values.dim() > 1 else values


def constant_ladj(x: Tensor, value: Tensor | float = 0.0) -> Tensor:
    """The ladj of a map whose log-determinant is the same for every example: shape (N,).

    >>> constant_ladj(torch.zeros(2, 5), 1.5)
    tensor([1.5000, 1.5000])
    """
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    if not isinstance(value, Tensor):  # filled there: a copy to a GPU would wait for it
        return torch.full((x.shape[0],), value, dtype=dtype, device=x.device)
    return value.to(device=x.device, dtype=dtype).expand(x.shape[0])


def pixelwise_ladj(x: Tensor, value: Tensor) -> Tensor:
    """That of a map of the channels that is the same at every pixel: pixels · value, (N,).

    >>> pixelwise_ladj(torch.zeros(2, 3, 4, 5), torch.tensor(0.5))
    tensor([10., 10.])
    """
    return constant_ladj(x, value * prod(x.shape[2:]))


def being_captured(x: Tensor) -> bool:
    """Whether values of x cannot be looked at, since a graph of operations on it is made.

    A CUDA graph, or one that `torch.export` makes.

    >>> being_captured(torch.zeros(1))
    False
    """
    return torch.compiler.is_exporting() or (x.is_cuda and torch.cuda.is_current_stream_capturing())


class Conditioned(Bijection):
    """y = T(x; h) where h = condition(x) reads only what T does not change: condition(y) = h too.

    forward: T(x; condition(x)); inverse: T⁻¹(y; condition(y)); ladj is T's. One evaluation of the
    costly part, `condition`, serves both directions at once, which `Chain` uses where it rebuilds
    x and differentiates there. To write one: implement the three methods below.
    """

    @abstractmethod
    def condition(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The parameters h of the map at x; the same at y."""

    @abstractmethod
    def forward_given(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Map x to y given h. Returns y and ladj, (N,), nats."""

    @abstractmethod
    def inverse_given(self, y: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Map y to x given h. Returns x and the inverse map's ladj, (N,), nats."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward_given(x, self.condition(x, context))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inverse_given(y, self.condition(y, context))


def transformed() -> bool:
    """Whether a transform of `torch.func`, forward-mode differentiation or an export is under way.

    Only plain operations know what to do there. torch has no public function that says so.
    """
    return (
        torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch.compiler.is_exporting()
    )


def whole(tensor: Tensor) -> Tensor:
    """Of a tensor that transforms see one example at a time: all examples, for a look at values."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor
