"""Paths between latents, and squares between four of them, decoded."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.core import Density, GlowkitError
from glowkit.core.checking import check_count
from glowkit.tasks.latent import join, part

Course = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From latents (..., D), to latents (..., D), and t (..., 1): a at t = 0 and b at t = 1."""


def linear(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(1 − t) a + t b. Halfway, latents are shorter than any that the model draws.

    >>> linear(torch.tensor([0.0]), torch.tensor([4.0]), torch.tensor([0.25]))
    tensor([1.])
    """
    return (1 - t) * a + t * b


def spherical(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """[sin((1 − t) ω) a + sin(t ω) b] / sin ω, ω the angle between a and b (Shoemake 1985).

    Latents keep the length of what the model draws all the way. Linear where a and b have almost
    the same or the opposite direction, of which no arc follows.

    >>> spherical(torch.tensor([1.0, 0]), torch.tensor([0, 1.0]), torch.tensor([0.5]))
    tensor([0.7071, 0.7071])
    """
    angle = F.cosine_similarity(a, b, dim=-1)[..., None].clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine
    return torch.where(sine > 1e-3, arc, linear(a, b, t))


PATHS: dict[str, Course] = {"linear": linear, "spherical": spherical}


def legs(keys: Tensor, frames: int, path: Course) -> Tensor:
    """From each latent to the next: (K, D) to (K − 1, frames, D), both ends included.

    >>> legs(torch.tensor([[0.0], [1.0], [3.0]]), 3, linear).squeeze(-1).tolist()
    [[0.0, 0.5, 1.0], [1.0, 2.0, 3.0]]
    """
    if len(keys) < 2:
        raise GlowkitError(f"a path needs at least 2 images, not {len(keys)}")
    return path(keys[:-1, None], keys[1:, None], _fractions(frames, keys)[:, None])


def grid(keys: Tensor, side: int, path: Course) -> Tensor:
    """Between four corners: (4, D), in reading order, to (side, side, D).

    >>> grid(torch.tensor([[0.0], [2.0], [4.0], [6.0]]), 3, linear).squeeze(-1).tolist()
    [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [4.0, 5.0, 6.0]]
    """
    t = _fractions(side, keys)
    return inside(keys, t, t, path)


def inside(keys: Tensor, x: Tensor, y: Tensor, path: Course) -> Tensor:
    """The square between four corners at x (X,) to the right and y (Y,) down: (4, D) to (Y, X, D).

    Along the sides down first, then across: with `linear`, bilinear interpolation.

    >>> corners = torch.tensor([[0.0], [2.0], [4.0], [6.0]])
    >>> inside(corners, torch.tensor([0.5]), torch.tensor([0.25]), linear).squeeze().item()
    2.0
    """
    if len(keys) != 4:
        raise GlowkitError(f"a grid has 4 corners, not {len(keys)}; give 4 images")
    left, right = path(keys[0], keys[2], y[:, None]), path(keys[1], keys[3], y[:, None])
    return path(left[:, None], right[:, None], x[:, None])


def _fractions(frames: int, like: Tensor) -> Tensor:
    check_count(frames, "the number of frames", least=0)
    if frames < 2:
        raise GlowkitError(f"cannot draw a path in {frames} frame(s); give 2 or more")
    return torch.linspace(0, 1, frames, dtype=like.dtype, device=like.device)


@torch.no_grad()
def interpolate(
    model: Density,
    noises: Sequence[Tensor],
    frames: int,
    path: Course = spherical,
    shape: Callable[[Tensor, int, Course], Tensor] = legs,
    context: Tensor | None = None,
    batch_size: int = 100,
) -> tuple[Tensor, Tensor]:
    """Decode the paths between K examples given as noises: images (K − 1, frames, C, H, W), log p.

    log p, (K − 1, frames) in nats, is not finite where the inverse of a poor model overflows, of
    which integer images say nothing. All noises of an example are one vector, so that its scales go
    together. Each frame has the context of the example it is nearest to. Costs a decoding of every
    frame.

    Args:
        shape: `legs`, from each example to the next, or `grid`, between the corners of a square.

    Raises:
        GlowkitError: for fewer than 2 frames, or a number of examples that `shape` cannot take.

    >>> from glowkit.densities import StandardNormal
    >>> ends = [torch.tensor([[0.0, 1.0], [2.0, 3.0]])]
    >>> interpolate(StandardNormal((2,)), ends, 3, linear)[0][0].tolist()
    [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    keys = join(noises)
    check_count(batch_size, "batch_size")
    if context is not None and len(context) != len(keys):
        raise GlowkitError(
            f"there are {len(keys)} examples and {len(context)} contexts; give one for each"
        )
    latents = shape(keys, frames, path)
    every = latents.flatten(0, -2)
    nearest = shape(torch.eye(len(keys), device=keys.device), frames, linear).argmax(-1).flatten()
    decoded = [
        model.decode(part(model, every[rows]), None if context is None else context[nearest[rows]])
        for rows in torch.arange(len(every), device=keys.device).split(batch_size)
    ]
    images, log_p = (torch.cat(parts) for parts in zip(*decoded, strict=True))
    return images.unflatten(0, latents.shape[:-1]), log_p.reshape(latents.shape[:-1])
