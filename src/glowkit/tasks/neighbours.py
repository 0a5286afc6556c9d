"""Nearest neighbours: is a sample new, or a training image?"""

from collections.abc import Iterable

import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.core.density import check_count, check_tensor


def nearest(queries: Tensor, batches: Iterable[Tensor], number: int = 1) -> tuple[Tensor, Tensor]:
    """The nearest images to each query: their places in the stream, and distances in levels.

    The distance is √(mean (x − y)²) over all D values. Shapes: queries (N, C, H, W) integers;
    batches (B, C, H, W) likewise; returns (N, number) both, nearest first; fewer than `number`
    where there are fewer images. Memory is that of one batch.

    Raises:
        GlowkitError: when there is no image, one of another shape, or fewer than one neighbour
            is asked for.

    >>> images = torch.tensor([0, 9, 5]).reshape(3, 1, 1, 1)
    >>> places, distances = nearest(torch.tensor([[[[6]]]]), [images[:2], images[2:]], number=2)
    >>> places.tolist(), distances.tolist()
    ([[2, 1]], [[1.0, 3.0]])
    """
    check_count(number, "the number of neighbours")
    check_tensor(queries, "queries")
    asked = queries.flatten(1).double()
    places = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    distances = torch.empty(len(queries), 0, dtype=asked.dtype, device=queries.device)
    seen = 0
    for batch in batches:
        if batch.shape[1:] != queries.shape[1:]:
            raise GlowkitError(
                f"queries of shape {tuple(queries.shape[1:])} cannot be compared with images of"
                f" shape {tuple(batch.shape[1:])}"
            )
        images = batch.to(asked.device).flatten(1).double()
        # Without the matrix product, which is fast and says 1e-6 of equal images.
        found = torch.cdist(asked, images, compute_mode="donot_use_mm_for_euclid_dist")
        here = torch.arange(seen, seen + len(images), device=asked.device).expand(len(queries), -1)
        seen += len(images)
        distances, kept = torch.cat([distances, found], 1).sort(dim=1, stable=True)
        places = torch.cat([places, here], 1).gather(1, kept)[:, :number]
        distances = distances[:, :number]
    if not seen:
        raise GlowkitError("there are no images to compare with")
    return places, distances / asked.shape[1] ** 0.5
