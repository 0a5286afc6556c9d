"""What cannot be imported is refused in a sentence that names it."""

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import glowkit
from glowkit.models.importers import FORMATS, import_model
from models.importers.plain import Draw
from models.importers.test_likelihood import LAYOUTS, write

STEP = {
    "y0ast": "flow.layers.2",
    "openai": "model/0/1",
    "rosinality": "module.blocks.0.flows.1",
    "chrischute": "module.flows.next.steps.1",
}
# A tensor of a middle step, by its last part, for each format.
BIAS = {
    "y0ast": ".actnorm.bias",
    "openai": "/actnorm_center/b",
    "rosinality": ".actnorm.loc",
    "chrischute": ".norm.bias",
}


def refused(path: Path, format: str, words: str, size: int | None = 8) -> None:
    with pytest.raises(glowkit.GlowkitError, match=words) as caught:
        import_model(path, format, size=size)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
def test_every_single_missing_tensor_is_named(tmp_path: Path, format: str) -> None:
    tensors = LAYOUTS[format].checkpoint()
    step = [name for name in tensors if name.startswith(STEP[format])]
    step = [name for name in step if not name.endswith("ExponentialMovingAverage")]
    assert len(step) > 8
    for name in step:
        rest = {other: t for other, t in tensors.items() if other != name}
        path = write(tmp_path / "checkpoint", format, rest)
        refused(path, format, f"lacks the tensor {name.removeprefix('module.')}")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("suffix", "change", "words"),
    [
        ("2", lambda t: t, "cannot be imported"),
        ("", lambda t: t.flatten()[:3], "has shape"),
        ("", lambda t: t * float("nan"), "holds NaN"),
    ],
    ids=["extra", "shape", "nan"],
)
def test_a_wrong_tensor_is_named(
    tmp_path: Path,
    format: str,
    suffix: str,
    change: Callable[[torch.Tensor], torch.Tensor],
    words: str,
) -> None:
    tensors = LAYOUTS[format].checkpoint()
    name = STEP[format] + BIAS[format]
    tensors[name + suffix] = change(tensors[name])
    path = write(tmp_path / "checkpoint", format, tensors)
    refused(path, format, name.removeprefix("module.") + suffix)
    refused(path, format, words)


def test_many_extra_tensors_are_counted(tmp_path: Path) -> None:
    tensors = LAYOUTS["y0ast"].checkpoint()
    tensors |= {f"extra.{i}": torch.zeros(1) for i in range(8)}
    path = write(tmp_path / "checkpoint", "y0ast", tensors)
    refused(path, "y0ast", r"extra\.0, .*extra\.4 and 3 more")


@pytest.mark.parametrize(
    ("given", "asked", "words"),
    [
        ("y0ast", "rosinality", "it looks like y0ast"),
        ("rosinality", "y0ast", "it looks like rosinality"),
        ("openai", "y0ast", "not a PyTorch file"),
        ("y0ast", "openai", "not an .npz"),
        ("y0ast", "chrischute", "it looks like y0ast"),
        ("chrischute", "rosinality", "which are not tensors"),
        ("y0ast", "tensorflow", "choose one of y0ast, openai, rosinality, chrischute"),
    ],
)
def test_a_file_of_another_format(tmp_path: Path, given: str, asked: str, words: str) -> None:
    path = write(tmp_path / "checkpoint", given, LAYOUTS[given].checkpoint())
    refused(path, asked, words)


@pytest.mark.parametrize(
    ("format", "name", "value", "words"),
    [
        ("rosinality", ".actnorm.initialized", torch.tensor(0), "never initialized"),
        ("rosinality", ".actnorm.scale", torch.zeros(1, 12, 1, 1), "holds a 0"),
        ("rosinality", ".invconv.u_mask", torch.ones(12, 12), "u_mask"),
        ("rosinality", ".invconv.w_p", torch.ones(12, 12), "without a permutation"),
        ("y0ast", ".invconv.sign_s", torch.zeros(12), "neither 1 nor -1"),
        ("chrischute", ".norm.is_initialized", torch.zeros(1), "never initialized"),
        ("chrischute", ".coup.nn.in_norm.running_var", -torch.ones(12), "running_var is negative"),
    ],
)
def test_a_value_that_cannot_be(
    tmp_path: Path, format: str, name: str, value: torch.Tensor, words: str
) -> None:
    tensors = LAYOUTS[format].checkpoint() | {STEP[format] + name: value}
    refused(write(tmp_path / "checkpoint", format, tensors), format, words)


def test_indices_that_are_no_permutation(tmp_path: Path) -> None:
    tensors = LAYOUTS["openai"].checkpoint(permutation="shuffle")
    tensors["model/0/1/shuffle/indices"][0] = tensors["model/0/1/shuffle/indices"][1]
    refused(write(tmp_path / "checkpoint", "openai", tensors), "openai", "no permutation")


def test_a_y0ast_model_without_1x1_convolutions(tmp_path: Path) -> None:
    tensors = {n: t for n, t in LAYOUTS["y0ast"].checkpoint().items() if "invconv" not in n}
    refused(write(tmp_path / "checkpoint", "y0ast", tensors), "y0ast", "does not save what order")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file(tmp_path: Path, format: str, kept: float) -> None:
    path = write(tmp_path / "checkpoint", format, LAYOUTS[format].checkpoint())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    refused(path, format, "truncated")


class Code:
    """Unpickling this runs a command."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.touched}",)


@pytest.mark.parametrize("kind", ["torch", "legacy", "pickle", "object array"])
def test_code_in_a_file_does_not_run(tmp_path: Path, kind: str) -> None:
    path, touched = tmp_path / "checkpoint", tmp_path / "touched"
    held = {"flow.layers.1.actnorm.bias": Code(touched)}
    with open(path, "wb") as file:
        if kind == "pickle":
            pickle.dump(held, file)
        elif kind == "object array":
            np.savez(file, a=np.array([Code(touched)], dtype=object))
        else:
            torch.save(held, file, _use_new_zipfile_serialization=kind == "torch")
    for format in FORMATS:
        refused(path, format, "code|truncated, damaged")
    assert not touched.exists()


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (torch.zeros(3), "no state dict"),
        ({}, "no state dict"),
        ({"epoch": 3, "model": {}}, "epoch, model"),
    ],
)
def test_a_torch_file_that_is_no_state_dict(tmp_path: Path, held: object, words: str) -> None:
    torch.save(held, tmp_path / "checkpoint")
    refused(tmp_path / "checkpoint", "y0ast", words)


def test_text_in_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", name=np.array(["glow"]))
    refused(tmp_path / "x.npz", "openai", "name is not an array of numbers")


@pytest.mark.parametrize("format", FORMATS)
def test_no_such_file(tmp_path: Path, format: str) -> None:
    refused(tmp_path / "nothing", format, "no such file")
    refused(tmp_path, format, "no such file")


def test_a_chrischute_model_of_other_bounds(tmp_path: Path) -> None:
    tensors = LAYOUTS["chrischute"].checkpoint() | {"module.bounds": torch.tensor([0.95])}
    path = write(tmp_path / "checkpoint", "chrischute", tensors)
    refused(path, "chrischute", "bounds is 0.95, where this format has 0.9")


def test_a_chrischute_state_dict_alone(tmp_path: Path) -> None:
    tensors = LAYOUTS["chrischute"].checkpoint()
    torch.save(tensors, tmp_path / "net.pt")
    images = Draw(1).images((3, 8, 8), 256)
    found = import_model(tmp_path / "net.pt", "chrischute", size=8)
    expected = import_model(write(tmp_path / "a", "chrischute", tensors), "chrischute", size=8)
    assert torch.equal(*(m.log_prob(images, None, glowkit.MIDPOINT) for m in (found, expected)))


@pytest.mark.parametrize("format", ["openai", "rosinality", "chrischute"])
def test_a_missing_or_impossible_size(tmp_path: Path, format: str) -> None:
    path = write(tmp_path / "checkpoint", format, LAYOUTS[format].checkpoint())
    refused(path, format, "--size", size=None)
    refused(path, format, "8 or 12", size=10)
    refused(path, format, "image_shape", size=0)


def test_a_size_against_the_files(tmp_path: Path) -> None:
    path = write(tmp_path / "checkpoint", "y0ast", LAYOUTS["y0ast"].checkpoint())
    assert import_model(path, "y0ast").config.image_shape == (3, 8, 8)
    refused(path, "y0ast", "8x8 pixels, not 16x16", size=16)


def test_a_tensorflow_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a stand-in for TensorFlow with the calls that docs/importing.md uses."""
    tensors = LAYOUTS["openai"].checkpoint()
    arrays = {name: t.numpy() for name, t in tensors.items()}
    (tmp_path / "model.ckpt.index").touch()
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    refused(tmp_path / "model.ckpt", "openai", "TensorFlow is not installed")

    reader = SimpleNamespace(
        get_variable_to_shape_map=lambda: {name: a.shape for name, a in arrays.items()},
        get_tensor=arrays.__getitem__,
    )
    stand_in = SimpleNamespace(train=SimpleNamespace(load_checkpoint=lambda path: reader))
    monkeypatch.setitem(sys.modules, "tensorflow", stand_in)
    images = Draw(1).images((3, 8, 8), 256)
    found = import_model(tmp_path / "model.ckpt", "openai", size=8)
    expected = import_model(write(tmp_path / "x.npz", "openai", tensors), "openai", size=8)
    assert torch.equal(*(m.log_prob(images, None, glowkit.MIDPOINT) for m in (found, expected)))
