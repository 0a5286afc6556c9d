"""A run's damaged files: refused in a sentence, or read as if nothing had happened to them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glowkit import GlowConfig, GlowkitError, build
from glowkit.training import TrainConfig
from glowkit.training.config import make_optimizer
from glowkit.training.run import RunFolder, read_run, write_settings
from glowkit.training.state import (
    Checkpoint,
    Ema,
    RunState,
    fit_optimizer,
    read_checkpoint,
    write_checkpoint,
)

MODEL = GlowConfig((1, 4, 4), levels=1, steps=1, width=4, pixel_levels=8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model = build(MODEL)
    optimizer = make_optimizer("adamw", model, 1e-3, 0.0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    states = (model.state_dict(), Ema(model, 0.9).state_dict(), optimizer.state_dict())
    path = RunFolder(tmp_path).checkpoint
    write_checkpoint(path, Checkpoint(RunState(step=7), 100, *states))
    return path


def flat(value: Any) -> Any:
    """With tensors as their bytes, which can be compared."""
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes(), value.dtype, value.shape
    if isinstance(value, dict):
        return {name: flat(inner) for name, inner in value.items()}
    return list(map(flat, value)) if isinstance(value, list) else value


def test_a_flipped_bit_changes_nothing_or_is_seen(path: Path) -> None:
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    before = flat(vars(read_checkpoint(path)))
    seen = []
    for place in generator.integers(0, len(whole), 60).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        try:
            assert flat(vars(read_checkpoint(path))) == before
        except GlowkitError as error:
            seen.append(str(error))
    assert len(seen) > 30
    assert all("best model so far" in sentence for sentence in seen)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1"},
        {"version": None},
        {"images": 2.5},
        {"state": []},
        {"state": {}},
        {"state": {"step": -1}},
        {"state": {"step": "7"}},
        {"state": {"step": True}},
        {"state": {"step": 7, "elapsed": float("nan")}},
        {"model": 3},
        {"model": {"a": "b"}},
        {"model": {3: torch.zeros(1)}},
        {"model": {"a": torch.zeros(1).expand(10**12)}},
        {"model": {"a": torch.zeros(3).to_sparse()}},
        {"ema": {"ema updates": [0]}},
        {"optimizer": {}},
        {"optimizer": {"state": {}, "param_groups": 3}},
        {"optimizer": {"state": {"0": {}}, "param_groups": []}},
        {"optimizer": {"state": {0: {"exp_avg": torch.tensor(torch.nan)}}, "param_groups": []}},
    ],
)
def test_wrong_contents_are_damage(path: Path, change: dict[str, Any]) -> None:
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(GlowkitError, match=r"last\.ckpt is damaged.*best model so far"):
        read_checkpoint(path)


@pytest.mark.parametrize("change", ["shape", "place", "rate", "group", "parameters"])
def test_a_state_of_another_optimizer_is_damage(path: Path, change: str) -> None:
    held = read_checkpoint(path).optimizer
    match change:
        case "shape":
            held["state"][0]["exp_avg"] = torch.zeros(5)
        case "place":
            held["state"][10**9] = held["state"].pop(0)
        case "rate":
            held["param_groups"][0]["lr"] = float("inf")
        case "group":
            held["param_groups"] = []
        case "parameters":
            held["param_groups"][0]["params"].append(99)
    optimizer = make_optimizer("adamw", build(MODEL), 1e-3, 0.0)
    with pytest.raises(GlowkitError, match="damaged"):
        fit_optimizer(optimizer, held, path)


def test_the_optimizer_itself_follows_from_the_config(path: Path) -> None:
    held = read_checkpoint(path).optimizer
    held["param_groups"][0] |= {"differentiable": True, "lr": 0.5, "of another torch": 1}
    optimizer = make_optimizer("adamw", build(MODEL), 1e-3, 0.0)
    fit_optimizer(optimizer, held, path)
    group = optimizer.param_groups[0]
    assert (group["differentiable"], group["lr"], "of another torch" in group) == (False, 0.5, 0)
    assert torch.equal(optimizer.state_dict()["state"][0]["exp_avg"], held["state"][0]["exp_avg"])


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12)
)

SETTINGS = {
    "a tag": ("spec: digits", "spec: !!python/object/apply:os.getcwd []", "YAML"),
    "binary": ("spec: digits", "spec: !!binary aGk=", "bytes"),
    "a date": ("spec: digits", "spec: 2020-01-01", "date"),
    "no date": ("spec: digits", "spec: 2020-13-45", "YAML"),
    "a set": ("spec: digits", "spec: !!set {a, b}", "set"),
    "laughs": ("format: 1", "format: 1\n" + LAUGHS, "more, or nested deeper"),
    "deep": ("spec: digits", "spec: " + "[" * 100_000, "nested too deep"),
    "quite deep": ("spec: digits", "spec: " + "[" * 50 + "]" * 50, "nested deeper"),
    "itself": ("spec: digits", "spec: &a [*a]", "nested deeper"),
    "twice": ("format: 1", "format: 1\nformat: 1", "given twice"),
    "digits": ("steps: 1", "steps: " + "9" * 5000, "YAML"),
    "large": ("steps: 1", "steps: 1000000000000", "at most"),
    "an exponent": ("learning_rate: 0.001", "learning_rate: 1e-3", r"1\.0e-3"),
    "infinity": ("learning_rate: 0.001", "learning_rate: .inf", "more than 0"),
    "a truth": ("batch_size: 64", "batch_size: true", "wrong type"),
    "a list": ("optimizer: adamw", "optimizer: [adamw]", "wrong type"),
    "a size": ("spec: digits", "spec: digits\n  size: x", "size of section 'data' is 'x'"),
    "data": ("spec: digits", "spec: 3", "spec of section 'data' is 3"),
    "bytes": ("spec: digits", "spec: \udcff", "UTF-8"),
    "a null": ("spec: digits", "spec: \0", "YAML"),
    "huge": ("spec: digits", "spec: " + "x" * 2_000_000, "bytes"),
    "format": ("format: 1", "format: true", "names no format"),
    "names": ("format: 1", "format: 1\nclass_names: {a: b}", "class_names"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_are_none(tmp_path: Path, case: str) -> None:
    before, after, words = SETTINGS[case]
    write_settings(tmp_path, {"spec": "digits"}, MODEL, TrainConfig(epochs=3))
    path = tmp_path / "config.yaml"
    text = path.read_text()
    assert before in text
    path.write_bytes(text.replace(before, after, 1).encode(errors="surrogateescape"))
    with pytest.raises(GlowkitError, match=words) as error:
        read_run(tmp_path)
    assert len(str(error.value)) < 1000
    assert "\n" not in str(error.value)
