"""What a page computes by itself is what PyTorch computes; run by Node, and refused by name."""

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from glowkit import Density, GlowConfig, GlowkitError, RealNVPConfig, build, frozen, initialize
from glowkit.app import export
from glowkit.app.export import program_of
from glowkit.core.noise import Handed
from glowkit.tasks import join

NODE = shutil.which("node") or shutil.which("nodejs")
SCRIPT = """
const { makeAnswers } = require(process.argv[1]);
const given = JSON.parse(require("fs").readFileSync(0));
const answers = makeAnswers(given.about, Float32Array.from(given.numbers), new Float32Array(0));
const each = run => given.labels.map(run);
process.stdout.write(JSON.stringify({
  v: each((label, i) => answers.decode({ latents: given.latents[i], label }).v),
  log_p: each((label, i) => answers.logProb({ image: given.images[i], u: given.u[i], label }).logP),
  again: each((label, i) => answers.edit({ image: given.images[i], label, amounts: [] }).image),
}));
"""
MODELS: dict[str, dict[str, Any]] = {
    "affine": {},
    "narrow": {"last_kernel": 1, "permutation": "conv1x1-plain"},
    "mixture": {"coupling": "mixture"},
    "classes": {"coupling": "additive", "classes": 3},
    "logit": {"coupling": "tanh-affine", "preprocessing": "logit"},
    "second half": {"permutation": "shuffle", "kept_half": "second", "learn_top": False},
}


def model_of(channels: int = 3, **settings: Any) -> Density:
    """Not square, and far from what it starts as."""
    torch.manual_seed(0)
    config = GlowConfig((channels, 4, 8), levels=2, steps=2, width=7, pixel_levels=32, **settings)
    model = build(config)
    images = torch.randint(0, 32, (32, channels, 4, 8), dtype=torch.uint8)
    initialize(model, images, torch.arange(32) % config.classes if config.classes else None)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return model


@pytest.mark.skipif(NODE is None, reason="there is no Node on this machine")
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_numbers_are_those_of_pytorch(name: str) -> None:
    model = model_of(**MODELS[name])
    about, numbers = program_of(model)
    labels = torch.arange(3) if model.classes else None
    with frozen(model):
        noises = model.draw_noises(3, 0.8)
        v, _ = model.density.decode(noises, labels)  # type: ignore[operator, union-attr]
        images, _ = model.decode(noises, labels)
        draw = torch.randn(images.shape)
        log_p = model.log_prob(images, labels, Handed(iter([draw])))
    given = {
        "about": about,
        "numbers": numbers.tolist(),
        "labels": [0] * 3 if labels is None else labels.tolist(),
        "latents": join(noises).tolist(),
        "images": images.flatten(1).tolist(),
        "u": torch.special.ndtr(draw).flatten(1).tolist(),
    }
    command = [str(NODE), "-e", SCRIPT, str(Path(export.__file__).with_name("glow.js"))]
    run = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert v.isfinite().all()
    assert (torch.tensor(found["v"]) - v.flatten(1)).abs().max() * 32 < 1e-3
    nats = (torch.tensor(found["log_p"], dtype=torch.float64) - log_p).abs() / v[0].numel()
    assert nats.max() < 1e-4
    assert found["again"] == images.flatten(1).tolist()


STREAMS = """
const { uniforms, dequantization } = require(process.argv[1]);
const draws = [0, 1, 2, 3].map(dequantization);
const samples = Array.from({ length: 12 }, (_, number) => uniforms(0, number));
const drawn = [...draws, ...samples].map(next => Array.from({ length: 4096 }, next));
process.stdout.write(JSON.stringify(drawn));
"""


@pytest.mark.skipif(NODE is None, reason="there is no Node on this machine")
def test_noise_under_a_figure_is_not_that_of_a_sample() -> None:
    command = [str(NODE), "-e", STREAMS, str(Path(export.__file__).with_name("glow.js"))]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    streams = torch.tensor(json.loads(run.stdout), dtype=torch.float64)
    assert streams.shape == (16, 4096)
    apart = torch.corrcoef(streams) - torch.eye(16)
    assert apart.abs().max() < 0.08  # five standard errors
    # A normal number of a sample takes two: at equal lags there must be nothing in common either.
    halves = torch.cat([streams[:4, :2048], streams[4:, 0::2], streams[4:, 1::2]])
    assert (torch.corrcoef(halves) - torch.eye(28)).abs().max() < 0.11


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "noise": ({"dequantization": "variational"}, "dequantization is not uniform"),
    "classes": ({"classes": 2, "conditioning": "everywhere"}, "classes condition every layer"),
    "spline": ({"coupling": "spline"}, "couplings are RationalQuadraticSpline"),
    "entry": ({"entry": "preactivation"}, "conditioners are not Glow's"),
    "channels": ({"augmented_channels": 1}, "it has a Augmented"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_models_are_refused_with_the_reason(name: str) -> None:
    settings, reason = REFUSED[name]
    with pytest.raises(GlowkitError, match=f"cannot be a page of its own: .*{reason}"):
        program_of(model_of(**settings))


def test_other_families_colours_and_sizes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GlowkitError, match="not of 1 or 3 channels"):
        program_of(model_of(2))
    with pytest.raises(GlowkitError, match="cannot be a page of its own: it has a"):
        program_of(build(RealNVPConfig((1, 8, 8), blocks=1, width=4)))
    monkeypatch.setattr(export, "MOST_NUMBERS", 100)
    with pytest.raises(GlowkitError, match=r"numbers are more than the 100 of a page"):
        program_of(model_of())


def test_weights_that_are_no_numbers_are_refused() -> None:
    model = model_of()
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(GlowkitError, match="some of its weights are not finite"):
        program_of(model)
