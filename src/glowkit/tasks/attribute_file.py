"""Attributes on disk: one safetensors file beside the model."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from glowkit.core import GlowkitError
from glowkit.core.files import write_atomically
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
    if not path.is_file():
        raise GlowkitError(f"no {path}; make it with: glowkit attributes {path.parent}")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["glowkit"])
            tensors = {name: file.get_tensor(name) for name in ("directions", "percentiles")}
        if about["format"] > _FORMAT:
            raise GlowkitError(f"{path} was written by a newer glowkit; upgrade glowkit to use it")
        found = Attributes(
            names=tuple(about["names"]),
            positives=tuple(about["positives"]),
            negatives=tuple(about["negatives"]),
            auroc=tuple(about["auroc"]),
            method=about["method"],
            **tensors,
        )
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise GlowkitError(
            f"{path} is damaged or not of glowkit; make it again: glowkit attributes {path.parent}"
        ) from error
    if about["weights"] != weights:
        raise GlowkitError(
            f"{path} belongs to other weights, perhaps because the run was trained on; make it"
            f" again: glowkit attributes {path.parent}"
        )
    return found
