"""Batch norm where a batch says nothing of a variance."""

import pytest
import torch
import torch.distributed as dist

from glowkit.bijections import MaskedBatchNorm, checkerboard
from glowkit.core import initialize
from glowkit.models.families import build
from glowkit.models.points import PointsConfig
from glowkit.nets import BatchNorm, following_moments
from glowkit.nets.batchnorm import BatchShare, batch_moments, shared_moments


@pytest.mark.parametrize(
    ("mask", "shape"),
    [
        (torch.ones(3), (1, 3)),
        (torch.ones(3, 1, 1), (1, 3, 1, 1)),
        (checkerboard(2, 1, 0), (1, 3, 2, 1)),
        (torch.ones(3), (0, 3)),
    ],
    ids=["vector", "image", "masked image", "no example"],
)
def test_fewer_than_two_values_a_channel(mask: torch.Tensor, shape: tuple[int, ...]) -> None:
    layer, x = MaskedBatchNorm(3, mask), torch.randn(shape)
    layer.moments.mean.copy_(torch.tensor([0.5, -1.0, 2.0]))
    layer.moments.variance.copy_(torch.tensor([0.5, 1.0, 2.0]))
    expected = layer.eval()(x)
    with following_moments(layer):
        found = layer.train()(x)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert layer.moments.variance.tolist() == [0.5, 1.0, 2.0]


def test_two_values_are_a_batch() -> None:
    layer = MaskedBatchNorm(1, torch.ones(1)).train()
    y, _ = layer(torch.tensor([[1.0], [3.0]]))
    assert torch.allclose(y, torch.tensor([[-1.0], [1.0]]), atol=1e-3)


def test_training_on_single_vectors_ruins_nothing() -> None:
    torch.manual_seed(0)
    config = PointsConfig(
        steps=4,
        width=8,
        coupling="bounded-affine",
        permutation="reverse",
        normalization="batch-norm",
    )
    model, x = build(config), torch.randn(64, 2)
    initialize(model, x)
    before = -model.log_prob(x).mean().item()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for one in x.split(1):
        with following_moments(model):
            loss = -model.log_prob(one).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert -model.eval().log_prob(x).mean().item() < before + 1


@pytest.mark.parametrize("value", [0.0, 3.7, -1e6])
def test_a_constant_column_has_finite_gradients(value: float) -> None:
    torch.manual_seed(0)
    model, x = build("realnvp-points"), torch.randn(64, 2)
    x[:, 1] = value
    initialize(model, x)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(5):
        with following_moments(model):
            loss = -model.log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
    assert model.eval().log_prob(x).isfinite().all()


def test_a_constant_channel_is_shifted_and_not_scaled() -> None:
    x = torch.full((8, 2), 3.7)
    y, ladj = MaskedBatchNorm(2, torch.ones(2)).train()(x)
    assert y.abs().max() < 1e-5
    assert ladj.abs().max() == 0
    assert BatchNorm(2).train()(x).abs().max() < 1e-5


def test_moments_over_processes_are_differentiated_twice() -> None:
    """In a group of one: each process's part of the gradient is a sum over all of them."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        share = BatchShare(size=5, group=dist.group.WORLD)
        x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: shared_moments(x, share), x)
        assert torch.autograd.gradgradcheck(lambda x: shared_moments(x, share), x)
        for found, right in zip(shared_moments(x, share), batch_moments(x), strict=True):
            torch.testing.assert_close(found, right)
    finally:
        dist.destroy_process_group()
