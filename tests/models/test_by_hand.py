"""Densities made by hand: trained in place, saved, loaded and evaluated without a config."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_data import CONFIG, SHAPE, batches, images, points
from torch import Tensor

import glowkit
from glowkit import Chain, Density, Dequantize, GlowkitError, Then
from glowkit.bijections import Actnorm, Affine, Conv1x1, Coupling, LUMatrix
from glowkit.core.noise import NoiseSpec
from glowkit.densities import StandardNormal, TopPrior, Uniform, WithLabels
from glowkit.models import build
from glowkit.nets import MLP, ZeroLinear
from glowkit.tasks import bits_per_dim, classify, evaluate, evaluate_points
from glowkit.training import preparation, read_run, train


def by_hand(levels: int = 8, classes: int = 0) -> Dequantize:
    """A density of the images above that no config describes."""
    prior = TopPrior(SHAPE, None, ZeroLinear(classes, 2)) if classes else StandardNormal(SHAPE)
    flow: Density = Then(Chain([Actnorm(1), Conv1x1(LUMatrix(1))]), prior, SHAPE)
    flow = WithLabels(classes, flow) if classes else flow
    return Dequantize(Uniform(SHAPE), flow, levels)


def test_a_density_made_by_hand_is_trained_in_place_saved_and_loaded(tmp_path: Path) -> None:
    model = by_hand()
    result = train(images(), model, CONFIG, tmp_path / "run", quiet=True)
    assert 0 < result.best_figure < 4
    assert read_run(tmp_path / "run").model is None
    assert list((tmp_path / "run" / "samples").glob("*.png"))
    with pytest.raises(GlowkitError, match=r"made by hand.*glowkit\.load\(folder, into=density\)"):
        glowkit.load(tmp_path / "run")
    best = glowkit.load(tmp_path / "run", into=by_hand())
    found = evaluate(best, batches(images(), best))
    assert (found.images, found.levels, found.largest_pixel_error) == (21, 8, 0)
    assert bits_per_dim(best, batches(images(), best)[0][0]).shape == (21,)
    copy = glowkit.load(glowkit.save(model, tmp_path / "copy"), into=by_hand())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, copy.state_dict()[name])
    longer = replace(CONFIG, epochs=3)
    again = train(images(), by_hand(), longer, tmp_path / "run", resume=True, quiet=True)
    assert again.step == 18


def test_damage_to_the_weights_of_a_density_made_by_hand_is_seen(tmp_path: Path) -> None:
    model = by_hand()
    glowkit.initialize(model, batches(images(), model)[0][0])
    path = glowkit.save(model, tmp_path) / "model.safetensors"
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(GlowkitError, match="damaged: it holds other weights"):
        glowkit.load(tmp_path, into=by_hand())


def test_weights_go_into_a_density_that_they_fit(tmp_path: Path) -> None:
    glowkit.save(by_hand(), tmp_path)
    with pytest.raises(GlowkitError, match="do not fit the density given"):
        glowkit.load(tmp_path, into=StandardNormal((2,)))
    config = glowkit.NICEConfig(SHAPE, width=4, depth=1, pixel_levels=8)
    folder = glowkit.save(build(config), tmp_path / "built")
    into = build(config)
    assert glowkit.load(folder, into=into) is into


def test_a_density_with_classes_says_so(tmp_path: Path) -> None:
    model = by_hand(classes=3)
    assert (model.classes, model.levels, model.shape) == (3, 8, SHAPE)
    with pytest.raises(GlowkitError, match="have no labels"):
        batches(images(), model)
    train(images(labels=True), model, CONFIG, tmp_path / "run", quiet=True)
    assert read_run(tmp_path / "run").class_names == ("a", "b", "c")
    assert 0 <= classify(model, batches(images(labels=True), model)).accuracy <= 1


def test_a_density_of_points_made_by_hand(tmp_path: Path) -> None:
    def made() -> Density:
        layers = [Actnorm(2), Coupling(1, MLP(1, 2, width=8), Affine())]
        return Then(Chain(layers), StandardNormal((2,)))

    source, model = points(), made()
    result = train(source, model, CONFIG, tmp_path / "run", quiet=True)
    assert result.best_figure < 10
    best = glowkit.load(tmp_path / "run", into=made())
    known = source.density

    def log_p(x: Tensor) -> Tensor:
        return torch.from_numpy(known.log_prob(x.double().numpy()))

    found = evaluate_points(best, batches(source, best), known.entropy(), log_p)
    assert found.points == 100
    assert found.largest_error < 1e-3
    with pytest.raises(GlowkitError, match="are images, but the model takes points"):
        preparation(images(), best)


def test_a_density_that_does_not_fit_the_data() -> None:
    flow = Then(Actnorm(1), StandardNormal(SHAPE), SHAPE)
    with pytest.raises(GlowkitError, match=r"give it to glowkit\.Dequantize, with levels=8"):
        preparation(images(), flow)
    with pytest.raises(GlowkitError, match="are points in the plane"):
        preparation(points(), by_hand())
    with pytest.raises(GlowkitError, match="are points in the plane"):
        preparation(points(), StandardNormal((3,)))
    wide = Dequantize(Uniform((1, 4, 8)), StandardNormal((1, 4, 8)), 8)
    with pytest.raises(GlowkitError, match=r"takes images of shape 1x4x8 .* are 1x4x4"):
        preparation(images(), wide)


class Mine(Density):
    """A density of images that is of no class of glowkit's, around one that is."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = by_hand()
        self.levels, self.shape = 8, SHAPE

    def encode(self, x: Tensor, context: Any = None, generator: Any = None) -> Any:
        return self.inside.encode(x, context, generator)

    def decode(self, noises: Any, context: Any = None) -> Any:
        return self.inside.decode(noises, context)

    def noise_specs(self) -> list[NoiseSpec]:
        return self.inside.noise_specs()


def test_a_class_of_ones_own_says_what_it_is_of(tmp_path: Path) -> None:
    model = Mine()
    train(images(), model, CONFIG, tmp_path / "run", quiet=True)
    assert evaluate(model.eval(), batches(images(), model)).images == 21


def test_a_model_that_is_trained_goes_on_from_its_weights(tmp_path: Path) -> None:
    config = glowkit.NICEConfig(SHAPE, width=8, depth=1, pixel_levels=8)
    first = train(images(), config, CONFIG, tmp_path / "first", quiet=True)
    model = glowkit.load(tmp_path / "first")
    second = train(images(), model, CONFIG, tmp_path / "second", quiet=True)
    assert second.best_figure < first.best_figure
    assert glowkit.load(tmp_path / "second").config == config
