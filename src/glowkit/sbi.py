"""Flows for sbi: a builder of density estimators for neural posterior and likelihood estimation."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glowkit.bijections import standardize
from glowkit.core import Density, initialize
from glowkit.core.checking import check_tensor
from glowkit.models import PointsConfig, build, preset
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from sbi.neural_nets.estimators.base import ConditionalDensityEstimator

MOST_SHOWN = 8192
"""Simulations that data-dependent layers are initialised from."""


def sbi_builder(
    config: PointsConfig | str = "nsf-points",
) -> "Callable[[Tensor, Tensor], ConditionalDensityEstimator]":
    """A builder for `sbi.inference.NPE(prior, density_estimator=sbi_builder())`, and for NLE.

    sbi calls it with all simulations, parameters θ (N, *) and data x (N, *), and trains what it
    gives: a flow of the one given the other, which standardises both inside by the moments of these
    simulations, with data-dependent layers initialised from them. Likelihoods are in nats of θ's
    own units. Data of several axes are flattened; give sbi summaries of large ones.

    Args:
        config: settings of the flow, or a preset of points; the dimensions, the length of the
            context and the standardisation follow the simulations.

    Raises:
        GlowkitError: for settings of another family, for sbi missing, and, when sbi calls the
            builder, for simulations that are not pairs of finite numbers.
    """
    settings = preset(config) if isinstance(config, str) else config
    if not isinstance(settings, PointsConfig):
        raise GlowkitError(
            f"sbi_builder takes the settings of a flow of vectors, glowkit.PointsConfig(...), and"
            f" got {type(settings).__name__}"
        )
    estimator = _estimator_class()

    def build_estimator(theta: Tensor, x: Tensor) -> "ConditionalDensityEstimator":
        check_tensor(theta, "the parameters")
        check_tensor(x, "the data")
        if len(theta) != len(x) or len(theta) < 2:
            raise GlowkitError(
                f"{len(theta)} parameters and {len(x)} data are no pairs; give as many, 2 or more"
            )
        rows, given = theta.detach().flatten(1).float(), x.detach().flatten(1).float()
        if not (rows.isfinite().all() and given.isfinite().all()):
            raise GlowkitError("the simulations hold NaN or infinity; leave those out")
        size = rows.shape[1]
        fitted = replace(
            settings,
            dimensions=size,
            context_features=given.shape[1],
            preprocessing="standardize",
        )
        flow = build(fitted).to(rows.device)
        standardize(flow, rows, given)
        initialize(flow, rows[:MOST_SHOWN], given[:MOST_SHOWN])
        return estimator(flow, theta.shape[1:], x.shape[1:])

    return build_estimator


def _estimator_class() -> Any:
    """Made when sbi is there, since it extends a class of sbi's."""
    try:
        from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
    except ImportError as error:
        raise GlowkitError("sbi is not installed: pip install 'glowkit[sbi]'") from error

    class FlowEstimator(ConditionalDensityEstimator):
        """A flow with sbi's shapes: S samples of a batch of B, (S, B, *), and conditions (B, *)."""

        net: Density

        def log_prob(self, input: Tensor, condition: Tensor, **kwargs: Any) -> Tensor:
            """Log p of each input given the condition of its place, (S, B) or (B,), nats."""
            events, given = len(self.input_shape), len(self.condition_shape)
            lead = torch.broadcast_shapes(
                input.shape[: input.dim() - events], condition.shape[: condition.dim() - given]
            )
            x = input.expand(*lead, *self.input_shape).reshape(lead.numel(), -1)
            c = condition.expand(*lead, *self.condition_shape).reshape(lead.numel(), -1)
            return self.net.log_prob(x, c).reshape(lead)

        def loss(self, input: Tensor, condition: Tensor, **kwargs: Any) -> Tensor:
            """Negative log p of each pair, (B,)."""
            return -self.log_prob(input, condition)

        def sample(self, sample_shape: Any, condition: Tensor, **kwargs: Any) -> Tensor:
            """Draw (*sample_shape, B, *) given conditions (B, *)."""
            lead = (*torch.Size(sample_shape), *condition.shape[: -len(self.condition_shape)])
            number = torch.Size(lead).numel()
            c = condition.expand(*lead, *self.condition_shape).reshape(number, -1)
            return self.net.sample(number, context=c).reshape(*lead, *self.input_shape)

    return FlowEstimator
