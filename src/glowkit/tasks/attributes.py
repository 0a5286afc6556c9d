"""Attributes of images as directions in latent space, and their file."""

import difflib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from glowkit.core import MIDPOINT, Density, GlowkitError
from glowkit.core.finite import warn_of_broken
from glowkit.system.files import parse_json, write_atomically
from glowkit.tasks.latent import check_latents, decoded, join, part

SMALLER = "use smaller amounts"
"""What helps where edits overflow."""


@dataclass(frozen=True)
class Attributes:
    """Named directions in a model's latent space, and how well they are known.

    names: A names. directions: (A, D), D the dimensions of `join`ed latents; an edit of amount a
    adds a times the direction. positives, negatives: the images each was fitted to.
    auroc: (A,), how well z · direction tells held-out images that have the attribute from those
    that lack it: ½ by chance, 1 always, NaN where the held-out images are all of one kind.
    percentiles: (101,), the 0th to 100th percentile of held-out images' bits/dim.
    method: the name of what found the directions.
    """

    names: tuple[str, ...]
    directions: Tensor
    positives: tuple[int, ...]
    negatives: tuple[int, ...]
    auroc: tuple[float, ...]
    percentiles: Tensor
    method: str

    def shift(self, amounts: Mapping[str, float]) -> Tensor:
        """Σ amount · direction, (D,).

        Raises:
            GlowkitError: for an attribute that there is not, naming those there are.
        """
        places = [find_name(self.names, name) for name in amounts]
        weights = self.directions.new_tensor(list(amounts.values()))
        return weights @ self.directions[places]

    def judged(self, auroc: Sequence[float], bits: Tensor) -> "Attributes":
        """These with the figures of held-out images: `separation`, and their bits/dim (M,).

        Raises:
            GlowkitError: when a bits/dim is not finite.
        """
        unknown = int((~bits.isfinite()).sum())
        if unknown:
            raise GlowkitError(
                f"{unknown} of {len(bits)} held-out images have a bits/dim that is not finite, so"
                " that edits cannot be compared with them; train the model longer"
            )
        percentiles = bits.double().quantile(torch.linspace(0, 1, 101, dtype=torch.float64))
        return replace(self, auroc=tuple(auroc), percentiles=percentiles)

    def percentile(self, bits: float) -> float:
        """Percentage of held-out images with fewer bits/dim, to a whole one; NaN of NaN."""
        if math.isnan(bits):
            return math.nan
        return float((self.percentiles < bits).sum().clamp(max=100))


@torch.no_grad()
def edit(
    model: Density,
    images: Tensor,
    attributes: Attributes,
    amounts: Mapping[str, float],
    context: Tensor | None = None,
) -> Tensor:
    """decode(z + Σ amount · direction) of z = encode(x), dequantized at the middle of each bin.

    Shapes: (N, C, H, W) integers to the same. Amount 0 returns the images. An amount of about
    1/1.6 takes the mean image that lacks an attribute to the mean image that has it.
    Warns (GlowkitWarning) of images that could not be computed, which hold zeros.
    Source: Kingma and Dhariwal 2018, section 5.2; the demo of openai/glow.

    Raises:
        GlowkitError: for an unknown attribute.
    """
    noises, _ = model.encode(images, context, MIDPOINT)
    after, broken = edit_latents(model, join(noises), attributes, amounts, context)
    warn_of_broken(after, broken, SMALLER)
    return after


@torch.no_grad()
def edit_latents(
    model: Density,
    latents: Tensor,
    attributes: Attributes,
    amounts: Mapping[str, float],
    context: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`edit` of images that are encoded already: from their `join`ed latents (N, D).

    Returns the images (N, C, H, W), and which of them could not be computed, (N,) bool.
    """
    moved = latents + attributes.shift(amounts).to(latents)
    return decoded(model, part(model, moved), context)


def orthogonal(attributes: Attributes, to: Sequence[str]) -> Attributes:
    """Make all other directions orthogonal to those named, which stay as they are.

    d − Q Qᵀ d, where the columns of Q are an orthonormal basis of the named directions. An edit
    then leaves alone what the named directions measure.

    Raises:
        GlowkitError: for an unknown attribute, and for one of which nothing is left.
    """
    places = [find_name(attributes.names, name) for name in to]
    basis, _ = torch.linalg.qr(attributes.directions[places].T.double())
    before = attributes.directions.double()
    after = before - (before @ basis) @ basis.T
    after[places] = before[places]
    lost = after.norm(dim=1) <= 1e-3 * before.norm(dim=1)
    if lost.any():
        name = attributes.names[int(lost.nonzero()[0])]
        raise GlowkitError(
            f"nothing is left of {name} when made orthogonal to {', '.join(to)}: it says the same"
        )
    return replace(attributes, directions=after.to(attributes.directions))


def separation(directions: Tensor, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, ...]:
    """The area under the ROC curve of z · direction, for each attribute.

    batches: held-out latents (B, D) and values (B, A), +1, −1 or 0 for unknown.
    NaN where the values known are all alike.
    """
    from sklearn.metrics import roc_auc_score

    scores, known = [], []
    for latents, values in batches:
        scores.append((latents.float() @ directions.T.to(latents.device).float()).cpu())
        known.append(values.cpu())
    if not scores:
        raise GlowkitError("there are no held-out images")
    score, value = torch.cat(scores), torch.cat(known)
    check_latents(score)
    areas = []
    for column in range(len(directions)):
        asked = value[:, column] != 0
        has = value[asked, column] > 0
        both = bool(has.any()) and not bool(has.all())
        areas.append(float(roc_auc_score(has, score[asked, column])) if both else math.nan)
    return tuple(areas)


def find_name(names: Sequence[str], name: str) -> int:
    """The place of an attribute.

    >>> find_name(["smiling", "woman"], "woman")
    1

    Raises:
        GlowkitError: when there is none of that name; with the nearest and all of them.
    """
    if name in names:
        return names.index(name)
    by_lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1)
    meant = f"did you mean {by_lower[near[0]]}? " if near else ""
    raise GlowkitError(f"there is no attribute {name!r}; {meant}known: {', '.join(names)}")


_FORMAT = 1


def save_attributes(attributes: Attributes, path: Path, weights: str) -> None:
    """Write attributes, all of the file or nothing. weights: a digest of the model's.

    Raises GlowkitError when it cannot be written.
    """
    about = {
        "format": _FORMAT,
        "names": attributes.names,
        "positives": attributes.positives,
        "negatives": attributes.negatives,
        "auroc": attributes.auroc,
        "method": attributes.method,
        "weights": weights,
    }
    tensors = {
        "directions": attributes.directions.contiguous(),
        "percentiles": attributes.percentiles.contiguous(),
    }
    write_atomically(path, to_bytes(tensors, {"glowkit": json.dumps(about)}))


def load_attributes(path: Path, weights: str) -> Attributes:
    """Read what `save_attributes` wrote.

    Raises GlowkitError when there is no such file, it is damaged or too new, or it belongs to a
    model of other weights.
    """
    if not os.path.isfile(path):
        raise GlowkitError(f"no {path}; make it with: glowkit attributes {path.parent}")
    again = f"make it again: glowkit attributes {path.parent}"
    try:
        with safe_open(path, "pt") as file:
            about = parse_json((file.metadata() or {})["glowkit"], {"NaN": math.nan})
            tensors = {name: file.get_tensor(name) for name in ("directions", "percentiles")}
        if type(about["format"]) is not int or about["format"] < 1:
            raise ValueError("it is of no format")
        if about["format"] > _FORMAT:
            raise GlowkitError(f"{path} was written by a newer glowkit; upgrade glowkit to use it")
        found = _attributes(about, tensors)
    except GlowkitError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise GlowkitError(f"{path} is damaged or not of glowkit; {again}") from error
    if about["weights"] != weights:
        raise GlowkitError(
            f"{path} belongs to other weights, perhaps because the run was trained on; {again}"
        )
    return found


def _attributes(about: dict[str, Any], tensors: dict[str, Tensor]) -> Attributes:
    """Raises TypeError, ValueError or KeyError for what `save_attributes` never writes."""
    columns = [about[name] for name in ("names", "positives", "negatives", "auroc")]
    count = len(columns[0])
    for column, kind in zip(columns, (str, int, int, float), strict=True):
        if type(column) is not list or len(column) != count:
            raise TypeError("a column is missing or too short")
        if any(type(value) is not kind for value in column):
            raise TypeError("a value is of the wrong type")
    directions, percentiles = tensors["directions"], tensors["percentiles"]
    if directions.shape[:1] != (count,) or directions.ndim != 2 or percentiles.shape != (101,):
        raise ValueError("a tensor has another shape")
    if not (directions.is_floating_point() and percentiles.is_floating_point()):
        raise ValueError("a tensor is not of numbers")
    if not bool(directions.double().isfinite().all()):
        raise ValueError("a direction is not finite")
    if type(about["method"]) is not str or type(about["weights"]) is not str:
        raise TypeError("it does not say what it was made with")
    names, positives, negatives, auroc = map(tuple, columns)
    return Attributes(names, directions, positives, negatives, auroc, percentiles, about["method"])
