"""Attributes on disk: one safetensors file beside the model."""

import json
import math
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.core.files import write_atomically
from glowkit.core.reading import parse_json
from glowkit.tasks.attributes import Attributes

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
