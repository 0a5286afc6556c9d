"""Glow as the specification has it: counts, checks, conditioning, the bound."""

import dataclasses
import itertools
import math

import pytest
import torch

import glowkit
from glowkit.bijections import Affine, Conv1x1, Coupling, ElementwiseAffine, Logit, LUMatrix
from glowkit.core import Chain, Density
from glowkit.densities import Classified, Dequantize, StandardNormal, Then, TopPrior, Uniform
from glowkit.models import PRESETS, GlowConfig, count_parameters, from_settings, to_settings
from glowkit.nets import MLP, GlowNet
from glowkit.tasks import training_loss

# The published models; an LU-factored matrix packed into C² numbers counts as the plain one.
COUNTS = {
    "glow-cifar10": 44_603_604,
    "glow-celebahq256": 175_099_620,
    "glow-imagenet32": 66_861_588,
    "glow-imagenet64": 112_377_540,
    "glow-cifar10-conditional": 38_397_320,
}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
@pytest.mark.parametrize("permutation", ["conv1x1", "conv1x1-plain"])
def test_parameter_counts_are_the_published_models(name: str, count: int, permutation: str) -> None:
    config = dataclasses.replace(PRESETS[name], permutation=permutation)
    assert count_parameters(config) == count


def images(config: GlowConfig, n: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.uint8 if config.pixel_levels <= 256 else torch.int32
    size = (n, *config.image_shape)
    return torch.randint(0, config.pixel_levels, size, generator=generator).to(dtype)


def ready(config: GlowConfig) -> tuple[Density, torch.Tensor]:
    torch.manual_seed(0)
    model = glowkit.build(config)
    batch = images(config)
    labels = torch.arange(len(batch)) % config.classes if config.classes else None
    glowkit.initialize(model, batch, labels)
    return model, batch


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("levels", [2, 5, 17, 256, 65536])
def test_any_channels_and_pixel_levels_round_trip(channels: int, levels: int) -> None:
    model, batch = ready(
        GlowConfig((channels, 8, 12), levels=2, steps=1, width=8, pixel_levels=levels)
    )
    model = model.double() if levels > 4096 else model
    assert torch.equal(glowkit.reconstruct(model, batch), batch)
    assert model.sample(2).dtype == (torch.uint8 if levels <= 256 else torch.int32)


@pytest.mark.parametrize("side", [12, 20, 28])
def test_a_side_that_cannot_be_halved_names_those_that_can(side: int) -> None:
    with pytest.raises(glowkit.GlowkitError, match=f"{side // 8 * 8} or {side // 8 * 8 + 8}"):
        GlowConfig((3, side, 32), levels=3)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"coupling": "afine"}, "affine"),
        ({"permutation": "none"}, "conv1x1"),
        ({"kept_half": "third"}, "second"),
        ({"entry": "exit"}, "preactivation"),
        ({"preprocessing": "square root"}, "logit"),
        ({"memory": "disk"}, "checkpoint"),
        ({"precision": "float8"}, "bfloat16"),
        ({"steps": 0}, "at least 1"),
        ({"classifier_weight": 0.1}, "classes"),
        ({"classes": 2, "context_features": 2}, "set one of them to 0"),
        ({"conditioning": "everywhere"}, "classes or context_features"),
        ({"classes": 2, "conditioning": "some"}, "everywhere"),
        ({"context_features": -1}, "at least 0"),
        ({"classes": 2, "conditioning": "everywhere", "classifier_weight": 0.1}, "tell"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(setting: dict, word: str) -> None:
    with pytest.raises(glowkit.GlowkitError, match=word):
        GlowConfig((1, 8, 8), **setting)


@pytest.mark.parametrize("levels", [0, 1, 65537])
def test_pixel_levels_out_of_range(levels: int) -> None:
    with pytest.raises(glowkit.GlowkitError, match="2 to 65536"):
        glowkit.build(GlowConfig((1, 8, 8), levels=1, steps=1, width=4, pixel_levels=levels))


def test_settings_survive_a_file() -> None:
    config = PRESETS["glow-cifar10-conditional"]
    assert from_settings(to_settings(config)) == config


def test_an_uninitialised_model_says_so() -> None:
    model = glowkit.build(GlowConfig((1, 8, 8), levels=1, steps=1, width=4))
    with pytest.raises(glowkit.GlowkitError, match="initialize"):
        model.sample(1)


def test_initialisation_normalises_every_actnorm_once() -> None:
    config = GlowConfig((1, 8, 8), levels=2, steps=2, width=8)
    model, batch = ready(config)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    assert glowkit.initialize(model, images(config, seed=5)) == 0
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    seen: list[torch.Tensor] = []
    first = next(m for m in model.modules() if type(m).__name__ == "ActnormConv1x1")
    first.register_forward_hook(lambda m, i, output: seen.append(output[0]))
    model.encode(batch)
    assert seen[0].mean((0, 2, 3)).abs().max() < 0.05
    assert (seen[0].std((0, 2, 3)) - 1).abs().max() < 0.1


def test_initialisation_of_one_image_is_refused() -> None:
    config = GlowConfig((1, 8, 8), levels=1, steps=1, width=4)
    with pytest.raises(glowkit.GlowkitError, match="at least 2"):
        glowkit.initialize(glowkit.build(config), images(config, n=1))


def test_a_constant_channel_is_harmless() -> None:
    config = GlowConfig((1, 8, 8), levels=1, steps=2, width=4)
    model = glowkit.build(config)
    glowkit.initialize(model, torch.zeros(4, 1, 8, 8, dtype=torch.uint8))
    assert torch.isfinite(model.log_prob(images(config))).all()


CLASSES = GlowConfig((1, 8, 8), levels=1, steps=1, width=4, classes=3, classifier_weight=0.01)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "class label from 0 to 2"),
        (torch.tensor([0, 1, 2, 3, 0, 0, 0, 0]), "class 3 does not exist"),
        (torch.tensor([0, 1, 2, -1, 0, 0, 0, 0]), "class -1 does not exist"),
        (torch.zeros(8), "one integer for each of 8"),
        (torch.zeros(1, dtype=torch.int64), "one integer for each of 8"),
    ],
)
def test_bad_labels(labels: torch.Tensor | None, words: str) -> None:
    model, batch = ready(CLASSES)
    with pytest.raises(glowkit.GlowkitError, match=words):
        model.log_prob(batch, labels)


VECTORS = GlowConfig(
    (1, 8, 8), levels=2, steps=2, width=4, context_features=2, conditioning="everywhere"
)


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (None, "2 number"),
        (torch.zeros(8, 3), r"not \(8, 3\)"),
        (torch.zeros(7, 2), r"not \(7, 2\)"),
        (torch.zeros(8), r"not \(8,\)"),
        (torch.zeros(8, 2, dtype=torch.int64), "floating-point"),
        (torch.full((8, 2), math.nan), "NaN"),
        (torch.full((8, 2), math.inf), "NaN or infinity"),
    ],
)
def test_bad_context_vectors(vectors: torch.Tensor | None, words: str) -> None:
    model = glowkit.build(VECTORS)
    glowkit.initialize(model, images(VECTORS), torch.zeros(8, 2))
    with pytest.raises(glowkit.GlowkitError, match=words):
        model.log_prob(images(VECTORS), vectors)
    with pytest.raises(glowkit.GlowkitError, match=words):
        model.sample(8, context=vectors)


@pytest.mark.parametrize("dequantization", ["uniform", "variational"])
@pytest.mark.parametrize("condition", [{"classes": 3}, {"context_features": 2}], ids=str)
def test_a_fresh_conditional_model_is_the_unconditional_one(
    condition: dict, dequantization: str
) -> None:
    config = GlowConfig((1, 8, 8), levels=2, steps=2, width=4, dequantization=dequantization)
    plain, batch = ready(config)
    model = glowkit.build(dataclasses.replace(config, conditioning="everywhere", **condition))
    context = torch.arange(8) % 3 if "classes" in condition else torch.randn(8, 2)
    glowkit.initialize(model, batch, context)
    mine, state = model.density.density.state_dict(), plain.density.state_dict()
    # What differs in shape or is not there starts as zero.
    shared = {name: t for name, t in state.items() if mine[name].shape == t.shape}
    assert set(mine) - set(state)
    model.density.density.load_state_dict(shared, strict=False)
    model.noise.load_state_dict(plain.noise.state_dict())
    seeds = [torch.Generator().manual_seed(1) for _ in range(2)]
    torch.testing.assert_close(
        model.log_prob(batch, context, seeds[0]), plain.log_prob(batch, None, seeds[1])
    )


@pytest.mark.parametrize("condition", [{"classes": 3}, {"context_features": 2}], ids=str)
def test_context_reaches_every_coupling_and_every_prior(condition: dict) -> None:
    config = GlowConfig((1, 8, 8), levels=3, steps=2, width=4, **condition)
    model = glowkit.build(dataclasses.replace(config, conditioning="everywhere"))
    batch = images(config)
    context = torch.arange(8) % 3 if "classes" in condition else torch.randn(8, 2)
    glowkit.initialize(model, batch, context)
    with torch.no_grad():  # else the zero convolutions behind them let no gradient through
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    model.log_prob(batch, context).sum().backward()
    nets = [m for m in model.modules() if isinstance(m, GlowNet)]
    splits = [m for m in model.modules() if isinstance(m, glowkit.Split)]
    (top,) = [m for m in model.modules() if isinstance(m, TopPrior)]
    assert (len(nets), len(splits)) == (6, 2)
    for net in nets:
        assert net.context.weight.grad.abs().sum(0).min() > 0
    for split in splits:
        assert split.prior.net.weight.grad[:, split.kept :].abs().sum((0, 2, 3)).min() > 0
    assert top.embedding.weight.grad.abs().sum(0).min() > 0


def test_classes_and_classifier_learn() -> None:
    model, batch = ready(CLASSES)
    labels = torch.arange(8) % 3
    loss, bits = training_loss(model, batch, labels, torch.Generator().manual_seed(0))
    # A zero-initialised head guesses evenly: log2(3) bits an image.
    assert loss.item() == pytest.approx(bits.item() + 0.01 * math.log2(3), abs=1e-5)
    loss.backward()
    head = next(m for m in model.modules() if isinstance(m, Classified))
    assert head.head.bias.grad is not None
    assert head.head.bias.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "this model takes"),
        (torch.zeros(2, 1, 8, 8), "must be integers"),
        (torch.full((2, 1, 8, 8), 17, dtype=torch.uint8), "17 levels"),
        (torch.full((2, 1, 8, 8), -1), "17 levels"),
    ],
)
def test_bad_images(wrong: torch.Tensor, words: str) -> None:
    model, _ = ready(GlowConfig((1, 8, 8), levels=1, steps=1, width=4, pixel_levels=17))
    with pytest.raises(glowkit.GlowkitError, match=words):
        model.log_prob(wrong)


def test_identity_flow_on_uniform_noise_has_the_known_bits_per_dim() -> None:
    """9.386 bits/dim for 8-bit noise under a standard normal on v - 1/2, as openai/glow scales."""
    shape = (1, 64, 64)
    model = Dequantize(Uniform(shape), Then(glowkit.Chain([]), StandardNormal(shape)), 256)
    centred = Then(_shift(), model.density)
    model.density = centred
    batch = torch.randint(0, 256, (64, *shape), dtype=torch.uint8)
    assert glowkit.bits_per_dim(model, batch).mean().item() == pytest.approx(9.386, abs=0.002)


def _shift() -> glowkit.Bijection:
    from glowkit.bijections import Shift

    return Shift(-0.5)


@pytest.mark.parametrize("levels", [2, 3])
def test_probabilities_of_all_images_sum_to_one(levels: int) -> None:
    """A logit-preprocessed flow over 1x2x2 images: quadrature over each bin, then over all bins."""
    torch.manual_seed(1)
    shape = (4,)
    steps = [
        Chain([Conv1x1(LUMatrix(4)), Coupling(2, MLP(2, 4, width=8), Affine())]) for _ in range(2)
    ]
    density = Then(Chain([Logit(0.05), *steps]), StandardNormal(shape)).double()
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    nodes, weights = map(torch.as_tensor, _gauss_legendre(12 if levels == 2 else 8))
    u = torch.cartesian_prod(nodes, nodes, nodes, nodes)
    weight = torch.cartesian_prod(weights, weights, weights, weights).prod(1)
    total, outside = 0.0, 0.0
    with torch.no_grad():
        for image in itertools.product(range(levels), repeat=4):
            v = (torch.tensor(image, dtype=torch.float64) + u) / levels
            total += (density.log_prob(v).exp() * weight).sum().item() / levels**4
        # The flow also gives mass to v outside the unit cube, which no image has.
        sample = density.sample(200_000)
        outside = ((sample < 0) | (sample > 1)).any(1).double().mean().item()
    assert total + outside == pytest.approx(1, abs=0.01)
    assert total < 1 + 1e-3


def _gauss_legendre(points: int) -> tuple[list[float], list[float]]:
    import numpy as np

    x, w = np.polynomial.legendre.leggauss(points)
    return ((x + 1) / 2).tolist(), (w / 2).tolist()


def test_importance_samples_tighten_the_bound_towards_the_quadrature() -> None:
    torch.manual_seed(0)
    shape = (1, 1, 1)
    steep = ElementwiseAffine(shape)
    torch.nn.init.constant_(steep.log_scale, math.log(8))
    model = Dequantize(Uniform(shape), Then(steep, StandardNormal(shape)), levels=4)
    image = torch.zeros(1, *shape, dtype=torch.uint8)
    exact = -math.log2(torch.special.ndtr(torch.tensor(2.0)).item() - 0.5)  # of v in [0, 1/4)
    many = glowkit.bits_per_dim(model, image, importance_samples=4000).item()
    assert many == pytest.approx(exact, abs=0.03)
    one = glowkit.bits_per_dim(model, image.repeat(4000, 1, 1, 1)).mean().item()
    assert one > exact + 0.1


def test_midpoint_latents_repeat_and_generators_seed() -> None:
    model, batch = ready(GlowConfig((1, 8, 8), levels=1, steps=1, width=4))
    first, again = (model.encode(batch, None, glowkit.MIDPOINT)[0][0] for _ in range(2))
    assert torch.equal(first, again)
    seeded = [model.log_prob(batch, None, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.equal(seeded[0], seeded[2])


def test_bfloat16_conditioners_stay_close_and_invert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOWKIT_KERNELS", "0")  # which are float32's for networks so narrow
    config = GlowConfig((1, 8, 8), levels=2, steps=2, width=16, precision="bfloat16")
    model, batch = ready(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    full = glowkit.build(dataclasses.replace(config, precision="float32"))
    full.load_state_dict(model.state_dict())
    low, high = (m.log_prob(batch, None, glowkit.MIDPOINT) for m in (model, full))
    assert low.dtype == torch.float32
    assert not torch.equal(low, high)
    assert (low - high).abs().max() < 0.02 * high.abs().max()
    assert torch.equal(glowkit.reconstruct(model, batch), batch)
