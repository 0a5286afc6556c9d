"""Augmented: exact where q is the posterior, tighter with more draws, what it is made of."""

import math

import pytest
import torch
from torch import Tensor

import glowkit
from glowkit import GlowkitError
from glowkit.bijections import Conv1x1, Coupling, On, PlainMatrix
from glowkit.core import Chain
from glowkit.densities import (
    Augmented,
    ConditionalNormal,
    Dequantize,
    StandardNormal,
    Then,
    Uniform,
)
from glowkit.models import PointsConfig
from glowkit.tasks.coding import Codec


class Linear(torch.nn.Module):
    """The mean and log deviation of e given x, as `ConditionalNormal` wants them."""

    def __init__(self, slope: float, deviation: float) -> None:
        super().__init__()
        self.slope, self.deviation = slope, deviation

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.slope * x, torch.full_like(x, math.log(self.deviation))], dim=1)


def joint(matrix: Tensor) -> Then:
    """[x, e] ~ N(0, (MᵀM)⁻¹): M [x, e] is standard normal."""
    layer = PlainMatrix(2).double()
    with torch.no_grad():
        layer.weight.copy_(matrix)
    return Then(Conv1x1(layer), StandardNormal((2,)).double())


def test_it_is_exact_with_no_variance_where_q_is_the_posterior() -> None:
    matrix = torch.tensor([[1.0, 0.5], [-0.3, 2.0]], dtype=torch.float64)
    precision = matrix.T @ matrix
    covariance = precision.inverse()
    slope = float(-precision[1, 0] / precision[1, 1])
    posterior = Linear(slope, float(precision[1, 1] ** -0.5))
    model = Augmented(ConditionalNormal(posterior, (1,)).double(), joint(matrix), kept=1)
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    variance = covariance[0, 0]
    wanted = -0.5 * (x[:, 0] ** 2 / variance + torch.log(2 * math.pi * variance))
    for seed in range(20):
        log_p = model.log_prob(x, generator=torch.Generator().manual_seed(seed))
        assert (log_p - wanted).abs().max() < 1e-9


@torch.no_grad()
def test_more_draws_tighten_the_bound_towards_log_p() -> None:
    """With q the prior, of which the posterior is far."""
    matrix = torch.tensor([[2.0, -2.0], [0.0, 1.0]], dtype=torch.float64)
    model = Augmented(StandardNormal((1,)).double(), joint(matrix), kept=1)
    x = torch.zeros(4000, 1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([model.log_prob(x, generator=generator) for _ in range(64)])
    variance = float((matrix.T @ matrix).inverse()[0, 0])
    log_p = -0.5 * math.log(2 * math.pi * variance)
    bounds = [float((draws[:k].logsumexp(0) - math.log(k)).mean()) for k in (1, 4, 64)]
    assert bounds[0] < bounds[1] < bounds[2] < log_p
    assert log_p - bounds[2] < 0.02 < 0.5 < log_p - bounds[0]


def test_the_midpoint_is_the_median_of_q() -> None:
    model = glowkit.build("vflow-points")
    x = torch.randn(8, 2)
    glowkit.initialize(model, x)
    one, other = (model.encode(x, generator=glowkit.MIDPOINT) for _ in range(2))
    assert torch.equal(one[1], other[1])
    inside = model.density
    assert isinstance(inside, Augmented)
    e, log_q = inside.noise.decode([torch.zeros(8, 2)], x)
    log_p = inside.density.log_prob(torch.cat([x, e], dim=1))
    assert torch.allclose(log_p - log_q, one[1], atol=1e-5)


def test_a_noise_that_is_only_bounded_is_refused() -> None:
    bound = Augmented(StandardNormal((1,)), StandardNormal((2,)), kept=1)
    with pytest.raises(GlowkitError, match="Augmented, knows only a lower bound on its own log q"):
        Augmented(bound, StandardNormal((2,)), kept=1)


def test_the_three_families_are_sentences_of_it() -> None:
    vflow, anf, cif = (glowkit.build(f"{name}-points") for name in ("vflow", "anf", "cif"))
    assert [type(m.density).__name__ for m in (vflow, anf, cif)] == ["Augmented"] * 3
    assert vflow.density.noise.reads_context
    assert isinstance(anf.density.noise, StandardNormal)
    # x is changed given e, then e given x, in turn: the halves are swapped before every coupling.
    couplings = [m for m in anf.modules() if isinstance(m, Coupling)]
    assert {coupling.kept for coupling in couplings} == {2}
    steps = cif.config.steps
    assert sum(isinstance(m, Augmented) for m in cif.modules()) == steps
    assert sum(isinstance(m, On) for m in cif.modules()) == steps
    assert len(cif.noise_specs()) == steps + 1


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", ["normal", "variational", "indexed"])
def test_what_is_added_pays_in_a_density_that_it_can_learn(augmentation: str) -> None:
    """One number of two modes: an affine flow of it is a Gaussian, with a number more it is not."""
    torch.manual_seed(0)
    config = PointsConfig(
        1,
        steps=3,
        width=16,
        structure="autoregressive",
        coupling="affine",
        augmented_features=1,
        augmentation=augmentation,
    )
    model = glowkit.build(config)
    x = (torch.randint(2, (512, 1)) * 2.0 - 1) + 0.2 * torch.randn(512, 1)
    glowkit.initialize(model, x)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(120):
        loss = -model.log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    gaussian = 0.5 * math.log(2 * math.pi * math.e * 1.04)
    assert loss.item() < gaussian - 0.1


def test_images_take_channels_of_noise_and_are_refused_by_the_codec() -> None:
    torch.manual_seed(0)
    model = glowkit.build("vflow-tiny")
    images = torch.randint(0, 17, (16, 1, 8, 8), dtype=torch.uint8)
    glowkit.initialize(model, images)
    noises, _ = model.encode(images, generator=glowkit.MIDPOINT)
    assert sum(noise[0].numel() for noise in noises) == 3 * 64
    assert torch.equal(model.decode(noises)[0], images)
    assert model.log_p_kind == "bound"
    with pytest.raises(GlowkitError, match="bits of those channels back is not written"):
        Codec.compile(model)


def test_a_class_reaches_the_noise_of_a_model_that_is_conditional_everywhere() -> None:
    config = glowkit.GlowConfig(
        (1, 4, 4),
        levels=1,
        steps=1,
        width=4,
        classes=3,
        conditioning="everywhere",
        augmented_channels=1,
        augmentation="variational",
        augmentation_width=4,
    )
    model = glowkit.build(config)
    images = torch.randint(0, 256, (8, 1, 4, 4), dtype=torch.uint8)
    labels = torch.arange(8) % 3
    glowkit.initialize(model, images, labels)
    augmented = next(m for m in model.modules() if isinstance(m, Augmented))
    assert augmented.noise.net.first.weight.shape[1] == 4 * (1 + 3)
    assert model.encode(images, labels, glowkit.MIDPOINT)[1].isfinite().all()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"augmentation": "variational"}, "a model with augmented_channels"),
        ({"augmented_channels": 1, "augmentation_steps": 2}, "augmentation 'variational'"),
        ({"augmented_channels": 1, "augmentation": "more"}, "normal, variational"),
        ({"augmented_channels": -1}, "at least 0"),
    ],
)
def test_settings_of_images_that_cannot_be_are_refused(setting: dict, words: str) -> None:
    with pytest.raises(GlowkitError, match=words):
        glowkit.GlowConfig((1, 8, 8), **setting)


def test_dequantization_is_the_weakest_part() -> None:
    inside = Augmented(StandardNormal((1, 2, 2)), StandardNormal((2, 2, 2)), kept=1)
    assert Then(Chain([]), inside).log_p_kind == "bound"
    assert Dequantize(Uniform((1, 2, 2)), inside, levels=4).log_p_kind == "bound"
