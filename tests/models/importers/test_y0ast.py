"""Checkpoints of y0ast/Glow-PyTorch keep their likelihood."""

from pathlib import Path

import pytest
import torch

import glowkit
from glowkit.models.importers import import_model
from models.importers import layout_y0ast as layout
from models.importers.plain import Draw

OPTIONS = [
    {},
    {"lu": False},
    {"affine": False},
    {"learn_top": False},
    {"classes": 4},
    {"classes": 4, "learn_top": False, "affine": False, "lu": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_likelihood_is_the_originals(tmp_path: Path, options: dict, dtype: torch.dtype) -> None:
    tensors = {name: t.to(dtype) for name, t in layout.checkpoint(**options).items()}
    torch.save(tensors, tmp_path / "glow.pt")
    images = Draw(1).images((3, 8, 8), 256)
    labels = torch.tensor([0, 3, 1]) if options.get("classes") else None
    expected = layout.likelihood(tensors, images, 256, labels)

    model = import_model(tmp_path / "glow.pt", "y0ast", dtype=torch.float64)
    found = model.log_prob(images, labels, glowkit.MIDPOINT)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)

    # Kept in the file's own type, every weight is rounded once more at the most.
    model = import_model(tmp_path / "glow.pt", "y0ast")
    assert next(model.parameters()).dtype == dtype
    found = model.double().log_prob(images, labels, glowkit.MIDPOINT)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
