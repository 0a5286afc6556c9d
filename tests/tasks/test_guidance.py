"""Guidance and denoising of TarFlows, and densities of noisy images, whose figures are no bits."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import glowkit
from glowkit.bijections import ElementwiseAffine
from glowkit.core import MIDPOINT, Density, GlowkitError, frozen
from glowkit.densities import Noisy, StandardNormal, Then, WithLabels, no_label
from glowkit.models import AutoregressiveConfig
from glowkit.tasks import classify, evaluate, training_loss
from glowkit.tasks.guidance import cleaned, denoised, guided
from glowkit.tasks.latent import sampled

PLAIN = AutoregressiveConfig(
    (1, 4, 4), head="affine", blocks=2, layers=1, width=8, heads=2, inner=0, pixel_levels=17
)
CLASSES = replace(PLAIN, classes=3, class_dropout=0.1)
NOISY = replace(CLASSES, dequantization="normal", deviation=0.02)


def shaken(config: AutoregressiveConfig) -> Any:
    torch.manual_seed(0)
    model = glowkit.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def images(n: int = 6) -> Tensor:
    return torch.randint(17, (n, 1, 4, 4), generator=torch.Generator().manual_seed(0))


LABELS = torch.arange(6) % 3


@pytest.mark.parametrize("config", [CLASSES, NOISY, replace(CLASSES, inner=3)])
def test_weight_0_is_the_model_to_the_bit(config: AutoregressiveConfig) -> None:
    model = shaken(config)
    noises = model.draw_noises(6, generator=torch.Generator().manual_seed(1))
    for ours, theirs in zip(
        guided(model, 0.0, 0.5).decode(noises, LABELS), model.decode(noises, LABELS), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("inner", [0, 3])
def test_the_first_token_is_as_the_formula_has_it(inner: int) -> None:
    """z = 0 gives μ; the scale between z = 0 and z = 1 is e^α: of c, of u, and of both mixed."""
    model = shaken(replace(CLASSES, blocks=1, inner=inner)).double()
    inside = model.density.density
    vectors = torch.eye(3).double()[:1]

    def means_and_log_scales(density: Density, given: Tensor) -> tuple[Tensor, Tensor]:
        low, high = (density.decode([torch.full((1, 4, 4), z).double()], given)[0] for z in (0, 1))
        first = (slice(None), slice(None), slice(0, 1), slice(0, 1))  # of the first patch
        return 2 * low[first] - 1, (2 * (high - low))[first].log()

    of_c = means_and_log_scales(inside, vectors)
    of_u = means_and_log_scales(inside, no_label(vectors))
    mixed = means_and_log_scales(guided(model, 1.5).density.density, vectors)
    assert (of_c[0] - of_u[0]).abs().max() > 1e-3
    for c, u, got in zip(of_c, of_u, mixed, strict=True):
        assert torch.allclose(got, c + 1.5 * (c - u), atol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("inner", [0, 3])
def test_a_guided_model_is_a_flow_of_its_own(inner: int, temperature: float) -> None:
    model = shaken(replace(CLASSES, inner=inner)).double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = model.log_prob(images(), LABELS, MIDPOINT)
    other = guided(model, 0.7, temperature)
    noises, log_p = other.encode(images(), LABELS, MIDPOINT)
    again, log_p_again = other.decode(noises, LABELS)
    assert torch.equal(again.long(), images())
    assert torch.allclose(log_p, log_p_again, atol=1e-9)
    assert not torch.allclose(log_p, plain, atol=1e-3)
    assert torch.equal(model.log_prob(images(), LABELS, MIDPOINT), plain)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert other.config is None
    assert model.config is not None


def test_the_density_of_guided_samples_has_their_jacobian() -> None:
    inside = guided(shaken(CLASSES).double(), 0.7, 0.5).density.density
    given = torch.eye(3).double()[:1]
    z = torch.randn(1, 4, 4).double()
    jacobian = torch.autograd.functional.jacobian(lambda e: inside.decode([e], given)[0], z)
    expected = -0.5 * (z.square().sum() + 16 * math.log(2 * math.pi))
    expected = expected - jacobian.reshape(16, 16).slogdet().logabsdet
    assert inside.decode([z], given)[1].item() == pytest.approx(expected.item(), abs=1e-9)


def test_without_labels_attention_is_all_that_differs() -> None:
    model = shaken(PLAIN)
    noises = model.draw_noises(4, generator=torch.Generator().manual_seed(1))
    flat = guided(model, 2.0, 4.0).decode(noises)[1]
    assert not torch.equal(flat, model.decode(noises)[1])
    unlearned = shaken(replace(CLASSES, class_dropout=0.0))
    assert guided(unlearned, 2.0, 4.0).sample(3, context=LABELS[:3]).shape == (3, 1, 4, 4)


@pytest.mark.parametrize(
    ("config", "asked", "words"),
    [
        (PLAIN, (-1.0,), "give 0, for none, or more"),
        (PLAIN, (math.nan,), "give 0, for none, or more"),
        (PLAIN, (1.0, 0.0), "attention temperature of 0 makes no sense"),
        (PLAIN, (1.0,), "which this model never learned"),
        (replace(CLASSES, class_dropout=0.0), (1.0,), "class_dropout=0.1"),
        (replace(PLAIN, head="mixture"), (1.0, 2.0), "means and scales of a TarFlow"),
        (replace(PLAIN, head="ordinal", blocks=1, inner=2), (1.0, 2.0), "leave it out"),
    ],
)
def test_what_cannot_be_guided_is_refused(
    config: AutoregressiveConfig, asked: tuple[float, ...], words: str
) -> None:
    with pytest.raises(GlowkitError, match=words):
        guided(glowkit.build(config), *asked)


def test_training_leaves_out_labels_and_evaluation_none() -> None:
    model = WithLabels(4, StandardNormal((1,)), dropout=0.3)
    labels = torch.arange(4000) % 4
    assert torch.equal(model.eval().given(labels, 4000), torch.eye(4)[labels])
    torch.manual_seed(0)
    given = model.train().given(labels, 4000)
    left_out = (given == 0.25).all(1)
    assert 0.27 < left_out.float().mean() < 0.33
    assert torch.equal(given[~left_out], torch.eye(4)[labels[~left_out]])


def gaussian(deviation: float) -> tuple[Density, Tensor, Tensor]:
    """The density of y = x + σ ε for x ~ N(m, s²), with m and s² of two dimensions."""
    mean, variance = torch.tensor([0.3, -0.1]).double(), torch.tensor([0.04, 0.25]).double()
    scale = (variance + deviation**2).rsqrt()
    flow = ElementwiseAffine((2,)).double()
    with torch.no_grad():
        flow.log_scale.copy_(scale.log())
        flow.shift.copy_(-mean * scale)
    return Then(flow, StandardNormal((2,)), (2,)).double(), mean, variance


def test_denoising_a_gaussian_is_its_posterior_mean() -> None:
    density, mean, variance = gaussian(0.3)
    y = torch.randn(5, 2).double()
    expected = mean + variance / (variance + 0.3**2) * (y - mean)
    assert torch.allclose(denoised(density, y, 0.3), expected, atol=1e-12)


def test_a_noisy_model_is_of_noisy_images_and_its_samples_are_cleaned() -> None:
    model = shaken(NOISY)
    assert model.log_p_kind == "estimate"
    noises, _ = model.encode(images(), LABELS, MIDPOINT)
    assert torch.equal(model.decode(noises, LABELS)[0].long(), images())
    drawn = torch.stack(
        [model.log_prob(images(), LABELS, torch.Generator().manual_seed(seed)) for seed in range(3)]
    )
    assert (drawn.std(0) > 0).all()
    # log p is that of c(x) + σ ε, at whatever ε the generator gives.
    noise = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    y = (2 * images() + 1) / 17 - 1 + 0.02 * noise
    assert torch.equal(drawn[0], model.density.log_prob(y, LABELS))
    clean, broken = cleaned(model, noises, LABELS)
    y, _ = model.density.decode(noises, LABELS)
    assert torch.equal(clean, model.quantized(denoised(model.density, y, 0.02, LABELS)))
    assert not broken.any()
    seed = torch.Generator().manual_seed(3)
    ours, _ = sampled(model, 6, 1.0, LABELS, seed, guided(model, 1.0))
    noises = model.draw_noises(6, 1.0, seed.manual_seed(3))
    assert torch.equal(ours, cleaned(model, noises, LABELS, guided(model, 1.0))[0])
    raw, _ = sampled(model, 6, 1.0, LABELS, seed.manual_seed(3), clean=False)
    assert torch.equal(raw, model.decode(noises, LABELS)[0])


def test_no_bits_are_made_of_the_nats_of_noisy_images() -> None:
    model = shaken(NOISY)
    for ask in (glowkit.bits_per_dim, training_loss):
        with pytest.raises(GlowkitError, match="none can be made of it"):
            ask(model, images(), LABELS)
    with pytest.raises(GlowkitError, match="none can be made of it"):
        classify(model, [(images(), LABELS)])
    seed = torch.Generator().manual_seed(0)
    found = evaluate(model, [(images(), LABELS)], generator=seed, draws=2)
    both = [model.log_prob(images(), LABELS, seed) for seed in [seed.manual_seed(0)] * 2]
    assert found.noisy_nll_nats == pytest.approx(-torch.stack(both).mean().item(), rel=1e-6)
    assert not hasattr(found, "bits_per_dim")
    assert (found.noise_deviation, found.draws, found.kind) == (0.02, 2, "estimate")
    assert found.largest_pixel_error == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dequantization": "normal", "deviation": 0.0}, "takes more than 0"),
        ({"deviation": 0.1}, "only dequantization 'normal'"),
        ({"class_dropout": 0.1}, "there are no classes to leave out"),
        ({"classes": 2, "class_dropout": 1.0}, "class_dropout is 1.0; it must be below 1"),
        ({"head": "ordinal", "blocks": 1, "inner": 2, "dequantization": "normal"}, "only head"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(GlowkitError, match=words):
        replace(PLAIN, **settings)


def test_densities_under_noise_refuse_what_makes_none() -> None:
    inside = StandardNormal((1, 2, 2))
    for wrong, words in (((1, 0.1), "pixel_levels is 1"), ((4, 0.0), "deviation is 0.0")):
        with pytest.raises(GlowkitError, match=words):
            Noisy(Then(ElementwiseAffine((1, 2, 2)), inside, (1, 2, 2)), *wrong)
    with pytest.raises(GlowkitError, match="must say its shape"):
        Noisy(Then(ElementwiseAffine((1, 2, 2)), inside), 4, 0.1)


def test_a_frozen_model_draws_the_same_images_without_noise() -> None:
    model = shaken(replace(NOISY, inner=3))
    with torch.no_grad():
        noises, labels = model.draw_noises(3), torch.arange(3)
        expected, _ = cleaned(model, noises, labels)
        with frozen(model):
            found, broken = cleaned(model, noises, labels)
    assert torch.equal(found, expected)
    assert not broken.any()
