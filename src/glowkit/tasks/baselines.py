"""What a model is held against: Gaussians fitted to the same images, and its nearest neighbours."""

import math
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.core.checking import check_count, check_tensor

MOST_IMAGES = 10_000  # to fit on: more hardly move the figures and take minutes
FEW_DIMENSIONS = 256  # up to which fitting takes a second or so
MOST_DIMENSIONS = 1024  # a full covariance of 32x32x1 pixels; its cost grows with the cube
# Variances added to the diagonal of the covariances, in those of the dequantization noise, which is
# 1/12 squared levels. None is right for all data: a component with fewer images than dimensions
# needs a thousand, and on digits anything above one costs. A held-out tenth chooses.
_ADDED_VARIANCES = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
_LEAST_VARIANCE = 0.1  # while fitting: a pixel that never varies has only its noise
_ITERATIONS = 30  # at most; on 28x28 pixels each takes seconds
_TOLERANCE = 1e-4  # bits/dim: fitting stops when an iteration gains less


def gaussian_baselines(
    train: Tensor, test: Tensor, levels: int, seed: int = 0, components: int = 10
) -> dict[str, float]:
    """Mean test bits/dim of a full-covariance Gaussian and of a mixture of them; lower is better.

    Both are fitted to uniformly dequantized, flattened images v = (x + u) / levels, at most 10,000
    of them (fewer are repeated, with fresh noise; a tenth is held out to choose the smoothing), and
    say −log p(v) / (D ln 2) + log₂ levels of the test images dequantized likewise:
    an upper bound, as for a flow, so that the figures compare.

    Shapes: train and test (N, C, H, W) integers in 0..levels-1; D = C·H·W.

    Raises:
        GlowkitError: for more than 1024 dimensions, no test image, fewer training images than
            components, or images of different shapes.

    >>> generator = torch.Generator().manual_seed(0)
    >>> noise = torch.randint(0, 4, (200, 1, 2, 2), generator=generator)
    >>> list(gaussian_baselines(noise[:100], noise[100:], levels=4, components=2))
    ['Gaussian', 'mixture of 2 Gaussians']
    """
    _check(train, test, components)
    generator = torch.Generator().manual_seed(seed)
    chosen = train[torch.randperm(len(train), generator=generator)[:MOST_IMAGES]]
    tenth = max(1, len(chosen) // 10)
    # Fresh noise for each copy: a small set then shows how little single draws of it mean.
    repeated = chosen[tenth:].repeat_interleave(MOST_IMAGES // len(chosen), 0)
    fitted_to = _dequantize(repeated, levels, generator)
    held_out = _dequantize(chosen[:tenth], levels, generator)
    asked_about = _dequantize(test, levels, generator)
    return {
        name: _bits_per_dim(_fit(fitted_to, held_out, number, levels, seed), asked_about, levels)
        for name, number in (("Gaussian", 1), (f"mixture of {components} Gaussians", components))
    }


def _check(train: Tensor, test: Tensor, components: int) -> None:
    dimensions = math.prod(train.shape[1:])
    if dimensions > MOST_DIMENSIONS:
        raise GlowkitError(
            f"the Gaussian baselines take images of at most {MOST_DIMENSIONS} dimensions, and these"
            f" have {dimensions}; leave the baselines out"
        )
    if train.shape[1:] != test.shape[1:]:
        raise GlowkitError(
            f"training images have shape {tuple(train.shape[1:])} and test images"
            f" {tuple(test.shape[1:])}; the baselines need them equal"
        )
    least = max(2, components)
    if len(train) < least or len(test) < 1:
        raise GlowkitError(
            f"the Gaussian baselines need at least {least} training images and 1 test image, and"
            f" there are {len(train)} and {len(test)}"
        )


def _dequantize(images: Tensor, levels: int, generator: torch.Generator) -> Tensor:
    x = images.cpu().flatten(1).double()
    return (x + torch.rand(x.shape, dtype=x.dtype, generator=generator)) / levels


def _fit(v: Tensor, held_out: Tensor, components: int, levels: int, seed: int) -> Any:
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    noise = 1 / (12 * levels**2)  # the variance of u / levels
    mixture = GaussianMixture(
        components,
        covariance_type="full",
        tol=_TOLERANCE * v.shape[1] * math.log(2),
        reg_covar=_LEAST_VARIANCE * noise,
        max_iter=_ITERATIONS,
        random_state=seed % 2**32,
    )
    with warnings.catch_warnings():
        # A fit that is stopped before it settles is a density all the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(v.numpy())
    covariances = mixture.covariances_

    def widen(added: float) -> float:
        widened = covariances + added * noise * np.eye(v.shape[1])
        try:
            factors = np.linalg.cholesky(widened)
        except np.linalg.LinAlgError:  # too flat for this little widening
            return -math.inf
        mixture.precisions_cholesky_ = np.linalg.inv(factors).transpose(0, 2, 1)
        score = float(mixture.score(held_out.numpy()))
        return score if math.isfinite(score) else -math.inf  # max would take some NaN for the best

    widen(max(_ADDED_VARIANCES, key=widen))
    return mixture


def _bits_per_dim(mixture: Any, v: Tensor, levels: int) -> float:
    return float(-mixture.score(v.numpy()) / (v.shape[1] * math.log(2)) + math.log2(levels))


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
