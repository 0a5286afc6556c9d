"""Residual flows: y = x + g(x), where g contracts."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from glowkit.core import Bijection, GlowkitError, frozen
from glowkit.core.bijection import transformed, whole
from glowkit.nets.linearized import LinearizedNet, Product, identity_of, traces, units_of

MOST_ITERATIONS = 1000
"""Of the inverse, at least; some 20 are usual, and g that does not contract never ends."""

FARTHEST = 1e3
"""How much longer than 1 + |y| a first step is reckoned to be, where the most are derived."""

MOST_ELIMINATED = 4
ROUNDINGS = 4
NEWTON_STEPS = 2


class LogDet(Protocol):
    """A way to ln |det(I + J)|, (N,), from the products v -> J v at x, (N, ...)."""

    def __call__(self, product: Product, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class ExactLogDet:
    """ln |det(I + J)| of the whole Jacobian: D products and a factorisation, O(D³), an example.

    For points and rows of tables. Shapes: x (N, ...) of D numbers each, to (N,), nats.
    """

    def __call__(self, product: Product, x: Tensor) -> Tensor:
        matrix = _jacobian(product, x) + identity_of(x)
        if matrix.shape[1] > MOST_ELIMINATED:
            # `torch.linalg.slogdet` forgets, differentiated forward, that its factors change too.
            factors = torch.linalg.lu_factor_ex(matrix).LU
            return factors.diagonal(dim1=1, dim2=2).abs().log().sum(1)
        # Far faster for small matrices. Without pivoting, because |J| < 1: the symmetric part of
        # I + J is positive definite, and so is that of what is left after each elimination.
        pivots = []
        while matrix.shape[1]:
            pivots.append(matrix[:, 0, 0])
            above = matrix[:, :1, 1:] / pivots[-1][:, None, None]
            matrix = matrix[:, 1:, 1:] - matrix[:, 1:, :1] * above
        return torch.stack(pivots, dim=1).log().sum(1)


@dataclass(frozen=True)
class PowerSeries:
    """The first terms of ln det(I + J) = Σ_k (−1)^(k+1)/k · tr J^k, with exact traces.

    Cost: D products a term. It is off by at most −D [ln(1 − c) + Σ_{k≤terms} c^k/k], where c is the
    Lipschitz constant of g: a density made with it says that its log p is "exact", of which it is
    the first terms, biased by as much at most. Shapes: x (N, ...) of D numbers each, to (N,), nats.
    Source: Behrmann et al. 2019, section 3.2 and theorem 3.
    """

    terms: int

    def __call__(self, product: Product, x: Tensor) -> Tensor:
        power = units_of(x)
        total = x.new_zeros(x.shape[0])
        for k in range(1, self.terms + 1):
            power = product(power)
            total = total - (-1) ** k / k * traces(power)
        return total


class Residual(Bijection):
    """y = x + g(x, context), where g is a contraction in x: Lip(g) ≤ c < 1.

    forward: one evaluation; ladj = ln det(I + ∂g/∂x), by `log_det`. inverse: the fixed point of
    x ← y − g(x), which nears it by c a step at least, until a step is within 4 roundings. Its
    gradients are those of the implicit function, dx = (I + J)⁻¹ (dy − dg), to third order: two
    Newton steps from the fixed point, which is itself a constant to autograd. They cost D products
    and a solve each, and are not made where no gradient is wanted. Shapes: (N, ...).

    The inverse is stable both ways: errors grow by at most 1 + c there and 1/(1 − c) back. Source:
    Behrmann et al. 2019, sections 2 and 3; Chen et al. 2019. Departure: the reference stops when
    a step's square is small, here when the step is.

    Args:
        net: g, with Lip(g) < 1, such as `glowkit.nets.lipschitz_mlp` makes. Nothing checks that.
        log_det: `ExactLogDet()` or `PowerSeries(terms)`.
        bound: c, if known; where it is so near 1 that 1,000 iterations may not do, more are made.

    Raises:
        GlowkitError: for a bound outside (0, 1); in the inverse, where no fixed point is reached.
            Where iterations leave all numbers, x is not finite.

    >>> from glowkit.nets import lipschitz_mlp
    >>> layer, x = Residual(lipschitz_mlp(2, 8, 2, bound=0.9), ExactLogDet()), torch.randn(3, 2)
    >>> y, ladj = layer(x)
    >>> torch.allclose(layer.inverse(y)[0], x, atol=1e-5)
    True
    """

    not_rebuilt_in_training = "iterates its network to find each input"

    def __init__(self, net: LinearizedNet, log_det: LogDet, bound: float | None = None) -> None:
        super().__init__()
        if bound is not None and not 0 < bound < 1:
            raise GlowkitError(
                f"a residual block's bound is {bound}; it must be more than 0 and less than 1, or"
                " the block could not be inverted"
            )
        self.net = net
        self.log_det = log_det
        self.bound = bound

    @property
    def reads_context(self) -> bool:
        return getattr(self.net, "reads_context", True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward_by(self.log_det, x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inverse_by(self.log_det, y, context)

    def forward_by(
        self, log_det: LogDet, x: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`forward` with another way to the log-determinant, such as one drawn estimate of it."""
        value, product = self.net.linearized(x, context)
        return x + value, log_det(product, x)

    def inverse_by(
        self, log_det: LogDet, y: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`inverse` with another way to the log-determinant."""
        x = self._fixed_point(y, context)
        if torch.is_grad_enabled() or transformed():
            for _ in range(NEWTON_STEPS):
                x = self._newton_step(x, y, context)
        _, product = self.net.linearized(x, context)
        return x, -log_det(product, x)

    @torch.no_grad()
    def _fixed_point(self, y: Tensor, context: Tensor | None) -> Tensor:
        y = y.detach()
        given = None if context is None else context.detach()
        rounding = ROUNDINGS * torch.finfo(y.dtype).eps
        x, scale = y, 1 + y.abs().flatten(1).amax(1)
        with frozen(self.net):
            most = self._most_iterations(rounding)
            for _ in range(most):
                before, x = x, (y - self.net(x, given)).detach()
                # What is not a number never compares, and does not hold up the others.
                moves = (x - before).abs().flatten(1).amax(1) / scale
                if not whole(moves > rounding).any():
                    return x
        # Near 1 the roundings of many steps add up, to 1/(1 − c) of one: no step comes nearer.
        if self.bound is not None and not whole(moves > rounding / (1 - self.bound)).any():
            return x
        raise GlowkitError(
            f"the inverse of a residual block reached no fixed point in {most} steps: its network"
            " does not contract, or too slowly; its spectral norms must multiply to less than 1,"
            " and where that is near 1, give it as the block's bound"
        )

    def _most_iterations(self, rounding: float) -> int:
        """After which steps that shrink by `bound` each are below rounding; else 1,000."""
        if self.bound is None:
            return MOST_ITERATIONS
        return max(MOST_ITERATIONS, math.ceil(math.log(rounding / FARTHEST) / math.log(self.bound)))

    def _newton_step(self, x: Tensor, y: Tensor, context: Tensor | None) -> Tensor:
        value, product = self.net.linearized(x, context)
        # As does `torch.linalg.solve`; the matrix is well-conditioned, and its inverse will do.
        inverse = torch.linalg.inv_ex(_jacobian(product, x) + identity_of(x)).inverse
        return x - (inverse @ (x + value - y).flatten(1).unsqueeze(2)).squeeze(2).view_as(x)


def _jacobian(product: Product, x: Tensor) -> Tensor:
    """Of each example, (N, D, D), by the products with all D unit vectors."""
    return product(units_of(x)).flatten(2).transpose(1, 2)
