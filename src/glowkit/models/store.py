"""Save and load a model: config.json and model.safetensors, no pickle."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from glowkit.core import Density, GlowkitError
from glowkit.core.files import write_atomically
from glowkit.models.build import build, from_settings, to_settings

FORMAT_VERSION = 1


def save(model: Density, folder: str | Path) -> Path:
    """Write a model's config and weights into a folder; returns the folder.

    Each file is written under another name, synced and renamed, so that what was there before
    survives a full disk or a kill.

    Raises:
        GlowkitError: when the model was not made by `build`, or the folder cannot be written.
    """
    if model.config is None:
        raise GlowkitError("only a model that glowkit.build made can be saved; this has no config")
    folder = Path(folder)
    tensors = {name: t.detach().contiguous() for name, t in model.state_dict().items()}
    about = {"format": "glowkit", "format_version": FORMAT_VERSION, **to_settings(model.config)}
    write_atomically(folder / "model.safetensors", to_bytes(tensors))
    write_atomically(folder / "config.json", json.dumps(about, indent=2).encode())
    return folder


def load(folder: str | Path) -> Density:
    """Read a model that `save` wrote.

    Raises:
        GlowkitError: when the folder is missing, not ours, truncated, of a newer format version,
            or its weights do not fit its config.
    """
    folder = Path(folder)
    config = from_settings(_read_about(folder))
    tensors = _read_tensors(folder / "model.safetensors")
    # On the meta device no fresh weights are drawn only to be thrown away.
    with torch.device("meta"):
        model = build(config)
    dtypes = {t.dtype for t in tensors.values() if t.is_floating_point()}
    model = model.to(dtypes.pop() if len(dtypes) == 1 else torch.float32).to_empty(device="cpu")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise GlowkitError(
            f"the weights in {folder} do not fit its config.json; the two are not of one model"
        ) from error
    return model.eval()


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise GlowkitError(f"{folder} is not a glowkit model: it has no config.json")
    try:
        about = json.loads(path.read_text())
    except ValueError as error:
        raise GlowkitError(f"{path} is damaged: it is not JSON ({error})") from error
    if not isinstance(about, dict) or about.pop("format", None) != "glowkit":
        raise GlowkitError(f"{path} is not of a glowkit model")
    version = about.pop("format_version", None)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise GlowkitError(
            f"{path} has format version {version}, and this glowkit reads up to {FORMAT_VERSION};"
            " install a newer glowkit"
        )
    return about


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise GlowkitError(f"{path.parent} is not a whole glowkit model: it has no {path.name}")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise GlowkitError(f"{path} is truncated or damaged: {error}") from error
