"""Surjections: maps that lose which of several things x was, and the choice of it kept as noise.

log p(x) = log p(z) + log P(choice | z), exactly: nothing is bounded (Nielsen et al. 2020). What is
lost is a discrete choice, written as noise by `glowkit.core.choice`: so x is still noise and back,
and though `encode` draws where in its interval each choice lies, log p does not depend on that.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from glowkit.core import (
    Density,
    Generator,
    GlowkitError,
    LogPKind,
    NoiseSpec,
    choice_decode,
    choice_encode,
    floored,
    nan_where_broken,
    sum_per_example,
    weakest,
)


class _Surjection(Density):
    """Of which `deeper` is the density of what is kept."""

    deeper: Density

    @property
    def reads_context(self) -> bool:
        return self.deeper.reads_context

    @property
    def log_p_kind(self) -> LogPKind:
        return self.deeper.log_p_kind


class Absolute(_Surjection):
    """z = |x|, and a sign for every value: log p(x) = log p(z) + Σ ln P(sign | z).

    Of a density that is the same when any coordinate's sign is turned, P = ½: `deeper` then learns
    of a half of the line alone, or of a quarter of the plane. Where some channels alone are folded,
    z = [|x₁|, x₂], and a network that sees x₂ can say which side it is: of a checkerboard, this
    leaves an even rectangle. `deeper` must be a density of positive values there, such as
    `Then(Inverse(Softplus()), ...)`: what it gives to others is lost, and log p too small.
    The noises are one of the signs, logistic, then deeper's. Shapes: (N, C, ...). Cost: deeper's,
    and the net's. Source: Nielsen et al. 2020; there the inverse draws the sign, here it
    is noise.

    Args:
        shape: of one example.
        deeper: density of z.
        sign: gives from z the logits of P(x > 0 | z), of the shape of what is folded; None for ½.
        folded: how many of the channels are, the first ones; None for all.

    >>> from glowkit.densities import HalfNormal, StandardNormal
    >>> x = torch.tensor([[-1.0, 0.5]])
    >>> folded, normal = Absolute((2,), HalfNormal((2,))), StandardNormal((2,))
    >>> torch.allclose(folded.log_prob(x), normal.log_prob(x))
    True
    """

    shape: tuple[int, ...]

    def __init__(
        self,
        shape: Sequence[int],
        deeper: Density,
        sign: nn.Module | None = None,
        folded: int | None = None,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.folded = shape[0] if folded is None else folded
        self.deeper = deeper
        self.sign = sign
        self.classes = deeper.classes

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        folded, rest = x[:, : self.folded], x[:, self.folded :]
        z, positive = torch.cat([folded.abs(), rest], dim=1), (folded > 0).long()
        log_p = self._log_p(z)
        eps = choice_encode(positive, log_p, generator)
        noises, log_p_z = self.deeper.encode(z, context, generator)
        return [eps, *noises], log_p_z + _of_choice(log_p, positive)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        eps, *rest = noises
        z, log_p_z = self.deeper.decode(rest, context)
        log_p = self._log_p(z)
        positive = choice_decode(eps, log_p)
        folded, beside = z[:, : self.folded], z[:, self.folded :]
        folded = torch.where(eps.isnan(), eps, torch.where(positive > 0, folded, -folded))
        x = torch.cat([folded, beside], dim=1)
        return x, nan_where_broken(x, log_p_z + _of_choice(log_p, positive))

    def noise_specs(self) -> list[NoiseSpec]:
        signs = NoiseSpec((self.folded, *self.shape[1:]), "logistic")
        return [signs, *self.deeper.noise_specs()]

    def _log_p(self, z: Tensor) -> Tensor:
        logits = torch.zeros_like(z[:, : self.folded]) if self.sign is None else self.sign(z)
        return floored(nn.functional.logsigmoid(torch.stack([-logits, logits], dim=-1)))


class MaxPool(_Surjection):
    """z is the largest of each 2x2 block: log p(x) = log p(z) + Σ ln P(k | z) + log p(d | z, k).

    k says which pixel of the block z is, and d = z − the other three, all positive, in their order.
    That an image is written as (z, k, d) has a Jacobian of 1. The noises are those of k, logistic,
    of `rest` and of `deeper`. Of continuous values only, in which there are no ties; among integers
    there are, so inside a `Dequantize`. Shapes: x (N, C, H, W), H and W even, z (N, C, H/2, W/2),
    d (N, 3C, H/2, W/2). Cost: that of the parts. Source: Nielsen et al. 2020.

    Args:
        shape: C, H, W of x.
        deeper: density of z.
        rest: density of d, on positive values, such as `HalfNormal`; its context is z, then, as 4C
            channels, 1 where k is.
        index: gives from z the logits of k, (N, 4C, H/2, W/2), the four of a channel beside each
            other; None for ¼ each.

    >>> from glowkit.densities import HalfNormal, StandardNormal
    >>> model = MaxPool((1, 2, 2), StandardNormal((1, 1, 1)), HalfNormal((3, 1, 1)))
    >>> x = torch.tensor([[[[3.0, 1.0], [2.0, 0.0]]]])
    >>> model.decode(model.encode(x)[0])[0].flatten().tolist()
    [3.0, 1.0, 2.0, 0.0]
    """

    shape: tuple[int, ...]

    def __init__(
        self,
        shape: Sequence[int],
        deeper: Density,
        rest: Density,
        index: nn.Module | None = None,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        if height % 2 or width % 2:
            raise GlowkitError(
                f"blocks of 2x2 pixels do not fit an image of {height}x{width}; its sides must be"
                " even"
            )
        self.shape = (channels, height, width)
        self.deeper = deeper
        self.rest = rest
        self.index = index
        self.classes = deeper.classes

    @property
    def log_p_kind(self) -> LogPKind:
        return weakest(self.rest.log_p_kind, self.deeper.log_p_kind)

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        blocks = nn.functional.pixel_unshuffle(x, 2).unflatten(1, (x.shape[1], 4))
        # Not the values of `max`: of a tie their gradient is shared out.
        k = blocks.argmax(2)
        z = blocks.gather(2, k[:, :, None]).squeeze(2)
        d = (z[:, :, None] - blocks).gather(2, _others(k)).flatten(1, 2)
        log_p = self._log_p(z)
        eps = choice_encode(k, log_p, generator)
        aside, log_p_d = self.rest.encode(d, _seen(z, k), generator)
        noises, log_p_z = self.deeper.encode(z, context, generator)
        return [eps, *aside, *noises], log_p_z + log_p_d + _of_choice(log_p, k)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        count = 1 + len(self.rest.noise_specs())
        eps = noises[0]
        z, log_p_z = self.deeper.decode(noises[count:], context)
        log_p = self._log_p(z)
        k = choice_decode(eps, log_p)
        d, log_p_d = self.rest.decode(noises[1:count], _seen(z, k))
        away = z.new_zeros(z.shape[0], z.shape[1], 4, *z.shape[2:])
        away = away.scatter(2, _others(k), d.unflatten(1, (z.shape[1], 3)))
        blocks = torch.where(eps.isnan(), eps, z)[:, :, None] - away
        x = nn.functional.pixel_shuffle(blocks.flatten(1, 2), 2)
        return x, nan_where_broken(x, log_p_z + log_p_d + _of_choice(log_p, k))

    def noise_specs(self) -> list[NoiseSpec]:
        channels, height, width = self.shape
        choices = NoiseSpec((channels, height // 2, width // 2), "logistic")
        return [choices, *self.rest.noise_specs(), *self.deeper.noise_specs()]

    def _log_p(self, z: Tensor) -> Tensor:
        if self.index is None:
            return torch.full((*z.shape, 4), -math.log(4), dtype=z.dtype, device=z.device)
        logits = self.index(z).unflatten(1, (z.shape[1], 4))
        return floored(logits.log_softmax(2).movedim(2, -1))


def _others(k: Tensor) -> Tensor:
    """Of k (N, C, H, W) among four, the three others in their order, (N, C, 3, H, W)."""
    three = torch.arange(3, device=k.device).view(1, 1, 3, 1, 1)
    return three + (three >= k[:, :, None])


def _seen(z: Tensor, k: Tensor) -> Tensor:
    """z (N, C, H, W), then where k is 0, 1, 2 and 3, as 4C channels."""
    four = torch.arange(4, device=k.device).view(1, 1, 4, 1, 1)
    return torch.cat([z, (k[:, :, None] == four).to(z.dtype).flatten(1, 2)], dim=1)


class Sorted(_Surjection):
    """z is x in rising order, and the order that x had is noise: log p(x) = log p(z) − ln n!.

    A density that is the same whatever the order of the n members of x: that of a set. Members are
    numbers, or vectors, which are ordered by their first number. `deeper` must be a density of
    members in order, such as `Then(Gaps(), ...)` and positive gaps: what it gives to others is
    lost. The noises are n − 1 choices, logistic, each among one more than the next (a Lehmer code),
    then deeper's. Of continuous values only, in which there are no ties. Shapes: (N, n) or
    (N, n, D), n from 1 to 256. Cost: O(n²) comparisons. Source: Nielsen et al. 2020.

    >>> from glowkit.densities import StandardNormal
    >>> model = Sorted(3, StandardNormal((3,)))
    >>> noises, log_p = model.encode(torch.tensor([[2.0, -1.0, 0.0]]))
    >>> noises[1].tolist(), model.decode(noises)[0].tolist()
    ([[-1.0, 0.0, 2.0]], [[2.0, -1.0, 0.0]])
    """

    log_ps: Tensor

    def __init__(self, members: int, deeper: Density) -> None:
        super().__init__()
        self.members = members
        self.deeper = deeper
        self.classes = deeper.classes
        # Row i is a choice among n − i; what cannot be chosen has no width.
        left = members - torch.arange(max(0, members - 1), device="cpu")[:, None]
        possible = torch.arange(members, device="cpu") < left
        log_ps = torch.where(possible, -left.double().log(), -torch.inf)
        self.register_buffer("log_ps", log_ps.float(), persistent=False)

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        order = _key(x).argsort(dim=1, stable=True)
        z = x.gather(1, _wide(order, x))
        eps = choice_encode(_lehmer(order), self._log_p(x), generator)
        noises, log_p = self.deeper.encode(z, context, generator)
        return [eps, *noises], log_p - math.lgamma(self.members + 1)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        eps, *rest = noises
        z, log_p = self.deeper.decode(rest, context)
        order = _from_lehmer(choice_decode(eps, self._log_p(z)))
        x = torch.zeros_like(z).scatter(1, _wide(order, z), z)
        lost = eps.isnan().any(1).view(-1, *[1] * (x.dim() - 1))
        x = x.masked_fill(lost, torch.nan)
        return x, nan_where_broken(x, log_p - math.lgamma(self.members + 1))

    def noise_specs(self) -> list[NoiseSpec]:
        return [NoiseSpec((self.members - 1,), "logistic"), *self.deeper.noise_specs()]

    def _log_p(self, x: Tensor) -> Tensor:
        return self.log_ps.to(x.dtype).expand(x.shape[0], -1, -1)

    def extra_repr(self) -> str:
        return f"{self.members} members"


def _key(x: Tensor) -> Tensor:
    return x if x.dim() == 2 else x[:, :, 0]


def _wide(order: Tensor, x: Tensor) -> Tensor:
    return order if x.dim() == 2 else order[:, :, None].expand(-1, -1, x.shape[2])


def _lehmer(order: Tensor) -> Tensor:
    """Of permutations (N, n), for all but the last place, how many later ones are smaller."""
    smaller = order[:, None, :] < order[:, :, None]
    return smaller.triu(1).sum(2)[:, :-1]


def _from_lehmer(code: Tensor) -> Tensor:
    order = torch.cat([code, code.new_zeros(code.shape[0], 1)], dim=1)
    for place in range(order.shape[1] - 2, -1, -1):
        here, later = order[:, place : place + 1], order[:, place + 1 :]
        order = torch.cat([order[:, :place], here, later + (later >= here)], dim=1)
    return order


def _of_choice(log_p: Tensor, k: Tensor) -> Tensor:
    """ln P of all choices of an example, (N,)."""
    return sum_per_example(log_p.gather(-1, k[..., None]).squeeze(-1))
