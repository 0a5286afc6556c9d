"""Save and load a model: config.json and model.safetensors, no pickle."""

import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from glowkit.core import Density, GlowkitError, GlowkitWarning, shown
from glowkit.core.finite import not_finite
from glowkit.models.checks import check_against_file
from glowkit.models.families import Config, from_settings, outline, to_settings
from glowkit.models.hub import local
from glowkit.system.files import parse_json, read_small, write_atomically

FORMAT_VERSION = 1

_METADATA = "glowkit"
"""Its name in the weights' file: JSON of a checksum and the settings. All that is needed to tell
damage stands in that one file, so that a kill between the two never makes a model unreadable; and
under one name, since safetensors orders several at random."""

_PERMUTATIONS = ("indices", "indices_inverse", "permutation")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
_DTYPES |= {"F64": torch.float64, "I64": torch.int64, "BOOL": torch.bool}


def save(model: Density, folder: str | Path) -> Path:
    """Write a model's config and weights, with a checksum, into a folder; returns the folder.

    Each file is written under another name, synced and renamed, so that what was there before
    survives a full disk or a kill.

    A density made by hand has no config: whoever loads its weights makes it again.

    Raises:
        GlowkitError: when a weight is NaN or infinite, or when the folder cannot be written.
    """
    folder = Path(folder)
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    broken = _broken(tensors)
    if broken:
        raise GlowkitError(
            f"the model is not saved, because it is damaged: {broken}; what was in {folder} is"
            " untouched"
        )
    about = {"format": "glowkit", "format_version": FORMAT_VERSION, **to_settings(model.config)}
    settings = json.dumps(about)
    metadata = json.dumps({"sha256": _digest(tensors, settings), "settings": settings})
    write_atomically(folder / "model.safetensors", to_bytes(tensors, {_METADATA: metadata}))
    write_atomically(folder / "config.json", json.dumps(about, indent=2).encode())
    return folder


def load(folder: str | Path, into: Density | None = None) -> Density:
    """Read a model that `save` wrote, from its own folder or from that of the run it is in.

    folder: or "hf:USER/NAME" or "hf:USER/NAME@REVISION", a model on the Hugging Face Hub, which is
    fetched once (`pip install 'glowkit[hf]'`). Only JSON and safetensors are read: no code is run.
    into: where the weights go, and what is returned: a density made as the one that was saved, for
    those that no config made.

    Warns (GlowkitWarning) of a model written before weights had a checksum: nobody can tell whether
    it is as it was written.

    Raises:
        GlowkitError: when the folder is missing, not ours, truncated, of a newer format version,
            when its weights do not fit its config, the density given, or their checksum, when one
            is NaN or infinite, when its density was made by hand and none is given, or when what is
            on the Hub cannot be fetched.
    """
    folder = model_folder(local(folder))
    config = from_settings(_read_about(folder / "config.json"))
    if config is None and into is None:
        raise GlowkitError(
            f"{folder} holds the weights of a density made by hand, which no settings describe:"
            " make it again, and give it to glowkit.load(folder, into=density)"
        )
    path = folder / "model.safetensors"
    tensors, metadata = _read_tensors(path, config)
    _check_digest(path, tensors, metadata, config)
    model = outline(config) if into is None else into
    _check_fit(path, tensors, model.state_dict(), into is not None)
    _check_values(path, tensors)
    dtypes = {t.dtype for t in tensors.values() if t.is_floating_point()}
    model = model.to(dtypes.pop() if len(dtypes) == 1 else torch.float32)
    model = model.to_empty(device="cpu") if model.anchor.is_meta else model
    model.load_state_dict(tensors)
    return model.eval()


def model_folder(folder: Path) -> Path:
    """The folder of the model's files: `folder` itself, or `model/` in that of a run.

    Raises:
        GlowkitError: when it is neither.
    """
    if os.path.isfile(folder / "config.json"):
        return folder
    if os.path.isfile(folder / "model" / "config.json"):
        return folder / "model"
    if os.path.isfile(folder / "config.yaml"):
        if not os.path.isdir(folder / "model"):
            raise GlowkitError(f"{folder} holds no model yet; train it until its first evaluation")
        folder = folder / "model"
    if not os.path.isdir(folder):
        what = "not a folder" if os.path.exists(folder) else "no such folder"
        raise GlowkitError(f"{folder} is {what}; give that of a run or of a model")
    raise GlowkitError(f"{folder} is not a glowkit model or run: it has no config.json")


def _read_about(path: Path) -> dict[str, Any]:
    try:
        about = parse_json(read_small(path))
    except GlowkitError:
        raise
    except ValueError as error:
        raise GlowkitError(f"{path} is damaged: it is not JSON ({error})") from error
    return _checked(path, about)


def _checked(path: Path, about: object) -> dict[str, Any]:
    """The settings alone, after what says that they are ours."""
    if not isinstance(about, dict) or about.pop("format", None) != "glowkit":
        raise GlowkitError(f"{path} is not of a glowkit model")
    version = about.pop("format_version", None)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise GlowkitError(f"{path} is damaged: its format version is {shown(version)}")
    if version > FORMAT_VERSION:
        raise GlowkitError(
            f"{path} has format version {shown(version)}, and this glowkit reads up to"
            f" {FORMAT_VERSION}; install a newer glowkit"
        )
    return about


def _read_tensors(path: Path, config: Config) -> tuple[dict[str, Tensor], dict[str, str] | None]:
    if not os.path.isfile(path):
        raise GlowkitError(f"{path.parent} is not a whole glowkit model: it has no {path.name}")
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            slices = [file.get_slice(name) for name in names]
            numbers = sum(torch.Size(part.get_shape()).numel() for part in slices)
            if config is not None:
                check_against_file(config, len(names), numbers, str(path.parent))
            for name, part in zip(names, slices, strict=True):
                if part.get_dtype() not in _DTYPES:
                    raise GlowkitError(f"{path} is damaged: {shown(name)} is {part.get_dtype()}")
            return {name: file.get_tensor(name) for name in names}, file.metadata()
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GlowkitError(f"{path} is truncated or damaged: {reason}") from error


def _check_digest(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None, config: Config
) -> None:
    if not metadata:
        warnings.warn(
            f"{path} has no checksum, as models of older versions have none: damage to it would not"
            " be seen; glowkit.save writes one",
            GlowkitWarning,
            stacklevel=4,
        )
        return
    try:
        held = parse_json(metadata.get(_METADATA, "{}"))
        digest, settings = str(held["sha256"]), str(held["settings"])
    except (ValueError, LookupError, TypeError) as error:
        raise GlowkitError(
            f"{path} is damaged: it has lost its checksum; use another copy"
        ) from error
    if digest != _digest(tensors, settings):
        raise GlowkitError(
            f"{path} is damaged: it holds other weights than those that its checksum was written"
            " with; use another copy, or train again"
        )
    try:
        written = from_settings(_checked(path, parse_json(settings)))
    except ValueError as error:
        raise GlowkitError(f"{path} is damaged: its settings cannot be read ({error})") from error
    if written != config:
        raise GlowkitError(
            f"the weights in {path.parent} do not fit its config.json, which was damaged or changed"
            " after they were written; restore it, or build a model of other settings and save it"
        )


def _digest(tensors: Mapping[str, Tensor], settings: str) -> str:
    """Of everything that makes the model: names, types, shapes and bytes of tensors; settings."""
    digest = hashlib.sha256(settings.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse, by name, values that no model has, whatever its settings."""
    wrong = _broken(tensors) or next(_wrong_numbers(tensors), None)
    if wrong:
        raise GlowkitError(f"{path} is damaged: {wrong}; use another copy, or an earlier model")


def _broken(tensors: Mapping[str, Tensor]) -> str | None:
    names = not_finite(tensors)
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"tensor {names[0]}{more} holds NaN or infinity" if names else None


def _wrong_numbers(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    for name, tensor in tensors.items():
        prefix, _, last = name.rpartition(".")
        if tensor.dtype == torch.bool and bool((tensor.view(torch.uint8) > 1).any()):
            yield f"tensor {name} is neither true nor false"
        if tensor.dtype != torch.int64:
            continue
        if last in _PERMUTATIONS and tensor.sort().values.tolist() != list(range(len(tensor))):
            yield f"tensor {name} is no permutation"
        cells = tensors.get(f"{prefix}.kept")
        if last == "free" and cells is not None:
            free = (cells.flatten() == 0).nonzero()[:, 0]
            if not torch.equal(free, tensor):
                yield f"tensor {name} does not hold the cells that {prefix}.kept leaves free"


def _check_fit(
    path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], given: bool
) -> None:
    """Refuse, before memory is given to it, a model that these are not the weights of."""
    for name, tensor in wanted.items():
        found = tensors.get(name)
        fits = (
            found is not None
            and found.shape == tensor.shape
            and (found.dtype in _FLOATS if tensor.dtype in _FLOATS else found.dtype == tensor.dtype)
        )
        if not fits:
            break
    else:
        if len(wanted) == len(tensors):
            return
        name = next(name for name in tensors if name not in wanted)
    what = "the density given" if given else "its config.json"
    raise GlowkitError(
        f"the weights in {path.parent} do not fit {what}: {shown(name)} is missing, of another"
        " shape or too much; the two are not of one model"
    )
