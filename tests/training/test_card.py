"""The model card: its code runs, and no folder of this machine is in it."""

import re
from typing import Any

import pytest
import torch

import glowkit
from glowkit import GlowConfig, GlowkitError
from glowkit.pictures.lossy import curve_image
from glowkit.tasks.lossy import check_lossy
from glowkit.training.card import model_card, public
from glowkit.training.objective import objective_of

SMALL: dict[str, Any] = {"levels": 1, "steps": 1, "width": 4}


@pytest.mark.parametrize("given", [{}, {"classes": 3}, {"context_features": 2}])
def test_its_code_runs(given: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = glowkit.build(GlowConfig((1, 4, 4), **SMALL, **given)).eval()
    images = torch.arange(256, dtype=torch.uint8).view(16, 1, 4, 4)
    context = torch.arange(16) % 3 if model.classes else torch.randn(16, 2)
    glowkit.initialize(model, images, context if given else None)
    card = model_card("digits", model, objective_of(model))
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.setattr(glowkit, "load", lambda address: model)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["samples"].shape == (16, 1, 4, 4)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("runs/secret/cats/", "cats"),
        ("/home/me/my:dir/cats", "cats"),
        ("../a.npz:images", "a.npz:images"),
        ("table:power:/home/me/data/", "table:power:data"),
        ("emoji:~/fonts/Noto.ttf", "emoji:Noto.ttf"),
        ("hf:/home/me/cats", "hf:cats"),
        ("hf:someone/cats:small", "hf:someone/cats:small"),
        ("points:moons", "points:moons"),
        (".", "data"),
    ],
)
def test_it_names_the_last_part_of_a_path_alone(spec: str, said: str) -> None:
    assert public(spec) == said


def test_an_autoregressive_model_cannot_code_with_loss_for_its_true_reason() -> None:
    with pytest.raises(GlowkitError, match="has no latents"):
        check_lossy(glowkit.build("ar-tiny"))


def test_a_line_without_errors_is_left_out_of_the_curve() -> None:
    assert curve_image({"glowkit": [(1.0, float("inf"), 4.0, 3.5)]}, {})[1:4] == b"PNG"
