"""An imported model gives every image the log-likelihood that its original gives it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import glowkit
from glowkit.models.importers import FORMATS, import_model
from models.importers import layout_chrischute, layout_openai, layout_rosinality, layout_y0ast
from models.importers.plain import Draw, Tensors

LAYOUTS: dict[str, Any] = {
    "y0ast": layout_y0ast,
    "openai": layout_openai,
    "rosinality": layout_rosinality,
    "chrischute": layout_chrischute,
}
# Format, what kind of checkpoint, and the permutation that its model has.
CASES = [
    ("y0ast", {}, "conv1x1"),
    ("y0ast", {"lu": False}, "conv1x1-plain"),
    ("y0ast", {"affine": False}, "conv1x1"),
    ("y0ast", {"learn_top": False}, "conv1x1"),
    ("y0ast", {"classes": 4}, "conv1x1"),
    ("y0ast", {"classes": 4, "learn_top": False}, "conv1x1"),
    ("openai", {}, "conv1x1-plain"),
    ("openai", {"permutation": "lu"}, "conv1x1"),
    ("openai", {"permutation": "shuffle"}, "shuffle"),
    ("openai", {"permutation": "reverse"}, "reverse"),
    ("openai", {"affine": False}, "conv1x1-plain"),
    ("openai", {"learn_top": False}, "conv1x1-plain"),
    ("openai", {"classes": 4}, "conv1x1-plain"),
    ("openai", {"classes": 4, "learn_top": False, "classifier": False}, "conv1x1-plain"),
    ("rosinality", {}, "conv1x1"),
    ("rosinality", {"wrapped": False}, "conv1x1"),
    ("rosinality", {"lu": "last"}, "conv1x1-plain"),
    ("rosinality", {"affine": False}, "conv1x1"),
    ("chrischute", {}, "conv1x1-plain"),
    ("chrischute", {"wrapped": False}, "conv1x1-plain"),
]


def write(path: Path, format: str, tensors: Tensors) -> Path:
    if format == "openai":
        with open(path, "wb") as file:
            np.savez(file, **{name: t.numpy() for name, t in tensors.items()})
    elif format == "chrischute":
        torch.save({"net": tensors, "test_loss": 3.5, "epoch": 2}, path)
    else:
        torch.save(tensors, path)
    return path


def test_every_format_is_here() -> None:
    assert set(LAYOUTS) == set(FORMATS)


@pytest.mark.parametrize(("format", "options", "permutation"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_likelihood_is_the_originals(
    tmp_path: Path, format: str, options: dict[str, Any], permutation: str, dtype: torch.dtype
) -> None:
    layout = LAYOUTS[format]
    tensors = {
        name: t.to(dtype) if t.is_floating_point() else t
        for name, t in layout.checkpoint(**options).items()
    }
    path = write(tmp_path / "checkpoint", format, tensors)
    levels = FORMATS[format].pixel_levels
    images = Draw(1).images((3, 8, 8), levels)
    labels = torch.tensor([0, 3, 1]) if options.get("classes") else None
    expected = layout.likelihood(tensors, images, levels, *([labels] if labels is not None else []))

    model = import_model(path, format, size=8, dtype=torch.float64)
    assert model.config.permutation == permutation
    affine = "tanh-affine" if format == "chrischute" else "affine"
    assert model.config.coupling == (affine if options.get("affine", True) else "additive")
    assert (model.config.levels, model.config.steps, model.config.width) == (2, 3, 8)
    found = model.log_prob(images, labels, glowkit.MIDPOINT)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=0)

    # In the file's own type the mapped weights are rounded once more, at most.
    model = import_model(path, format, size=8)
    assert {p.dtype for p in model.parameters()} == {dtype}
    found = model.double().log_prob(images, labels, glowkit.MIDPOINT)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("format", FORMATS)
def test_an_imported_model_is_a_model(tmp_path: Path, format: str) -> None:
    path = write(tmp_path / "checkpoint", format, LAYOUTS[format].checkpoint())
    model = import_model(path, format, pixel_levels=17, size=8)
    again = glowkit.load(glowkit.save(model, tmp_path / "model"))
    images = Draw(1).images((3, 8, 8), 17)
    before, after = (m.log_prob(images, None, glowkit.MIDPOINT) for m in (model, again))
    assert before.dtype == torch.float64
    assert torch.equal(before, after)
    assert torch.equal(glowkit.reconstruct(again, images), images)
    assert glowkit.initialize(again, images) == 0  # trained weights are not initialised again
    assert again.sample(2, temperature=0).max() < 17  # random weights overflow soon


def class_logits(layout: Any, tensors: Tensors, z: Tensor) -> Tensor:
    """The classifier of the top latent, written out."""
    mean = z.mean((2, 3))
    if layout is layout_openai:
        return layout_openai.embed(tensors, "model/classifier", mean)
    at = "project_class"
    weight, bias = tensors[f"{at}.linear.weight"], tensors[f"{at}.linear.bias"]
    return (mean @ weight.T + bias) * torch.exp(3 * tensors[f"{at}.logs"])


@pytest.mark.parametrize("format", ["y0ast", "openai"])
def test_the_classifier_comes_along(tmp_path: Path, format: str) -> None:
    from glowkit.densities import Classified

    tensors = LAYOUTS[format].checkpoint(classes=4, learn_top=False)
    model = import_model(write(tmp_path / "checkpoint", format, tensors), format, size=8)
    assert model.config.classifier_weight == 0.01
    head = next(m for m in model.modules() if isinstance(m, Classified)).head
    z = Draw(2).normal(3, 24, 2, 2)
    expected = class_logits(LAYOUTS[format], tensors, z)
    torch.testing.assert_close(head(z.mean((2, 3))), expected, rtol=1e-12, atol=0)
