"""Augmented: more numbers than data, and a lower bound on log p for it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from glowkit.core import Density, Generator, LogPKind, NoiseSpec, weakest
from glowkit.core.checking import check_log_q
from glowkit.densities.compose import kept_alone


class Augmented(Density):
    """The density of x inside one of [x, e], with numbers e that a noise density adds to x.

    p(x) = ∫ p(x, e) de, and by Jensen's inequality log p(x) ≥ E[log p(x, e) − log q(e | x)] with
    e ~ q(· | x); `encode` draws e from `generator` and returns one draw of that difference, in
    nats, (N,), whose exponential has p(x) as its mean: more draws tighten the bound (Burda et al.
    2016). With the generator `MIDPOINT`, e is at q's median. `decode` throws e away, and returns x
    and the same difference at the e that it found. Where q is p(e | x) itself, the bound is exact.
    Noises are those of `density`: as many numbers as x and e together have, so that x is written as
    more noise than it has numbers, and decode(encode(x)) is x.

    Shapes: x (N, C, ...), e (N, A, ...) beside it along the channels. Cost: the noise density's
    decode and the other's encode. Gradients go through e to the noise density.

    Three families are sentences of it. VFlow (Chen et al. 2020, section 3): q a normal or a
    conditional flow, and any flow of C + A channels. ANF (Huang et al. 2020, section 3): q normal,
    and couplings that change e given x and x given e in turn. CIF (Cornish et al. 2020, section 3):
    `Then` a bijection of x that e conditions, `Split(C, p(e | z), deeper)`, nested.

    Args:
        noise: q, whose context is what `seen` makes of x and the context.
        density: of [x, e], which gets the outer context.
        kept: C, how many channels are x's.
        seen: `kept_alone`, or `kept_and_context`.

    Raises:
        GlowkitError: for a noise whose log q is itself only bounded: − log q would be bounded from
            above.

    >>> from glowkit.densities import StandardNormal
    >>> model = Augmented(StandardNormal((1,)), StandardNormal((3,)), kept=2)
    >>> noises, log_p = model.encode(torch.zeros(1, 2))
    >>> noises[0].shape, round(log_p.item(), 4)                      # exact: q(e) is p(e | x)
    (torch.Size([1, 3]), -1.8379)
    """

    def __init__(
        self,
        noise: Density,
        density: Density,
        kept: int,
        seen: Callable[[Tensor, Tensor | None], Tensor] = kept_alone,
    ) -> None:
        super().__init__()
        check_log_q(noise, noise.log_p_kind, "augmentation")
        self.noise = noise
        self.density = density
        self.kept = kept
        self.seen = seen
        self.classes = density.classes

    @property
    def log_p_kind(self) -> LogPKind:
        return weakest("bound", self.noise.log_p_kind, self.density.log_p_kind)

    @property
    def reads_context(self) -> bool:
        return self.seen is not kept_alone or self.density.reads_context

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        drawn = self.noise.draw_noises(x.shape[0], generator=generator)
        e, log_q = self.noise.decode(drawn, self.seen(x, context))
        noises, log_p = self.density.encode(torch.cat([x, e], dim=1), context, generator)
        return noises, log_p - log_q

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        both, log_p = self.density.decode(noises, context)
        x, e = both[:, : self.kept], both[:, self.kept :]
        _, log_q = self.noise.encode(e, self.seen(x, context))
        return x, log_p - log_q

    def noise_specs(self) -> list[NoiseSpec]:
        return self.density.noise_specs()

    def extra_repr(self) -> str:
        return f"of {self.kept} channels"
