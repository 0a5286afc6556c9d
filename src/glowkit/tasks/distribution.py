"""A density as a distribution of `torch.distributions`, for whatever takes one."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from glowkit.core import Density, GlowkitError
from glowkit.core.checking import check_context


def as_distribution(density: Density, context: Tensor | None = None) -> "DensityDistribution":
    """Wrap a density, given a context or not, for `torch.distributions` and what builds on it.

    See `DensityDistribution`. Its parameters stay those of the density: an optimiser takes
    `density.parameters()`.

    Raises:
        GlowkitError: for what is no density, and a context that is missing or that nothing reads.

    >>> from glowkit.densities import StandardNormal
    >>> flow = as_distribution(StandardNormal((2,)))
    >>> flow.log_prob(torch.zeros(3, 4, 2)).shape, flow.sample((5,)).shape
    (torch.Size([3, 4]), torch.Size([5, 2]))
    """
    if not isinstance(density, Density):
        raise GlowkitError(
            f"as_distribution takes a glowkit density, and got {type(density).__name__}"
        )
    check_context(density, context)
    return DensityDistribution(density, context)


class DensityDistribution(Distribution):
    """p(x) of a density, or p(x | context) for a batch of contexts.

    batch_shape: () without a context, else the leading dimensions of the context, (*batch, C), or
    (*batch,) of class labels. event_shape: of one x.

    `log_prob` takes (*sample, *batch, *event), in nats; of a density of integers, such as an image
    model, it is a lower bound, drawn with torch's global generator. `rsample` is there for
    continuous densities, and differentiable; `rsample_and_log_prob` costs one decode. Without a
    `validate_args` of its own, support is checked as `torch.distributions` does.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(
        self, density: Density, context: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self.density = density
        self.context = context
        self.has_rsample = density.levels is None
        features = 0 if context is None or density.classes else 1
        batch = context.shape[: context.dim() - features] if context is not None else ()
        super().__init__(torch.Size(batch), _event_shape(density, context), validate_args)

    @property
    def support(self) -> Any:
        """The reals, or the integers 0 to levels − 1."""
        levels = self.density.levels
        each: Any = constraints.real
        if levels is not None:
            each = constraints.integer_interval(0, levels - 1)
        return constraints.independent(each, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "DensityDistribution":
        """The same distribution for a larger batch, (*new, *batch)."""
        batch_shape = torch.Size(batch_shape)
        if self.context is None:
            made = DensityDistribution(self.density, None, validate_args=False)
            made._batch_shape = batch_shape
        else:
            rest = self.context.shape[len(self.batch_shape) :]
            context = self.context.expand(*batch_shape, *rest)
            made = DensityDistribution(self.density, context, validate_args=False)
        made._validate_args = self._validate_args
        return made

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of each x, (*sample, *batch), nats."""
        if self._validate_args:
            self._validate_sample(value)
        events = len(self.event_shape)
        lead = torch.broadcast_shapes(value.shape[: value.dim() - events], self.batch_shape)
        x = value.expand(*lead, *self.event_shape).reshape(-1, *self.event_shape)
        return self.density.log_prob(x, self._contexts(lead)).reshape(lead)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw x, (*sample, *batch, *event), without gradients."""
        with torch.no_grad():
            return self._draw(torch.Size(sample_shape))[0]

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw x through which gradients flow to the parameters; of continuous densities."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(self, sample_shape: Any = ()) -> tuple[Tensor, Tensor]:
        """Draw x and its log p at the cost of one decode. Raises GlowkitError for integers."""
        if not self.has_rsample:
            raise GlowkitError(
                "samples of whole numbers have no gradient: use sample() and log_prob()"
            )
        return self._draw(torch.Size(sample_shape))

    def _draw(self, sample_shape: torch.Size) -> tuple[Tensor, Tensor]:
        lead = self._extended_shape(sample_shape)[: len(sample_shape) + len(self.batch_shape)]
        noises = self.density.draw_noises(math.prod(lead))
        x, log_p = self.density.decode(noises, self._contexts(lead))
        return x.reshape(*lead, *self.event_shape), log_p.reshape(lead)

    def _contexts(self, lead: torch.Size) -> Tensor | None:
        """The context of every x of these leading dimensions, in one batch."""
        if self.context is None:
            return None
        rest = self.context.shape[len(self.batch_shape) :]
        return self.context.expand(*lead, *rest).reshape(-1, *rest)


def _event_shape(density: Density, context: Tensor | None) -> torch.Size:
    """Of one x, where the density does not say: from decoding the median; asks for a context."""
    if density.shape is not None and (context is not None or not density.reads_context):
        return torch.Size(density.shape)
    one = None
    if context is not None:
        rest = context.shape[context.dim() - (0 if density.classes else 1) :]
        one = context.reshape(-1, *rest)[:1]
    with torch.no_grad():
        return density.decode(density.draw_noises(1, 0.0), one)[0].shape[1:]
