"""The averaged weights are what is evaluated and saved; the raw ones are what is trained."""

import math
from pathlib import Path

import pytest
import torch
from training_runs import MODEL, tiny_run, tiny_source

from glowkit.core.initialization import initialize
from glowkit.models import build, load
from glowkit.nets.fast import PrecisionNet
from glowkit.training.batches import Prepare, validation_batches
from glowkit.training.config import ema_decay_at
from glowkit.training.loop import share_of_figures
from glowkit.training.metrics import read_rows
from glowkit.training.state import Ema, read_checkpoint


def test_average_is_the_recurrence() -> None:
    model = build(MODEL)
    initialize(model, tiny_source().splits["train"].__getitems__(range(50))[0])
    ema = Ema(model, 0.9)
    expected = [p.detach().clone() for p in model.parameters()]
    for step in range(20):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1)
        ema.update()
        d = ema_decay_at(step, 0.9)
        expected = [
            d * e + (1 - d) * p.detach() for e, p in zip(expected, model.parameters(), strict=True)
        ]
    for mine, wanted in zip(ema.model.parameters(), expected, strict=True):
        assert torch.allclose(mine, wanted, atol=1e-6)


def test_average_has_no_stale_caches() -> None:
    model = build(MODEL)
    images = tiny_source().splits["train"].__getitems__(range(50))[0]
    initialize(model, images)
    ema = Ema(model, 0.5)
    generator = torch.Generator()
    ema.model.log_prob(images, None, generator.manual_seed(0))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05)
    ema.update()
    fresh = build(MODEL)
    fresh.load_state_dict(ema.model.state_dict())
    assert torch.equal(
        ema.model.log_prob(images, None, generator.manual_seed(0)),
        fresh.eval().log_prob(images, None, generator.manual_seed(0)),
    )


def test_saved_model_is_the_average_and_gives_the_reported_figure(tmp_path: Path) -> None:
    result = tiny_run(tmp_path / "run")
    checkpoint = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert checkpoint.state.best_step == result.step  # it still improves: best and last agree
    model = load(tmp_path / "run" / "model")
    name = next(n for n, p in model.named_parameters() if p.requires_grad)
    assert torch.equal(model.state_dict()[name], checkpoint.ema[name])
    assert not torch.equal(model.state_dict()[name], checkpoint.model[name])
    split, cpu = tiny_source().splits["validation"], torch.device("cpu")
    total = share_of_figures(model, validation_batches(split, Prepare(8, 8, 0), 16, cpu))
    assert total is not None
    assert total[1] == 21
    assert float(total[0] / total[1]) == pytest.approx(result.best_figure, abs=1e-6)


@pytest.mark.usefixtures("plain")  # in kernels, narrow networks compute in float32 anyway
def test_training_in_bfloat16_keeps_a_model_that_computes_in_float32(tmp_path: Path) -> None:
    low = tiny_run(tmp_path / "low", precision="bfloat16")
    tiny_run(tmp_path / "high")
    assert math.isfinite(low.best_figure)
    model = load(tmp_path / "low" / "model")
    assert {m.dtype for m in model.modules() if isinstance(m, PrecisionNet)} == {torch.float32}
    steps = [read_rows(tmp_path / name / "metrics.csv")[-1] for name in ("low", "high")]
    assert steps[0]["train_bits_per_dim"] != steps[1]["train_bits_per_dim"]
