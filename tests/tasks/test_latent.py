"""Paths through the latent space, and what keeps a part of it."""

import math

import pytest
import torch
from torch import Tensor

from glowkit import MIDPOINT, GlowConfig, GlowkitError, build, initialize
from glowkit.core import Density
from glowkit.tasks import interpolate, join, keep_coarse, nearest, part
from glowkit.tasks.interpolation import PATHS, grid, legs, linear, spherical
from glowkit.tasks.latent import Path


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 17, (6, 1, 8, 8), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def model(images: Tensor) -> Density:
    torch.manual_seed(0)
    model = build(GlowConfig((1, 8, 8), levels=2, steps=2, width=8, pixel_levels=17))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    initialize(model, images)
    return model


@torch.no_grad()
def latents(model: Density, images: Tensor) -> list[Tensor]:
    return model.encode(images, None, MIDPOINT)[0]


def test_part_undoes_join(model: Density) -> None:
    noises = model.draw_noises(3)
    again = part(model, join(noises))
    assert all(torch.equal(a, b) for a, b in zip(noises, again, strict=True))


def test_part_refuses_another_models_latents(model: Density) -> None:
    with pytest.raises(GlowkitError, match=r"\(2, 63\).*\(N, 64\)"):
        part(model, torch.zeros(2, 63))


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("shape", [legs, grid], ids=["legs", "grid"])
def test_the_ends_are_the_images(model: Density, images: Tensor, path: Path, shape: object) -> None:
    wanted = images[:4]
    found, log_p = interpolate(model, latents(model, wanted), 5, path, shape, batch_size=3)  # type: ignore[arg-type]
    assert log_p.shape == found.shape[:2]
    assert log_p.isfinite().all()
    if shape is grid:
        assert found.shape == (5, 5, 1, 8, 8)
        corners = found[[0, 0, -1, -1], [0, -1, 0, -1]]
    else:
        assert found.shape == (3, 5, 1, 8, 8)
        assert torch.equal(found[1:, 0], found[:-1, -1])
        corners = torch.cat([found[:, 0], found[-1:, -1]])
    assert torch.equal(corners, wanted)


def test_an_arc_keeps_the_length_and_a_line_does_not() -> None:
    keys = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0))
    keys = keys / keys.norm(dim=1, keepdim=True)
    assert legs(keys, 9, spherical).norm(dim=-1) == pytest.approx(torch.ones(1, 9), abs=1e-5)
    angle = math.acos(float(keys[0] @ keys[1]))
    assert legs(keys, 3, linear)[0, 1].norm().item() == pytest.approx(math.cos(angle / 2), abs=1e-5)


def test_an_arc_goes_at_a_steady_pace() -> None:
    keys = torch.tensor([[3.0, 0], [0, 3.0]], dtype=torch.float64)
    steps = legs(keys, 4, spherical)[0]
    angles = torch.atan2(steps[:, 1], steps[:, 0]) * 180 / math.pi
    assert angles.tolist() == pytest.approx([0, 30, 60, 90])


@pytest.mark.parametrize("factor", [1.0, 2.0, 0.0, -1.0])
def test_latents_in_line_make_no_nan(factor: float) -> None:
    keys = torch.stack([torch.ones(4), factor * torch.ones(4)])
    found = legs(keys, 3, spherical)[0]
    assert found.isfinite().all()
    assert torch.equal(found[[0, -1]], keys)


def test_frames_have_the_context_of_the_nearer_end() -> None:
    torch.manual_seed(0)
    model = build(GlowConfig((1, 8, 8), levels=2, steps=1, width=8, classes=2))
    initialize(model, torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8), torch.arange(8) % 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    noises = [noise[:1].repeat(2, 1, 1, 1) for noise in model.draw_noises(1)]
    frames = interpolate(model, noises, 4, linear, context=torch.tensor([0, 1]))[0][0]
    assert torch.equal(frames[0], frames[1])
    assert not torch.equal(frames[1], frames[2])
    assert torch.equal(frames[2], frames[3])


def test_too_little_for_a_path_is_said(model: Density) -> None:
    for number, frames, shape, words in (
        (1, 5, legs, "at least 2 images"),
        (2, 1, legs, "1 frame"),
        (3, 5, grid, "4 corners"),
    ):
        with pytest.raises(GlowkitError, match=words):
            interpolate(model, model.draw_noises(number), frames, shape=shape)


def test_coarse_scales_are_kept_and_fine_ones_fresh(model: Density, images: Tensor) -> None:
    noises = latents(model, images)
    drawn = [
        keep_coarse(model, noises, kept, 0.5, torch.Generator().manual_seed(1))
        for kept in range(len(noises) + 1)
    ]
    assert all(torch.equal(a, b) for a, b in zip(drawn[-1], noises, strict=True))
    assert torch.equal(drawn[1][-1], noises[-1])
    # The fresh noise is the same whatever is kept, so that columns of a sheet compare.
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert not torch.equal(drawn[1][0], noises[0])
    with pytest.raises(GlowkitError, match="cannot keep 3 scales"):
        keep_coarse(model, noises, 3)


def test_nearest_is_what_sorting_all_distances_finds(images: Tensor) -> None:
    generator = torch.Generator().manual_seed(1)
    train = torch.randint(0, 17, (50, 1, 8, 8), generator=generator, dtype=torch.uint8)
    train[31] = images[2]
    places, distances = nearest(images, train.split(7), 4)
    squared = (images[:, None].double() - train[None].double()).square().flatten(2).mean(-1)
    wanted, order = squared.sqrt().sort(dim=1)
    assert torch.equal(places, order[:, :4])
    assert torch.allclose(distances, wanted[:, :4])
    assert (places[2, 0].item(), distances[2, 0].item()) == (31, 0.0)
    assert nearest(images, [train[:2]], 4)[0].shape == (6, 2)
    with pytest.raises(GlowkitError, match="no images"):
        nearest(images, [])
