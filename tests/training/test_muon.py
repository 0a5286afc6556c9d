"""Muon: orthogonal updates of matrices, AdamW for the rest, a state that can be kept."""

import copy

import pytest
import torch
from torch import Tensor, nn

from glowkit.training.config import make_optimizer
from glowkit.training.muon import Muon, orthogonal


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> float:
    loss = (model(x) - x[:, :2]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape), torch.float32))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_a_gradient_of_zero_moves_nothing() -> None:
    assert orthogonal(torch.zeros(3, 2), torch.float32).abs().max() == 0


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3)])
def test_matrices_go_as_by_torch_s_own_in_bfloat16(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start = torch.randn(shape)
    one, other = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours = Muon([one], lr=0.1, weight_decay=0.1, dtype=torch.bfloat16)
    theirs = torch.optim.Muon([other], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        one.grad = other.grad = torch.randn(shape)
        ours.step()
        theirs.step()
    assert (one - other).abs().max() < 0.02
    assert (one - start).abs().max() > 0.1


def test_vectors_go_by_adamw() -> None:
    one, other, x = net(), net(), torch.randn(16, 4)
    muon = Muon(one.parameters(), lr=1e-2, weight_decay=0.1)
    adamw = torch.optim.AdamW(other.parameters(), lr=1e-2, weight_decay=0.1)
    step(one, muon, x)
    step(other, adamw, x)
    assert torch.allclose(one[0].bias, other[0].bias)
    assert not torch.allclose(one[0].weight, other[0].weight)


def test_it_learns_and_goes_on_from_a_kept_state() -> None:
    torch.manual_seed(1)
    model, x = net(), torch.randn(64, 4)
    optimizer = make_optimizer("muon", model.parameters(), 1e-2, 0.0, precision="float32")
    losses = [step(model, optimizer, x) for _ in range(100)]
    assert losses[-1] < losses[0] / 2
    again = copy.deepcopy(model)
    resumed = make_optimizer("muon", again.parameters(), 1e-2, 0.0, precision="float32")
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(model, optimizer, x)
    step(again, resumed, x)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
