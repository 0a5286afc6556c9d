"""Anomaly scores: exact where the density is known, repeatable, and whatever the batch size."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import glowkit
from glowkit.core.noise import Generator
from glowkit.densities import Dequantize, StandardLogistic, StandardNormal, Uniform
from glowkit.tasks import AnomalyDetector, anomaly_scores
from glowkit.tasks.anomalies import SCORES
from glowkit.tasks.anomalies.complexity import complexities
from glowkit.tasks.anomalies.dose import fit_kernels, fit_machine
from glowkit.tasks.anomalies.statistics import Reading, costs, gradient_norms, latent_statistics

LEVELS = 16
SHAPE = (1, 4, 4)
GLOW = glowkit.GlowConfig(SHAPE, levels=1, steps=1, width=4, pixel_levels=LEVELS)
CONFIGS = {
    "glow": GLOW,
    "variational": glowkit.GlowConfig(
        SHAPE, levels=2, steps=1, width=4, pixel_levels=LEVELS, dequantization="variational"
    ),
    "nice": glowkit.NICEConfig(SHAPE, width=8, depth=1, pixel_levels=LEVELS),
}


def noise(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def usual_images(n: int, seed: int = 0) -> Tensor:
    """Smooth ones, dark or bright."""
    base = torch.randint(3, 12, (n, 1, 1, 1), generator=noise(seed))
    return (base + torch.randint(0, 2, (n, *SHAPE), generator=noise(seed + 1))).to(torch.uint8)


def noise_images(n: int) -> Tensor:
    return torch.randint(0, LEVELS, (n, *SHAPE), generator=noise(9)).to(torch.uint8)


def made(name: str, seed: int = 0) -> glowkit.Density:
    torch.manual_seed(seed)
    model = glowkit.build(CONFIGS[name])
    glowkit.initialize(model, usual_images(64, seed))
    with torch.no_grad():  # fresh couplings do nothing
        for weight in model.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=noise(seed))
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_scores_are_finite_repeatable_and_of_no_batch_size(name: str) -> None:
    model, usual = made(name), usual_images(50, 3)
    images = torch.cat([noise_images(5), usual_images(2, 5), 0 * noise_images(2)])
    more = {"background": made(name, 1), "ensemble": [made(name, 2)]}
    found = [
        anomaly_scores(model, images, usual, draws=2, batch_size=size, seed=seed, **more)
        for size, seed in ((64, 0), (64, 0), (4, 0), (64, 1))
    ]
    assert list(found[0].values) == list(SCORES)
    for score in SCORES:
        first, again, batched, _ = (each.values[score] for each in found)
        assert first.isfinite().all(), score
        assert torch.equal(first, again), score
        # Kernel densities square how far out what the model rounded to float32 is.
        close = 1e-4 if score == "dose" else 1e-5
        torch.testing.assert_close(first, batched, rtol=close, atol=close)
    assert not torch.equal(found[0].values["likelihood"], found[3].values["likelihood"])


def test_likelihood_is_bits_per_dim_at_the_mean_of_the_draws() -> None:
    model, images = made("glow"), usual_images(3)
    few, many = (costs(model, images, Reading(draws), stream=1) for draws in (1, 400))
    exact = glowkit.bits_per_dim(model, images, None, noise(5), importance_samples=400)
    torch.testing.assert_close(many, exact.detach(), rtol=2e-3, atol=0)
    assert many.mean() < few.mean()
    # The noise belongs to an example and its number, not to what is before or beside it.
    torch.testing.assert_close(costs(model, images[:1], Reading(1), stream=1), few[:1])
    assert not torch.equal(costs(model, images, Reading(1), stream=2), few)


def test_what_is_known_of_a_standard_normal() -> None:
    model = StandardNormal((2,))
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, -1.0]])
    reading = Reading()
    exact = math.log(2 * math.pi) + 0.5 * x.double().square().sum(1)
    torch.testing.assert_close(costs(model, x, reading, 1), exact)
    assert gradient_norms(model, x, reading)[0].item() == pytest.approx(math.log(5))
    squares, size, ladj = latent_statistics(model, x, reading).T
    torch.testing.assert_close(squares, (x.double().square().sum(1) - 2) / 2)
    assert size[0].item() == pytest.approx(math.log(7))
    assert ladj.abs().max() < 1e-6


def test_what_is_too_likely_is_atypical_and_not_unlikely() -> None:
    model = StandardNormal((50,))
    usual = torch.randn(400, 50, generator=noise(0))
    found = anomaly_scores(model, torch.zeros(1, 50), usual)
    assert found.p_values["likelihood"].item() == 1
    for name in ("typicality", "latent", "dose", "dose-svm"):
        assert found.p_values[name].item() == pytest.approx(1 / 201)
    # A gradient of zero has a logarithm all the same.
    assert found.not_finite == dict.fromkeys(found.values, 0)


def test_squares_of_logistic_noise_are_standardised_too() -> None:
    model = StandardLogistic((20,))
    x = model.sample(4000, generator=noise(0))
    squares = latent_statistics(model, x, Reading())[:, 0]
    assert squares.mean().abs() < 0.06
    assert squares.std().item() == pytest.approx(1, abs=0.06)
    # The whitened map of this density is the identity.
    assert latent_statistics(model, x, Reading())[:, -1].abs().max() < 1e-3


def test_the_same_draws_make_differences_exact() -> None:
    model, usual = made("glow"), usual_images(60, 3)
    found = anomaly_scores(
        model, noise_images(4), usual, background=model, ensemble=[model], draws=1
    )
    assert not found.values["ratio"].any()
    torch.testing.assert_close(found.values["waic"], found.values["likelihood"])


def test_complexity_is_what_likelihood_lacks_of_a_file() -> None:
    model, images = made("glow"), noise_images(4)
    found = anomaly_scores(model, images, usual_images(60, 3), ("likelihood", "complexity"))
    bits, format = complexities(images, LEVELS)
    assert torch.equal(found.values["complexity"], found.values["likelihood"] - bits)
    assert sum(found.codecs.values()) == len(format)


def test_waic_is_the_mean_and_the_variance_over_the_ensemble() -> None:
    models = [made("glow", seed) for seed in (0, 1, 2)]
    images, usual = noise_images(4), usual_images(60, 3)
    each = torch.stack([costs(model, images, Reading(2), 1) for model in models])
    found = anomaly_scores(
        models[0], images, usual, ("waic",), ensemble=models[1:], draws=2
    ).values["waic"]
    nats = each * 16 * math.log(2)
    torch.testing.assert_close(found, (nats.mean(0) + nats.var(0)) / (16 * math.log(2)))


def test_vectors_have_no_complexity() -> None:
    usual = torch.randn(60, 2, generator=noise(0))
    detector = AnomalyDetector(StandardNormal((2,)), usual)
    assert detector.left_out == {
        "complexity": "it is of images, and these are vectors",
        "ratio": "it needs a background model",
        "waic": "it needs an ensemble of at least 2 models",
    }
    assert list(detector(usual[:3]).values) == [n for n in SCORES if n not in detector.left_out]


def test_p_values_of_usual_examples_are_even() -> None:
    model = StandardNormal((3,))
    usual, others = torch.randn(2, 1000, 3, generator=noise(0))
    for name, p in anomaly_scores(model, others, usual).p_values.items():
        for level in (0.05, 0.5):
            share = (p <= level).double().mean().item()
            assert share == pytest.approx(level, abs=0.07), (name, level)


class Broken(StandardNormal):
    """NaN for negative examples, infinitely unlikely for those above 100."""

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        noises, log_p = super().encode(x, context, generator)
        log_p = log_p.masked_fill((x < -10).any(1), torch.nan)
        return noises, log_p.masked_fill((x > 100).any(1), -torch.inf)


def test_what_cannot_be_computed_is_the_most_anomalous_and_counted() -> None:
    usual = torch.randn(200, 2, generator=noise(0))
    usual[3] = -20  # no reason to fail: it is left out of what is fitted
    x = torch.tensor([[0.0, 0.5], [-20.0, 0.0], [4.0, 4.0], [0.0, 101.0]])
    found = anomaly_scores(Broken((2,)), x, usual)
    for name in ("likelihood", "typicality", "dose", "dose-svm"):
        assert found.not_finite[name] == 2, name
        assert found.values[name].isnan().tolist() == [False, True, False, True]
        assert found.order(name).tolist() == [1, 3, 2, 0]
        assert found.p_values[name][1] == found.p_values[name].min()
    with pytest.raises(glowkit.GlowkitError, match="too few reference examples have finite"):
        anomaly_scores(Broken((2,)), x, torch.full((60, 2), -20.0))


class OfIntegers(StandardNormal):
    """Made by hand, in another way than `Dequantize`."""

    levels = 4

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        return super().encode(x.float(), context, generator)


IMAGES = usual_images(60)
CLASSES = glowkit.GlowConfig(SHAPE, levels=1, steps=1, width=4, pixel_levels=LEVELS, classes=2)
OTHER = Dequantize(Uniform(SHAPE), StandardNormal(SHAPE), levels=8)
WIDE = Dequantize(Uniform((1, 8, 8)), StandardNormal((1, 8, 8)), levels=LEVELS)
PLAIN = Dequantize(Uniform(SHAPE), StandardNormal(SHAPE), levels=LEVELS)
BAD = {
    "ratio alone": ({"scores": ["ratio"]}, "ratio cannot be computed: it needs a background"),
    "waic alone": ({"scores": ["waic"]}, "waic cannot be computed: .* at least 2 models"),
    "unknown": ({"scores": ["entropy"]}, "no anomaly score 'entropy'; choose of likelihood"),
    "few": ({"reference": IMAGES[:49]}, "49 reference examples are too few .* at least 50"),
    "no tensor": ({"reference": None}, "reference examples must be a torch tensor"),
    "levels": ({"background": OTHER}, "background model has levels 8, and the model 16"),
    "shape": ({"ensemble": [WIDE]}, "ensemble model has shape 1x8x8, and the model 1x4x4"),
    "classes": ({"model": glowkit.build(CLASSES)}, "train one without --conditional"),
    "draws": ({"draws": 0}, "draws is 0"),
    "seed": ({"seed": -1}, "seed is -1; it must be a whole number, at least 0"),
    "all alike": (
        {"model": StandardNormal((2,)), "reference": torch.ones(60, 2), "scores": ["dose"]},
        "statistics of all reference examples are the same",
    ),
    "batch": ({"batch_size": 0}, "batch_size is 0"),
    "shape of images": ({"examples": IMAGES[:, :, :2]}, r"images have shape \(1, 2, 4\)"),
    "no images": ({"examples": IMAGES[:0]}, "the batch is empty"),
    "integers": (
        {"model": OfIntegers((2,)), "reference": torch.ones(60, 2), "scores": ["gradient"]},
        "this model of integers is no Dequantize",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case: str) -> None:
    changes, sentence = BAD[case]
    given = {"model": PLAIN, "examples": IMAGES[:2], "reference": IMAGES, **changes}
    with pytest.raises(glowkit.GlowkitError, match=sentence):
        anomaly_scores(**given)


def test_a_frozen_model_says_that_it_has_no_gradients() -> None:
    model = made("glow")
    with glowkit.frozen(model):
        assert anomaly_scores(model, IMAGES[:2], IMAGES, ("latent",)).not_finite == {"latent": 0}
        with pytest.raises(glowkit.GlowkitError, match="a frozen model gives no gradients"):
            anomaly_scores(model, IMAGES[:2], IMAGES, ("gradient",))


def test_kernel_densities_are_densities() -> None:
    statistics = torch.randn(300, 1, generator=noise(0), dtype=torch.float64)
    statistics = (statistics - statistics.mean()) / statistics.std()  # white already
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    total = (-fit_kernels(statistics)(grid[:, None])).exp().sum().item() * 16 / 4000
    assert total == pytest.approx(1, abs=1e-3)


def test_statistics_are_seen_together() -> None:
    first, other = torch.randn(2, 300, generator=noise(0), dtype=torch.float64)
    statistics = torch.stack([first, first + 0.1 * other, first], dim=1)
    for fit in (fit_kernels, fit_machine):
        judge = fit(statistics)  # of three columns, two of which are one
        # Each value is usual by itself, and so are they together along the line only.
        usual, odd = judge(torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])).tolist()
        assert usual < judge(statistics).quantile(0.9) < odd


def test_what_does_not_vary_says_nothing() -> None:
    statistics = torch.randn(300, 2, generator=noise(0), dtype=torch.float64)
    constant = torch.full((300, 1), 7.0, dtype=torch.float64)
    for fit in (fit_kernels, fit_machine):
        with_it = fit(torch.cat([statistics, constant], 1))(torch.tensor([[1.0, 0.0, 9.0]]))
        assert torch.equal(with_it, fit(statistics)(torch.tensor([[1.0, 0.0]])))


def test_many_values_alike_are_no_width_of_zero() -> None:
    mostly = np.concatenate([np.zeros(290), np.linspace(-1, 1, 10)])
    judge = fit_kernels(torch.from_numpy(mostly)[:, None])
    near, far = judge(torch.tensor([[0.0], [3.0]], dtype=torch.float64)).tolist()
    assert math.isfinite(near)
    assert near < far < math.inf
