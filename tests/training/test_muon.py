"""Muon: orthogonal updates of matrices, AdamW for the rest, a state that can be kept."""

import copy

import pytest
import torch
from torch import Tensor, nn

from glowkit.bijections.linear import LUMatrix
from glowkit.nets.causal import CausalNet
from glowkit.nets.fast import set_precision
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
    model, other = nn.Linear(shape[1], shape[0], bias=False), nn.Parameter(start.clone())
    one = model.weight
    one.data.copy_(start)
    ours = Muon(model, lr=0.1, weight_decay=0.1, dtype=torch.bfloat16)
    theirs = torch.optim.Muon([other], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        one.grad = other.grad = torch.randn(shape)
        ours.step()
        theirs.step()
    assert (one - other).abs().max() < 0.02
    assert (one - start).abs().max() > 0.1


def test_vectors_go_by_adamw() -> None:
    one, other, x = net(), net(), torch.randn(16, 4)
    muon = Muon(one, lr=1e-2, weight_decay=0.1)
    adamw = torch.optim.AdamW(other.parameters(), lr=1e-2, weight_decay=0.1)
    step(one, muon, x)
    step(other, adamw, x)
    assert torch.allclose(one[0].bias, other[0].bias)
    assert not torch.allclose(one[0].weight, other[0].weight)


def test_it_learns_and_goes_on_from_a_kept_state() -> None:
    torch.manual_seed(1)
    model, x = net(), torch.randn(64, 4)
    optimizer = make_optimizer("muon", model, 1e-2, 0.0)
    losses = [step(model, optimizer, x) for _ in range(100)]
    assert losses[-1] < losses[0] / 2
    again = copy.deepcopy(model)
    resumed = make_optimizer("muon", again, 1e-2, 0.0)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(model, optimizer, x)
    step(again, resumed, x)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_biases_and_packed_factors_are_no_matrices() -> None:
    net = CausalNet(2, 3, 2, width=8, layers=1, heads=2, inner=4)
    lu = LUMatrix(3)
    matrices, others = Muon(nn.ModuleList([net, lu]), lr=1e-2).param_groups
    assert any(p is net.leave.weight for p in matrices["params"])
    for packed in (net.bias, lu.packed):
        assert packed.dim() == 2
        assert any(p is packed for p in others["params"])


def test_what_is_frozen_is_not_trained() -> None:
    model = net()
    model[0].weight.requires_grad_(False)
    groups = Muon(model, lr=1e-2).param_groups
    assert sum(len(group["params"]) for group in groups) == 3


def test_matrices_are_orthogonalised_in_the_precision_of_the_model() -> None:
    model = CausalNet(2, 3, 2, width=8, layers=1, heads=2, precision="bfloat16")
    assert make_optimizer("muon", model, 1e-2, 0.0).dtype == torch.bfloat16
    set_precision(model, "float32")
    assert make_optimizer("muon", model, 1e-2, 0.0).dtype == torch.float32


def test_a_closure_makes_the_gradients_and_its_loss_is_returned() -> None:
    one, other, x = net(), net(), torch.randn(16, 4)
    by_closure, plain = Muon(one, lr=1e-2), Muon(other, lr=1e-2)

    def closure() -> Tensor:
        by_closure.zero_grad()
        loss = (one(x) - x[:, :2]).square().mean()
        loss.backward()
        return loss

    loss = step(other, plain, x)
    assert by_closure.step(closure) == loss
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loaded_count_of_steps_is_where_the_fused_kernel_wants_it() -> None:
    model, x = net(), torch.randn(16, 4)
    optimizer = Muon(model, lr=1e-2)
    step(model, optimizer, x)
    state = copy.deepcopy(optimizer.state_dict())
    for values in state["state"].values():
        if "step" in values:
            values["step"] = values["step"].double()  # torch brings it back with `fused` alone
    resumed = Muon(model, lr=1e-2)
    resumed.load_state_dict(state)
    counts = [values["step"] for values in resumed.state.values() if "step" in values]
    assert len(counts) == 2
    assert {count.dtype for count in counts} == {torch.float32}
