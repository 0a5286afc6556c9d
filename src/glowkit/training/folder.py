"""The run folder: where everything lies, and config.yaml, which says how to run it again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from glowkit.core.errors import GlowkitError
from glowkit.core.files import write_atomically
from glowkit.models.build import from_settings, to_settings
from glowkit.models.presets import Config
from glowkit.training.config import TrainConfig, train_config_from

_FORMAT = 1
_SECTIONS = ("data", "model", "training")


@dataclass(frozen=True)
class RunSettings:
    """What config.yaml holds. data: the arguments of `open_source`, among them "spec".

    class_names: of the classes of a conditional model, in order.
    """

    data: dict[str, Any]
    model: Config
    training: TrainConfig
    class_names: tuple[str, ...] = ()


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
    model: Config,
    training: TrainConfig,
    class_names: Sequence[str] = (),
) -> None:
    """Write config.yaml, making the folder when there is none."""
    settings = {
        "format": _FORMAT,
        "data": dict(data),
        "model": to_settings(model),
        "training": asdict(training),
    }
    if model.classes:
        settings["class_names"] = list(class_names)
    text = yaml.safe_dump(settings, sort_keys=False)
    write_atomically(RunFolder(run).config, text.encode())


def read_run(run: str | Path) -> RunSettings:
    """The settings of the run in a folder.

    Raises GlowkitError when the folder is not a run, or its config.yaml is damaged or too new.
    """
    path = RunFolder(Path(run)).config
    if not path.is_file():
        raise GlowkitError(f"{run} is not a run folder: it has no {path.name}")
    return read_settings(path)


def read_settings(path: Path) -> RunSettings:
    """The settings in a config.yaml, wherever it lies.

    Raises GlowkitError when it is missing, damaged or too new.
    """
    if not path.is_file():
        raise GlowkitError(f"no such config file: {path}")
    try:
        settings = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GlowkitError(
            f"{path} is damaged and cannot be read as YAML; restore it, or start a new run"
        ) from error
    if not isinstance(settings, dict) or not isinstance(settings.get("format"), int):
        raise GlowkitError(f"{path} was not written by glowkit, or is damaged: it names no format")
    if settings["format"] > _FORMAT:
        raise GlowkitError(f"{path} was written by a newer glowkit; upgrade glowkit to use it")
    for section in _SECTIONS:
        if not isinstance(settings.get(section), dict):
            raise GlowkitError(
                f"{path} is truncated or damaged: section {section!r} is missing; "
                "restore it, or start a new run"
            )
    unknown = settings["data"].keys() - {"spec", "size", "channels", "skip_bad"}
    if "spec" not in settings["data"] or unknown:
        raise GlowkitError(
            f"{path}: section 'data' needs spec, and may have size, channels and skip_bad"
            + (f", but not {', '.join(sorted(map(str, unknown)))}" if unknown else "")
        )
    try:
        return RunSettings(
            settings["data"],
            from_settings(settings["model"]),
            train_config_from(settings["training"]),
            tuple(map(str, settings.get("class_names") or ())),
        )
    except GlowkitError as error:
        raise GlowkitError(f"{path}: {error}") from error
