"""Examples that overflow: images hide it in their integers, so log p and a warning tell of it."""

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import glowkit
from glowkit import GlowkitWarning, bijections, densities
from glowkit.core import Density
from glowkit.core.finite import broken_examples
from glowkit.models.points import PointsConfig

FAMILIES = {
    "glow": glowkit.GlowConfig((1, 4, 4), levels=2, steps=2, width=8),
    "glow-deep-colour": glowkit.GlowConfig(
        (3, 4, 4), levels=1, steps=2, width=8, pixel_levels=65536
    ),
    "glow-classes": glowkit.GlowConfig((1, 4, 4), levels=1, steps=2, width=8, classes=3),
    "glow-variational": glowkit.GlowConfig(
        (1, 4, 4), levels=1, steps=1, width=8, dequantization="variational", dequantization_steps=1
    ),
    "glow-logit": glowkit.GlowConfig((1, 4, 4), levels=1, steps=1, width=8, preprocessing="logit"),
    "realnvp": glowkit.RealNVPConfig((1, 4, 4), levels=1, width=8, blocks=1),
    "nice": glowkit.NICEConfig((1, 3, 3), width=8, depth=1, pixel_levels=17),
    "flowpp": glowkit.FlowPPConfig((1, 4, 4), width=8, blocks=1, components=2, heads=0),
}


def model_of(name: str) -> Density:
    torch.manual_seed(0)
    model = glowkit.build(FAMILIES[name])
    config = FAMILIES[name]
    images = torch.randint(0, min(256, config.pixel_levels), (8, *config.image_shape))
    context = torch.arange(8) % 3 if config.classes else None
    glowkit.initialize(model, images, context)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def context_of(name: str, number: int) -> Tensor | None:
    return torch.arange(number) % 3 if FAMILIES[name].classes else None


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("temperature", [1.0, 1e3, 1e30])
def test_log_p_of_an_image_is_nan_just_where_a_value_is_not_finite(
    name: str, temperature: float
) -> None:
    model, context = model_of(name), context_of(name, 20)
    noises = model.draw_noises(20, temperature, torch.Generator().manual_seed(0))
    noises[-1][3].view(-1)[0] = math.nan
    with torch.no_grad():
        v, _ = model.density.decode(noises, context)
        images, log_p = model.decode(noises, context)
    broken = ~v.isfinite().flatten(1).all(1)
    assert broken[3]
    assert torch.equal(log_p.isnan(), broken)
    assert torch.equal(broken_examples(images, log_p), broken)
    assert not images[~v.isfinite()].any()


def test_one_broken_image_leaves_the_others_of_a_batch_alone() -> None:
    model = model_of("glow")
    noises = model.draw_noises(4, 0.7, torch.Generator().manual_seed(0))
    whole, log_p_whole = model.decode(noises)
    noises[0][2].view(-1)[1] = math.inf
    images, log_p = model.decode(noises)
    others = [0, 1, 3]
    assert torch.equal(images[others], whole[others])
    assert torch.equal(log_p[others], log_p_whole[others])
    assert log_p[2].isnan()


def test_samples_that_overflow_are_counted_in_a_warning() -> None:
    model = model_of("glow")
    generator = torch.Generator().manual_seed(0)
    noises = model.draw_noises(30, 1e30, generator)
    with torch.no_grad():
        broken = int(model.decode(noises)[1].isnan().sum())
    assert broken
    with pytest.warns(GlowkitWarning, match=f"^{broken} of 30 images .*temperature.* zeros$"):
        model.sample(30, 1e30, generator=generator.manual_seed(0))


def test_samples_that_are_well_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model_of("glow").sample(30, 0.7)


def test_points_that_overflow_are_counted_in_a_warning() -> None:
    model = glowkit.build(PointsConfig(2, steps=2, width=8))
    with torch.no_grad():
        glowkit.initialize(model, torch.randn(64, 2))
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.draw_noises = lambda *_: [torch.tensor([[math.nan, 0.0], [0.0, 0.0]])]
    with pytest.warns(GlowkitWarning, match="^1 of 2 examples could not be computed"):
        points = model.sample(2)
    assert points.isfinite().all(1).tolist() == [False, True]


class Constant(nn.Module):
    """A net that gives these numbers for each pixel, whatever it is asked."""

    def __init__(self, mean: float, log_std: float) -> None:
        super().__init__()
        self.numbers = torch.tensor([mean, log_std])

    def forward(self, context: Tensor) -> Tensor:
        return self.numbers.view(1, 2, 1, 1).expand(len(context), -1, 2, 2)


@pytest.mark.parametrize(
    "build",
    [
        lambda: densities.ConditionalNormal(Constant(math.nan, 0.0), (1, 2, 2)),
        lambda: densities.ConditionalNormal(Constant(0.0, 100.0), (1, 2, 2)),
        lambda: densities.Then(
            bijections.Inverse(bijections.ElementwiseAffine((1, 2, 2))),
            densities.Uniform((1, 2, 2)),
        ),
    ],
    ids=["mean", "deviation", "uniform"],
)
def test_finite_noises_of_a_bad_prior_are_seen(build: Callable[[], Density]) -> None:
    density = build()
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.fill_(math.nan)
        x, log_p = density.decode([torch.ones(2, 1, 2, 2)], torch.zeros(2, 1, 2, 2))
    assert not x.isfinite().any()
    assert not log_p.isfinite().any()
