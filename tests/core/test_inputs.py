"""No argument is ignored, and none is answered in torch's words: each is right, or a sentence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import glowkit
from glowkit.core import Density
from glowkit.densities import Dequantize, StandardLogistic, StandardNormal, Then, Uniform
from glowkit.models import PRESETS, build
from glowkit.tasks import bits_per_dim, reconstruct

IMAGES = {
    "glow": glowkit.GlowConfig((1, 4, 4), levels=1, steps=2, width=4, pixel_levels=4),
    "labels": glowkit.GlowConfig((1, 4, 4), 1, 2, 4, pixel_levels=4, classes=3),
    "vectors": glowkit.GlowConfig(
        (1, 4, 4), 1, 2, 4, pixel_levels=4, context_features=3, conditioning="everywhere"
    ),
    "variational": glowkit.GlowConfig(
        (1, 4, 4), 1, 1, 4, pixel_levels=4, dequantization="variational", dequantization_width=4
    ),
    "nice": glowkit.NICEConfig((1, 4, 4), width=4, depth=1, pixel_levels=4),
    "realnvp": glowkit.RealNVPConfig((1, 4, 4), blocks=0, width=2, pixel_levels=4),
    "flowpp": glowkit.FlowPPConfig(
        (1, 4, 4),
        couplings=((0, 1), (1, 0)),
        width=4,
        blocks=0,
        components=2,
        pixel_levels=4,
        dropout=0.0,
        dequantization="uniform",
    ),
}
POINTS = [name for name in PRESETS if name.endswith("-points")]
UNCONDITIONAL = [name for name in IMAGES if name not in ("labels", "vectors")]
each_points = pytest.mark.parametrize("name", POINTS)
each_images = pytest.mark.parametrize("name", IMAGES)


def images(n: int = 4) -> Tensor:
    return torch.randint(0, 4, (n, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte()


def context_of(name: str, n: int = 4) -> Tensor | None:
    if name == "labels":
        return torch.arange(n) % 3
    return torch.ones(n, 3) if name == "vectors" else None


def image_model(name: str) -> Density:
    torch.manual_seed(0)
    model = build(IMAGES[name])
    glowkit.initialize(model, images(), context_of(name))
    return model


SIZES = ("steps", "blocks", "width")


def points_model(name: str) -> Density:
    torch.manual_seed(0)
    preset = PRESETS[name]
    small = {key: 2 if key != "width" else 4 for key in vars(preset) if key in SIZES}
    config = type(preset)(**{**vars(preset), **small})
    model = build(config)
    glowkit.initialize(model, torch.randn(8, 2))
    return model


CONTEXTS: dict[str, Any] = {
    "labels": torch.zeros(4, dtype=torch.int64),
    "too few": torch.zeros(1, dtype=torch.int64),
    "vectors": torch.zeros(4, 3),
    "a number": 3,
    "a list": [0, 1, 2, 0],
}


@pytest.mark.parametrize("name", [*UNCONDITIONAL, *POINTS])
@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_a_context_that_nothing_reads_is_refused(name: str, context: Any) -> None:
    points = name in POINTS
    model = points_model(name) if points else image_model(name)
    x = torch.randn(4, 2) if points else images()
    noises, _ = model.encode(x)
    calls: list[Callable[[], object]] = [
        lambda: model.log_prob(x, context),
        lambda: model(x, context),
        lambda: model.encode(x, context),
        lambda: model.decode(noises, context),
        lambda: model.sample(4, context=context),
    ]
    if not points:
        assert isinstance(model, Dequantize)
        calls += [
            lambda: bits_per_dim(model, x, context),
            lambda: reconstruct(model, x, context),
            lambda: model.density.log_prob(x / 4, context),
        ]
    for call in calls:
        with pytest.raises(glowkit.GlowkitError, match="not conditional"):
            call()


def test_a_hand_made_model_refuses_it_too() -> None:
    shape = (1, 2, 2)
    model = Dequantize(Uniform(shape), StandardNormal(shape), levels=4)
    with pytest.raises(glowkit.GlowkitError, match="not conditional"):
        model.log_prob(torch.zeros(1, *shape, dtype=torch.uint8), torch.zeros(1))


LABELS: dict[str, Any] = {
    "none": None,
    "a number": 1,
    "a list": [0, 1, 2, 0],
    "numpy": np.array([0, 1, 2, 0]),
    "a scalar tensor": torch.tensor(1),
    "too few": torch.zeros(3, dtype=torch.int64),
    "one for all": torch.zeros(1, dtype=torch.int64),
    "a column": torch.zeros(4, 1, dtype=torch.int64),
    "floats": torch.zeros(4),
    "truth values": torch.ones(4, dtype=torch.bool),
    "complex": torch.zeros(4, dtype=torch.complex64),
    "beyond": torch.tensor([0, 1, 2, 3]),
    "negative": torch.tensor([0, 1, 2, -1]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_that_are_none(labels: Any) -> None:
    model = image_model("labels")
    noises, _ = model.encode(images(), context_of("labels"))
    for call in (
        lambda: model.log_prob(images(), labels),
        lambda: model.decode(noises, labels),
        lambda: model.sample(4, context=labels),
        lambda: bits_per_dim(model, images(), labels),
    ):
        with pytest.raises(glowkit.GlowkitError, match="class"):
            call()


VECTORS: dict[str, Any] = {
    "none": None,
    "a list": [[0.0] * 3] * 4,
    "too few": torch.zeros(3, 3),
    "too narrow": torch.zeros(4, 2),
    "flat": torch.zeros(4),
    "integers": torch.zeros(4, 3, dtype=torch.int64),
    "not finite": torch.full((4, 3), torch.nan),
}


@pytest.mark.parametrize("vectors", VECTORS.values(), ids=VECTORS)
def test_vectors_that_are_none(vectors: Any) -> None:
    model = image_model("vectors")
    with pytest.raises(glowkit.GlowkitError, match="context"):
        model.log_prob(images(), vectors)


WRONG_POINTS: dict[str, tuple[Any, str]] = {
    "numpy": (np.zeros((4, 2), np.float32), "torch tensor"),
    "a list": ([[0.0, 0.0]], "torch tensor"),
    "a number": (1.0, "torch tensor"),
    "a scalar": (torch.tensor(1.0), "a batch"),
    "one point": (torch.zeros(2), r"x\[None\]"),
    "columns": (torch.zeros(4, 3), r"\(N, 2\)"),
    "an axis more": (torch.zeros(4, 1, 2), r"\(N, 2\)"),
    "integers": (torch.zeros(4, 2, dtype=torch.int64), "float"),
    "float64": (torch.zeros(4, 2, dtype=torch.float64), "computes in float32"),
    "half": (torch.zeros(4, 2, dtype=torch.float16), "computes in float32"),
}


@each_points
@pytest.mark.parametrize("wrong", WRONG_POINTS.values(), ids=WRONG_POINTS)
def test_points_that_are_none(name: str, wrong: tuple[Any, str]) -> None:
    x, words = wrong
    model = points_model(name)
    for call in (model, model.log_prob, model.encode):
        with pytest.raises(glowkit.GlowkitError, match=words):
            call(x)


WRONG_IMAGES: dict[str, tuple[Any, str]] = {
    "numpy": (np.zeros((4, 1, 4, 4), np.uint8), "torch tensor"),
    "a list": ([1, 2], "torch tensor"),
    "a number": (3, "torch tensor"),
    "a scalar": (torch.tensor(1), "a batch"),
    "one image": (torch.zeros(1, 4, 4, dtype=torch.uint8), "shape"),
    "a size": (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), "shape"),
    "float32": (torch.zeros(4, 1, 4, 4), "integers"),
    "float64": (torch.zeros(4, 1, 4, 4, dtype=torch.float64), "integers"),
    "half": (torch.zeros(4, 1, 4, 4, dtype=torch.float16), "integers"),
    "truth values": (torch.zeros(4, 1, 4, 4, dtype=torch.bool), "integers"),
    "complex": (torch.zeros(4, 1, 4, 4, dtype=torch.complex64), "integers"),
    "levels": (torch.full((4, 1, 4, 4), 4, dtype=torch.uint8), "4 levels"),
    "negative": (torch.full((4, 1, 4, 4), -1), "4 levels"),
}


@each_images
@pytest.mark.parametrize("wrong", WRONG_IMAGES.values(), ids=WRONG_IMAGES)
def test_images_that_are_none(name: str, wrong: tuple[Any, str]) -> None:
    x, words = wrong
    model = image_model(name)
    for call in (model, model.encode, lambda x, c: bits_per_dim(model, x, c)):
        with pytest.raises(glowkit.GlowkitError, match=words):
            call(x, context_of(name))


@each_images
def test_a_batch_of_one_image(name: str) -> None:
    model, context = image_model(name), context_of(name, 1)
    noises, log_p = model.encode(images(1), context, glowkit.MIDPOINT)
    assert log_p.shape == (1,)
    back, log_p = model.decode(noises, context)
    assert log_p.shape == (1,)
    assert torch.equal(back, images(1))
    assert bits_per_dim(model, images(1), context).shape == (1,)


@each_points
def test_a_batch_of_one_point(name: str) -> None:
    model, x = points_model(name), torch.randn(1, 2)
    noises, log_p = model.encode(x)
    assert log_p.shape == (1,)
    assert torch.allclose(model.decode(noises)[0], x, atol=1e-4)


def test_an_empty_batch_is_refused() -> None:
    pictures, points = image_model("glow"), points_model("mixture-points")
    for call in (
        lambda: pictures.log_prob(images(0)),
        lambda: pictures.decode([noise[:0] for noise in pictures.draw_noises(1)]),
        lambda: points.log_prob(torch.zeros(0, 2)),
        lambda: points.decode([torch.zeros(0, 2)]),
        lambda: StandardNormal((2,)).log_prob(torch.zeros(0, 2)),
    ):
        with pytest.raises(glowkit.GlowkitError, match="empty"):
            call()


@each_points
def test_a_model_in_float64_takes_float64(name: str) -> None:
    model, x = points_model(name).double(), torch.randn(4, 2, dtype=torch.float64)
    assert model(x).dtype == torch.float64
    with pytest.raises(glowkit.GlowkitError, match="computes in float64 and got float32"):
        model(x.float())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_model_in_half_precision_says_that_it_is_not_exact(dtype: torch.dtype) -> None:
    points, pictures = points_model("glow-points").to(dtype), image_model("glow").to(dtype)
    for call in (
        lambda: points.log_prob(torch.zeros(4, 2, dtype=dtype)),
        lambda: points.sample(2),
        lambda: pictures.log_prob(images()),
        lambda: pictures.sample(2),
    ):
        with pytest.raises(glowkit.GlowkitError, match="would not be exact"):
            call()


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "4", None, (2, 2), torch.zeros(2)], ids=str)
def test_counts_of_samples(n: Any) -> None:
    for model in (points_model("glow-points"), image_model("glow"), StandardNormal((2,))):
        with pytest.raises(glowkit.GlowkitError, match="whole number"):
            model.sample(n)


@pytest.mark.parametrize(
    "temperature",
    [-1.0, torch.nan, torch.inf, "1", None, (0.5, 0.7), torch.ones(3), torch.ones(2, 2), True],
    ids=str,
)
def test_temperatures(temperature: Any) -> None:
    for model in (points_model("glow-points"), image_model("glow")):
        with pytest.raises(glowkit.GlowkitError, match="temperature"):
            model.sample(4, temperature=temperature)


def test_counts_and_temperatures_of_numpy() -> None:
    assert image_model("glow").sample(np.int64(2), temperature=np.float32(0.5)).shape[0] == 2


def test_a_seed_is_no_generator() -> None:
    model = image_model("glow")
    for call in (
        lambda: model.sample(2, generator=0),
        lambda: model.log_prob(images(), None, 0),
        lambda: glowkit.initialize(build(IMAGES["glow"]), images(), None, 0),
    ):
        with pytest.raises(glowkit.GlowkitError, match=r"torch\.Generator"):
            call()


def _wrong_noises(noises: list[Tensor]) -> dict[str, Any]:
    first, *rest = noises
    return {
        "a tensor": first,
        "too many": [*noises, first],
        "none": [],
        "numpy": [noise.numpy() for noise in noises],
        "flat": [first.flatten(1)[:, 1:], *rest],
        "doubled": [first.double(), *rest],
        "integers": [first.long(), *rest],
        "an iterator": iter(noises),
    }


@pytest.mark.parametrize("name", ["glow", "nice", "realnvp", "glow-points", "nice-points"])
@pytest.mark.parametrize("kind", _wrong_noises([torch.zeros(1, 2)]))
def test_noises_that_are_none(name: str, kind: str) -> None:
    points = name in POINTS
    model = points_model(name) if points else image_model(name)
    with torch.no_grad():
        noises, _ = model.encode(torch.randn(4, 2) if points else images())
    with pytest.raises(glowkit.GlowkitError, match="noise"):
        model.decode(_wrong_noises(noises)[kind])


def test_noises_of_batches_that_differ() -> None:
    model = build(glowkit.GlowConfig((1, 4, 4), levels=2, steps=1, width=4))
    first, second = model.draw_noises(4)
    with pytest.raises(glowkit.GlowkitError, match="the same N"):
        model.decode([first, second[:1]])


@pytest.mark.parametrize("prior", [StandardNormal((2,)), StandardLogistic((2,)), Uniform((2,))])
@pytest.mark.parametrize("x", [torch.zeros(1, 3), torch.zeros(2), torch.zeros(1, 1, 2)], ids=str)
def test_a_prior_gives_no_figure_for_another_shape(prior: Density, x: Tensor) -> None:
    with pytest.raises(glowkit.GlowkitError, match=r"\(N, 2\)"):
        prior.log_prob(x)


def test_the_uniform_density_is_zero_outside_of_the_cube() -> None:
    x = torch.tensor([[0.0, 0.5], [1.5, 0.5], [0.5, -torch.inf], [0.5, torch.nan]])
    log_p = Uniform((2,)).log_prob(x)
    assert log_p[:3].tolist() == [0.0, -torch.inf, -torch.inf]
    assert log_p[3].isnan()


def test_levels_are_whole_numbers() -> None:
    for levels in (1, True, 2.5, 65537, "8"):
        with pytest.raises(glowkit.GlowkitError, match="2 to 65536"):
            Dequantize(Uniform((1, 2, 2)), StandardNormal((1, 2, 2)), levels)  # type: ignore[arg-type]


@pytest.mark.parametrize("samples", [0, -1, 1.5, True, None], ids=str)
def test_importance_samples_are_whole_numbers(samples: Any) -> None:
    with pytest.raises(glowkit.GlowkitError, match="importance_samples"):
        bits_per_dim(image_model("glow"), images(), importance_samples=samples)


def test_what_is_no_density_is_not_initialised() -> None:
    with pytest.raises(glowkit.GlowkitError, match="takes a density"):
        glowkit.initialize(torch.nn.Linear(1, 1), images())  # type: ignore[arg-type]
    with pytest.raises(glowkit.GlowkitError, match="torch tensor"):
        glowkit.initialize(build(IMAGES["glow"]), images().numpy())  # type: ignore[arg-type]


def test_a_known_shape_is_held_against_a_composition() -> None:
    from glowkit.bijections import Shift

    free, known = (Then(Shift(1.0), StandardNormal((2,)), s) for s in (None, (2,)))
    assert torch.equal(free(torch.zeros(3, 2)), known(torch.zeros(3, 2)))
    with pytest.raises(glowkit.GlowkitError, match="not conditional"):
        known(torch.zeros(3, 2), torch.zeros(3))
