"""A run: the folder it lives in, who writes there, and the settings it keeps."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from glowkit.models.families import Config, from_settings, to_settings
from glowkit.system.errors import GlowkitError, shown
from glowkit.system.files import check_plain, read_small, remove_abandoned, write_atomically
from glowkit.system.locks import Lock
from glowkit.tasks.lossy.settings import LossySettings, lossy_settings_from
from glowkit.training.config import TrainConfig, train_config_from


class _Loader(yaml.SafeLoader):
    """Refuses a name given twice, of which YAML's own loaders take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            raise yaml.constructor.ConstructorError(None, None, "a name is given twice")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, made of text, numbers, lists and names alone.

    Raises ValueError, in one line, for what is no YAML, holds other objects, gives a name twice, or
    holds more, directly or by references, than settings do.

    >>> parse_yaml("steps: 8")
    {'steps': 8}
    """
    try:
        found = yaml.load(text, _Loader)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        # PyYAML lets through what its conversions of numbers and dates stumble over.
        raise ValueError(" ".join(str(error).split())[:200] or "it is no YAML") from error
    check_plain(found)
    return found


_FORMAT = 1
_SECTIONS = ("data", "model", "training")


@dataclass(frozen=True)
class RunSettings:
    """What config.yaml holds. data: the arguments of `open_source`, among them "spec".

    model: its config, None for a density made by hand. class_names: of the classes of a
    conditional model, in order. columns, context_columns: of the table that a run is of.
    lossy: of a run that was trained for coding with loss.
    """

    data: dict[str, Any]
    model: Config | None
    training: TrainConfig
    class_names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    context_columns: tuple[str, ...] = ()
    lossy: LossySettings | None = None

    @property
    def only(self) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """Of a table: what `open_source` finds its columns by, whatever their order in a file."""
        return (self.columns, self.context_columns) if self.columns else None


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    def samples(self, step: int) -> Path:
        return self.path / "samples" / f"step-{step:07d}.png"

    def all_samples(self) -> list[Path]:
        """The pictures that `samples` named and that are there, in order."""
        return sorted((self.path / "samples").glob("step-*.png"))

    @property
    def animation(self) -> Path:
        return self.path / "samples" / "training.gif"


def write_settings(
    run: Path,
    data: Mapping[str, Any],
    model: Config | None,
    training: TrainConfig,
    class_names: Sequence[str] = (),
    columns: Sequence[str] = (),
    context_columns: Sequence[str] = (),
    lossy: LossySettings | None = None,
) -> None:
    """Write config.yaml, making the folder when there is none."""
    settings = {
        "format": _FORMAT,
        "data": dict(data),
        "model": to_settings(model),
        "training": asdict(training),
    }
    lists = {"class_names": class_names, "columns": columns, "context_columns": context_columns}
    settings |= {name: list(names) for name, names in lists.items() if names}
    settings |= {"lossy": asdict(lossy)} if lossy else {}
    text = yaml.safe_dump(settings, sort_keys=False)
    write_atomically(RunFolder(run).config, text.encode())


def read_run(run: str | Path) -> RunSettings:
    """The settings of the run in a folder.

    Raises GlowkitError when the folder is not a run, or its config.yaml is damaged or too new.
    """
    path = RunFolder(Path(run)).config
    if not os.path.isfile(path):
        raise GlowkitError(f"{run} is not a run folder: it has no {path.name}")
    return read_settings(path)


def read_settings(path: Path) -> RunSettings:
    """The settings in a config.yaml, wherever it lies.

    Raises GlowkitError when it is missing, damaged or too new.
    """
    if not os.path.isfile(path):
        raise GlowkitError(f"no such config file: {path}")
    text = read_small(path)
    try:
        settings = parse_yaml(text)
    except ValueError as error:
        raise GlowkitError(
            f"{path} is damaged and cannot be read as YAML ({error}); restore it, or start a new"
            " run"
        ) from error
    format = settings.get("format") if isinstance(settings, dict) else None
    if not isinstance(format, int) or isinstance(format, bool) or format < 1:
        raise GlowkitError(f"{path} was not written by glowkit, or is damaged: it names no format")
    if format > _FORMAT:
        raise GlowkitError(f"{path} was written by a newer glowkit; upgrade glowkit to use it")
    for section in _SECTIONS:
        if not isinstance(settings.get(section), dict):
            raise GlowkitError(
                f"{path} is truncated or damaged: section {section!r} is missing; "
                "restore it, or start a new run"
            )
    try:
        return RunSettings(
            _data_of(settings["data"]),
            from_settings(settings["model"]),
            train_config_from(settings["training"]),
            _names_of(settings, "class_names"),
            _names_of(settings, "columns"),
            _names_of(settings, "context_columns"),
            lossy_settings_from(settings.get("lossy")),
        )
    except GlowkitError as error:
        raise GlowkitError(f"{path}: {error}") from error


_DATA: dict[str, type] = {
    "spec": str,
    "size": int,
    "channels": int,
    "skip_bad": bool,
    "target": str,
    "context": str,
}
"""The arguments of `open_source`, all but the first of which may be None or missing."""


def _data_of(data: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(data.keys() - _DATA.keys())
    if "spec" not in data or unknown:
        raise GlowkitError(
            f"section 'data' needs spec, and may have {', '.join([*_DATA][1:])}"
            + (f", but not {shown(', '.join(unknown))}" if unknown else "")
        )
    for name, value in data.items():
        if type(value) is not _DATA[name] and (value is not None or name == "spec"):
            raise GlowkitError(f"{name} of section 'data' is {shown(value)}, which it cannot be")
    return data


def _names_of(settings: dict[str, Any], name: str) -> tuple[str, ...]:
    names = settings.get(name)
    if names is None:
        return ()
    if not isinstance(names, list) or not all(isinstance(n, str | int | float) for n in names):
        raise GlowkitError(f"{name} is {shown(names)}, which is no list of names")
    return tuple(map(str, names))


@contextmanager
def sentences(path: Path) -> Iterator[None]:
    """Turns a full disk or a forbidden folder into one sentence that says what to do."""
    try:
        yield
    except OSError as error:
        raise GlowkitError(
            f"cannot write {path}: {error.strerror or error}; what was saved before is intact: "
            "make room or allow writing there, then resume the run"
        ) from error


@contextmanager
def only_trainer(folder: RunFolder) -> Iterator[Lock]:
    """Hold the lock of a run, so that nobody else trains into it; rank 0 does, for all ranks.

    Makes the folder if there is none, and removes it again, with the parents that were made for it,
    if the block leaves it empty. What killed processes left half-written in it is removed. Other
    commands need no lock: they replace whole files.

    Raises GlowkitError, naming the process that holds the lock.
    """
    path = folder.path
    lock = Lock(path / ".lock")
    made = [parent for parent in path.parents if not parent.exists()]
    with sentences(path):
        path.mkdir(parents=True, exist_ok=True)
        holder = lock.take()
    if holder is not None:
        raise GlowkitError(
            f"{path} is being trained by {holder}; wait for it, stop it, or choose another folder"
            " with --out"
        )
    try:
        for part in (path, folder.model, folder.checkpoint.parent, folder.samples(0).parent):
            remove_abandoned(part)
        yield lock
    finally:
        lock.give_back()
        with suppress(OSError):
            for empty in (path, *made):
                empty.rmdir()


def check_run(folder: RunFolder, model: Config, resume: bool) -> None:
    """Refuse to overwrite a run, or to resume what is not one or has another model."""
    if resume:
        if read_run(folder.path).model != model:
            raise GlowkitError(
                f"{folder.path} is a run of another model than the one asked for; resume it with "
                "the settings in its config.yaml, or start a new run elsewhere"
            )
    elif folder.config.exists():
        raise GlowkitError(
            f"{folder.path} already holds a run; resume it with --resume, or choose another "
            "folder with --out"
        )
