"""Forward and backward passes, where a CUDA graph of them cannot be had."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glowkit.training.passes import Captured


def test_without_a_gpu_the_passes_run_as_they_are_and_that_is_said_once() -> None:
    weight, moments, said = nn.Parameter(torch.ones(2)), torch.zeros(1), []
    model = nn.Module()
    model.register_buffer("moments", moments)

    def passes(x: Tensor, context: Any, noise: torch.Generator) -> Tensor:
        moments.add_(1)
        loss = (x * weight).sum() + torch.rand((), generator=noise)
        loss.backward()
        return loss.detach()

    run = Captured(passes, model, [weight], said.append)
    figures = []
    for seed in (3, 3, 4):
        figures.append(float(run(torch.ones(2), None, torch.Generator().manual_seed(seed))))
        assert weight.grad is not None
        assert weight.grad.tolist() == [1, 1]
        weight.grad = None
    assert figures[0] == figures[1] != figures[2]
    assert float(moments) == 3
    assert len(said) == 1
    assert "not captured" in said[0]


def test_a_capture_that_fails_after_warming_up_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Moments that follow the batches would have followed the first one four times."""

    def no_graph() -> None:
        raise RuntimeError("no graph")

    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name, fake in {"Stream": lambda: stream, "current_stream": lambda: stream}.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", no_graph)
    weight, model, said = nn.Parameter(torch.ones(2)), nn.Module(), []
    model.register_buffer("moments", torch.zeros(1))

    def passes(x: Tensor, context: Any, noise: torch.Generator) -> Tensor:
        model.moments.add_(1)
        loss = (x * weight).sum()
        loss.backward()
        return loss.detach()

    run = Captured(passes, model, [weight], said.append)
    run(torch.ones(2), None, torch.Generator())
    assert said[0].endswith("no graph")
    assert float(model.moments) == 1
