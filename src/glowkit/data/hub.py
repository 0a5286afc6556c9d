"""Data sets by name through Hugging Face `datasets`, an optional extra."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glowkit.data.packing import Named, Wanted, facts_bad, packed_pictures, packing_notes
from glowkit.data.source import SPLIT_NAMES, Source, build_splits, complete, rows_of
from glowkit.system.errors import GlowkitError


class _Images:
    """The encoded images of several splits, one split after the other."""

    def __init__(self, name: str, column: str, parts: dict[str, Any]) -> None:
        self.name, self.column, self.parts = name, column, parts

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts.values())

    def __iter__(self) -> Iterator[Named]:
        for split, part in self.parts.items():
            for number, row in enumerate(part):
                image = row[self.column]
                yield f"{self.name}, {split}, row {number}", _data(image)


def open_hub(spec: str, wanted: Wanted) -> Source:
    """The data set "hf:NAME" or "hf:NAME:CONFIG", packed into the cache and mapped from there.

    NAME is a data set on the hub, or a local folder that `datasets` understands. Images are the
    column of type Image, labels that of type ClassLabel. Splits that are missing are taken from
    train.
    Raises GlowkitError when `datasets` is not installed, the data set cannot be reached or has
    no images, and for everything that `packed_pictures` refuses.
    """
    parts, notes = _splits(spec, _load(spec))
    features = parts["train"].features
    images = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    classes = [name for name, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    if not images:
        raise GlowkitError(f"{spec} has no column of images: it has {', '.join(features)}")
    for what, columns in (("images", images), ("labels", classes)):
        if len(columns) > 1:
            notes.append(
                f"{what} are taken from column {columns[0]}; {', '.join(columns[1:])} left out"
            )
    split_of = np.concatenate([np.full(len(part), split) for split, part in parts.items()])
    complete(rows_of(split_of), spec)  # refuse too few images before a long pass
    encoded = {split: _encoded(part, images[0]) for split, part in parts.items()}
    pack = packed_pictures(
        spec,
        # `datasets` gives every state of its data a fingerprint, but has no public name for it.
        [(split, len(part), part._fingerprint) for split, part in parts.items()],
        _Images(spec, images[0], encoded),
        wanted,
    )
    kept = np.ones(len(split_of), dtype=bool)
    kept[[one.place for one in facts_bad(pack.facts)]] = False
    rows = complete(rows_of(split_of[kept]), spec)
    labels = None
    if classes:
        labels = np.concatenate([_numbers(part, classes[0]) for part in parts.values()])[kept]
    _, c, h, w = pack.images.shape
    return Source(
        name=spec,
        splits=build_splits(pack.images, labels, rows),
        image_shape=(c, h, w),
        pixel_levels=int(pack.facts["levels"]),
        class_names=tuple(features[classes[0]].names) if classes else (),
        notes=(*packing_notes(pack.facts), *notes),
    )


def _data(image: Any) -> Path | bytes:
    """What a row holds: encoded bytes, or the path of a file; nothing where both are missing."""
    if image is None or (image["bytes"] is None and not image["path"]):
        return b""
    return image["bytes"] or Path(image["path"])


def _load(spec: str) -> Any:
    """The DatasetDict of that name."""
    try:
        import datasets
    except ImportError:
        raise GlowkitError(
            f"{spec} needs the package datasets, which is not installed: pip install 'glowkit[hf]'"
        ) from None
    name, _, config = spec.removeprefix("hf:").partition(":")
    path = os.path.expanduser(name)  # of os, since those of Path raise for what cannot exist
    try:
        return datasets.load_dataset(path if os.path.exists(path) else name, config or None)
    except ConnectionError as error:
        raise GlowkitError(
            f"{spec} cannot be reached ({_line(error)}): check the network, or give a local copy "
            "as hf:FOLDER"
        ) from None
    except Exception as error:  # a data set can fail in as many ways as there are formats
        raise GlowkitError(
            f"{spec} cannot be opened ({_line(error)}): check that it is the name of a data set, "
            "since a model is named where RUN stands; a configuration is chosen as hf:NAME:CONFIG"
        ) from None


def _splits(spec: str, loaded: Any) -> tuple[dict[str, Any], list[str]]:
    """The data set by our names of splits, and notes."""
    if len(loaded) == 1:  # whatever the only split is called, it must serve for all
        return {"train": next(iter(loaded.values()))}, []
    parts = {SPLIT_NAMES[name]: part for name, part in loaded.items() if name in SPLIT_NAMES}
    if "train" not in parts:
        raise GlowkitError(f"{spec} has no split called train: it has {', '.join(loaded)}")
    others = [name for name in loaded if name not in SPLIT_NAMES]
    return parts, [f"split(s) left out: {', '.join(others)}"] if others else []


def _encoded(part: Any, column: str) -> Any:
    """The column of images alone, as files rather than decoded."""
    import datasets

    return part.select_columns([column]).cast_column(column, datasets.Image(decode=False))


def _numbers(part: Any, column: str) -> np.ndarray:
    """Class numbers (N,) int64, -1 where there is none."""
    values = part.select_columns([column])[:][column]
    return np.array([-1 if value is None else value for value in values], dtype=np.int64)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
