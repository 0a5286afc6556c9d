"""Jet: what a fresh one is, its permutations, its patterns, its parameters, refusals."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import glowkit
from glowkit.bijections import CentredAffine, Permute
from glowkit.densities import Dequantize
from glowkit.models import JetConfig, count_parameters, from_settings, to_settings
from glowkit.models.jet import _halves_of_patches
from glowkit.nets import ViT

TINY = JetConfig(
    (1, 4, 4), 2, couplings=4, channel_couplings=1, layers=1, width=8, heads=2, pixel_levels=17
)


def images(config: JetConfig, n: int = 6) -> Tensor:
    return torch.randint(0, config.pixel_levels, (n, *config.image_shape), dtype=torch.uint8)


def shaken(config: JetConfig) -> glowkit.Density:
    torch.manual_seed(0)
    model = glowkit.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"classes": 3, "memory": "reversible"},
        {"image_shape": (3, 4, 8), "patch": 2, "precision": "bfloat16"},
        {"image_shape": (2, 2, 6), "patch": 1, "couplings": 6, "channel_couplings": 0},
        {"image_shape": (1, 6, 6), "patch": 2, "channel_couplings": 4},
    ],
)
def test_round_trip(settings: dict[str, Any]) -> None:
    config = replace(TINY, **settings)
    model, x = shaken(config), images(config)
    labels = torch.arange(6) % config.classes if config.classes else None
    noises, log_p = model.encode(x, labels)
    assert torch.equal(model.decode(noises, labels)[0], x)
    assert log_p.isfinite().all()
    assert model.log_p_kind == "bound"
    assert from_settings(to_settings(config)) == config
    if labels is not None:
        assert not torch.equal(log_p, model.log_prob(x, (labels + 1) % 3, glowkit.MIDPOINT))


def test_a_fresh_model_only_moves_and_scales_its_numbers() -> None:
    model = glowkit.build(replace(TINY, couplings=12))
    assert isinstance(model, Dequantize)
    v = torch.rand(2, 1, 4, 4)
    (z,), log_p = model.density.encode(v)
    assert torch.equal(z.flatten(1).sort()[0], (2 * v - 1).flatten(1).sort()[0])
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1)
    assert (log_p - normal - 16 * torch.tensor(2.0).log()).abs().max() < 1e-4


def test_scales_that_underflow_keep_a_finite_log_determinant() -> None:
    _, ladj = CentredAffine()(torch.ones(1, 2), torch.tensor([[0.0, -500.0, 0.0, 500.0]]))
    assert abs(ladj.item() - (-500 + 2 * torch.tensor(2.0).log().item())) < 1e-4


def test_permutations_are_no_parameters_and_outlive_training_averages_and_files(
    tmp_path: Any,
) -> None:
    """Weight decay, or an average over steps, that touched them would break the flow silently."""
    model = shaken(TINY).train()
    moves = [part for part in model.modules() if isinstance(part, Permute)]
    before = [part.indices.clone() for part in moves]
    assert len(moves) >= 2
    assert not any(list(part.parameters()) for part in moves)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=1.0)
    averaged = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5), use_buffers=True
    )
    for _ in range(3):
        optimizer.zero_grad()
        glowkit.bits_per_dim(model, images(TINY)).mean().backward()
        optimizer.step()
        averaged.update_parameters(model)
    glowkit.save(model, tmp_path / "model")
    torch.manual_seed(99)  # permutations of a model built anew are others
    loaded = glowkit.load(tmp_path / "model")
    for kept in (model, averaged.module, loaded):
        found = [part.indices for part in kept.modules() if isinstance(part, Permute)]
        assert all(map(torch.equal, found, before))


@pytest.mark.parametrize("spatial", range(6))
def test_a_spatial_coupling_keeps_half_of_the_patches_whole(spatial: int) -> None:
    """And every second one the other half, of a checkerboard, columns or rows."""
    rows, columns = torch.arange(4)[:, None], torch.arange(4)
    odd = (rows + columns, columns.expand(4, 4), rows.expand(4, 4))[spatial // 2] % 2
    x = odd.float().expand(1, 6, 4, 4).contiguous()
    y, _ = _halves_of_patches(spatial, 6)(x)
    assert y[:, :3].unique().tolist() == [spatial % 2]
    assert y[:, 3:].unique().tolist() == [1 - spatial % 2]
    places = torch.arange(96.0).view(1, 6, 4, 4)
    moved, _ = _halves_of_patches(spatial, 6)(places)
    assert torch.equal(moved.flatten().sort()[0], places.flatten())
    # One half of each patch stays where it was.
    assert (moved % 16 == places % 16).float().mean() == 0.5


def test_every_cell_sees_every_other() -> None:
    net = ViT(2, 3, (2, 3), 8, 1, 2).double()
    with torch.no_grad():
        net.leave.weight.normal_()
    x = torch.randn(1, 2, 2, 3).double()
    seen = torch.autograd.functional.jacobian(net, x)[0, :, :, :, 0].abs().sum((0, 3))
    assert (seen > 0).all()
    assert not torch.equal(net(x.flip(3)), net(x).flip(3))  # it knows the places


def test_parameters_are_those_of_the_reference() -> None:
    """Counted by the shapes in google-research/big_vision, without its permutation matrices."""
    width, tokens, half = 512, 256, 24
    attention, mlp = 4 * (width * width + width), 8 * width * width + 5 * width
    layer = attention + mlp + 2 * 2 * width
    ends = half * width + width + tokens * width + 2 * width + width * 2 * half + 2 * half
    assert count_parameters("jet-imagenet64") == 32 * (2 * layer + ends) == 207_177_216


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"patch": 3}, "not divisible by patch"),
        ({"heads": 3}, "must divide width"),
        ({"dropout": 1.0}, "below 1"),
        ({"patch": 1}, "have no halves"),
        ({"image_shape": (1, 6, 4)}, "spatial couplings pair patches, and 3x2"),
        ({"memory": "none"}, "does not exist"),
        ({"precision": "float16"}, "does not exist"),
        ({"couplings": 10**9}, "layers"),
    ],
)
def test_refusals(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(glowkit.GlowkitError, match=sentence):
        glowkit.build(replace(TINY, **settings))
