"""Numbers that are not finite: skipped, counted, shown; many in a row end the run."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import tiny_run

from glowkit.models import load
from glowkit.system.errors import GlowkitError
from glowkit.tasks import likelihood
from glowkit.training import loop
from glowkit.training.metrics import read_rows
from glowkit.training.state import Ema, read_checkpoint


def spoil(monkeypatch: pytest.MonkeyPatch, steps: range, factor: float, added: float) -> None:
    """From now on, the loss of these calls is `factor` times itself plus `added`."""
    loss, calls = likelihood.training_loss, iter(range(10**6))

    def spoilt(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        total, bits = loss(*args)
        if next(calls) in steps:
            return total * factor + added, bits * factor + added
        return total, bits

    monkeypatch.setattr(likelihood, "training_loss", spoilt)


@pytest.mark.parametrize(
    ("factor", "added"),
    [(math.nan, 0.0), (1.0, math.inf), (1e38, 0.0)],
    ids=["loss and gradient NaN", "loss infinite, gradient finite", "gradient overflows"],
)
def test_bad_steps_are_skipped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float, added: float
) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 1)
    spoil(monkeypatch, range(7, 10), factor, added)
    result = tiny_run(tmp_path / "run", epochs=3)
    assert (result.step, result.skipped_steps) == (18, 3)
    rows = read_rows(tmp_path / "run" / "metrics.csv")
    assert [row["skipped_steps"] for row in rows[6:12]] == ["0", "1", "2", "3", "3", "3"]
    bad = [int(row["step"]) for row in rows if not math.isfinite(float(row["gradient_norm"]))]
    assert bad == [8, 9, 10]  # seen, not smoothed over
    for tensor in load(tmp_path / "run" / "model").state_dict().values():
        assert torch.isfinite(tensor.double()).all()


def test_skipped_step_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_run(tmp_path / "short", epochs=1)
    good = read_checkpoint(tmp_path / "short" / "checkpoints" / "last.ckpt")
    spoil(monkeypatch, range(6), math.nan, 0.0)
    tiny_run(tmp_path / "short", resume=True, epochs=2)
    # Nothing but skipped steps: the last checkpoint is still the one from before them.
    kept = read_checkpoint(tmp_path / "short" / "checkpoints" / "last.ckpt")
    assert kept.state.step == good.state.step
    for name, tensor in good.model.items():
        assert torch.equal(tensor, kept.model[name])


def test_many_in_a_row_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, range(8, 1000), math.nan, 0.0)
    with pytest.raises(GlowkitError, match=r"50 steps in a row, up to step 58.*--learning-rate"):
        tiny_run(tmp_path / "run", epochs=20)
    # The model of the only good evaluation, and the checkpoint before the bad steps.
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt").state.step == 6
    weights = load(tmp_path / "run" / "model").state_dict().values()
    assert all(torch.isfinite(tensor.double()).all() for tensor in weights)


def test_no_finite_evaluation_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bits = likelihood.bits_per_dim

    def bad(*args: Any) -> torch.Tensor:
        return bits(*args) if torch.is_grad_enabled() else bits(*args) * math.nan

    monkeypatch.setattr(likelihood, "bits_per_dim", bad)
    with pytest.raises(GlowkitError, match="no evaluation gave finite bits/dim"):
        tiny_run(tmp_path / "run", epochs=1)
    assert read_rows(tmp_path / "run" / "metrics.csv")[-1]["validation_bits_per_dim"] == "nan"


FIRST_WEIGHT = "density.density.bijection.bijections.1.bijections.0.bijections.1.net.first.weight"


def poison(monkeypatch: pytest.MonkeyPatch, update: int, value: float, average: bool) -> None:
    """After this update of the averages, one number of a conditioner's first layer is `value`."""
    usual = Ema.update

    def poisoned(ema: Ema) -> None:
        usual(ema)
        if ema.updates == update:
            model = ema.model if average else ema._followed
            with torch.no_grad():
                model.get_parameter(FIRST_WEIGHT).view(-1)[0] = value

    monkeypatch.setattr(Ema, "update", poisoned)


@pytest.mark.parametrize("average", [True, False], ids=["average", "weights"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_never_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, average: bool
) -> None:
    """Even where the likelihood hides them, as a ReLU of NaN may, and says the best figure yet."""
    monkeypatch.setattr(loop, "SAVE_EVERY_SECONDS", 0.0)
    bits = likelihood.bits_per_dim
    figures = iter([3.0, 1.0])

    def hiding(*args: Any) -> torch.Tensor:
        return bits(*args).nan_to_num() * 0 + next(figures)

    monkeypatch.setattr(likelihood, "bits_per_dim", hiding)
    monkeypatch.setattr(loop, "draw_samples", lambda run: None)  # which asks for bits/dim too
    monkeypatch.setattr(loop, "validation_batches", one_batch(loop.validation_batches))
    poison(monkeypatch, 8, value, average)
    named = FIRST_WEIGHT.replace(".", r"\.")
    with pytest.raises(GlowkitError, match=rf"at step 8 weights are not finite.*{named}"):
        tiny_run(tmp_path / "run", epochs=3)
    kept = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert kept.state.step == 7
    assert kept.state.best_figure == 3.0
    for state in (kept.model, kept.ema, load(tmp_path / "run" / "model").state_dict()):
        assert all(torch.as_tensor(tensor).isfinite().all() for tensor in state.values())


def one_batch(batches: Any) -> Any:
    """The evaluation with the whole split as one batch."""

    def whole(split: Any, prepare: Any, batch_size: int, *others: Any) -> Any:
        return batches(split, prepare, len(split), *others)

    return whole


@pytest.mark.parametrize("value", [-math.inf, math.inf, math.nan])
def test_a_figure_that_is_not_finite_is_never_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """Fewer bits/dim than any is what a log p of +∞ gives."""
    bits = likelihood.bits_per_dim

    def bad(*args: Any) -> torch.Tensor:
        return torch.full_like(bits(*args), value)

    monkeypatch.setattr(likelihood, "bits_per_dim", bad)
    with pytest.raises(GlowkitError, match="no evaluation gave finite bits/dim"):
        tiny_run(tmp_path / "run", epochs=2)
    assert not (tmp_path / "run" / "model").exists()


def test_a_checkpoint_of_weights_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    tiny_run(tmp_path / "run", epochs=1)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["ema"][FIRST_WEIGHT].view(-1)[0] = math.nan
    torch.save(content, path)
    with pytest.raises(
        GlowkitError, match=rf"last\.ckpt holds .* not finite, {FIRST_WEIGHT} among"
    ):
        tiny_run(tmp_path / "run", resume=True, epochs=2)
