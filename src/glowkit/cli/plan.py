"""What a train command asks for, made of a preset or a config file and the options given."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from glowkit.system.errors import GlowkitError, shown

if TYPE_CHECKING:
    from glowkit.data import AnySource, Source, TableSource
    from glowkit.models.families import Config, Family
    from glowkit.training import RunSettings, TrainConfig


class Defaults(NamedTuple):
    """How data are trained on where the options do not say otherwise.

    closest: minutes between evaluations, at the least.
    """

    preset: str
    minutes: float
    closest: float
    training: dict[str, Any]

    def completed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of training where some are given."""
        chosen = self.training | dict(given)
        if not given.keys() & {"epochs", "minutes"}:
            chosen["minutes"] = self.minutes
        if "minutes" in chosen and "evaluate_every" not in given:
            # An epoch can be a second or an hour: twenty evaluations a run, and not too close.
            chosen["evaluate_every"] = max(self.closest, chosen["minutes"] / 20)
        return chosen


def defaults_of(spec: str) -> Defaults:
    """Those of points, of a table, or of images."""
    from glowkit.data.table import is_table
    from glowkit.models import DEFAULT_POINTS_PRESET, DEFAULT_PRESET, DEFAULT_TABLE_PRESET

    if spec.startswith("points:"):
        own = {"batch_size": 512, "learning_rate": 5e-3}
        return Defaults(DEFAULT_POINTS_PRESET, 2.0, 0.1, own)
    if is_table(spec):
        own = {"batch_size": 256, "learning_rate": 2e-3, "weight_decay": 0.1, "clip_norm": 5.0}
        return Defaults(DEFAULT_TABLE_PRESET, 2.0, 0.05, own)
    return Defaults(DEFAULT_PRESET, 10.0, 0.25, {})


@dataclass(frozen=True)
class Request:
    """The options of `glowkit train`; None is for what was not given."""

    source: str | None
    preset: str | None
    own: str | None
    config: Path | None
    settings: Sequence[str]
    conditional: bool
    training: Mapping[str, Any]
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Planned:
    """Data to open, how to train, and the model, which follows the data unless it is `fixed`.

    model: what its settings start from; None for a user's own, which start as their class has them.
    """

    name: str
    preset: str | None
    data: dict[str, Any]
    training: "TrainConfig"
    family: "Family"
    model: "Config | None"
    fixed: bool
    conditional: bool
    settings: Mapping[str, Any]

    @property
    def levels(self) -> int | None:
        """The pixel levels that the data are to have, None where the model follows them."""
        levels = self.settings.get("pixel_levels")
        if self.fixed:
            levels = getattr(self.model, "pixel_levels", None)
        return levels if isinstance(levels, int) and not isinstance(levels, bool) else None

    def model_for(self, source: "AnySource") -> "Config":
        """The model's config, fitted to images or a table; points and models of them stay."""
        from glowkit.data import Source, TableSource
        from glowkit.models.families import config_of

        known = {field.name for field in fields(self.family.config)}
        settings = dict(self.settings)
        if isinstance(source, Source) and "image_shape" in known and not self.fixed:
            settings = self._fitted(known, source) | settings
        elif self.conditional:
            instead = "; --target or --context names columns" * isinstance(source, TableSource)
            raise GlowkitError(
                f"{source.things} have no class labels; leave out --conditional{instead}"
            )
        elif isinstance(source, TableSource) and not self.fixed:
            settings = self._fitted_to_table(known, source) | settings
        return config_of(self.family, settings, self.model)

    def _fitted_to_table(self, known: set[str], source: "TableSource") -> dict[str, Any]:
        if source.context_columns and "context_features" not in known:
            raise GlowkitError(
                f"{self.family.name} has no setting context_features, and so takes no context;"
                " leave out --target and --context"
            )
        fitted = {
            "dimensions": len(source.columns),
            "context_features": len(source.context_columns),
            "preprocessing": "standardize",
        }
        # Other families may call other things preprocessing.
        return {n: v for n, v in fitted.items() if n in known and "dimensions" in known}

    def _fitted(self, known: set[str], source: "Source") -> dict[str, Any]:
        start = {
            field.name: field.default if self.model is None else getattr(self.model, field.name)
            for field in fields(self.family.config)
        }
        levels, classes = start.get("pixel_levels"), start.get("classes", 0)
        fitted: dict[str, Any] = {"image_shape": source.image_shape}
        # A preset for fewer levels, such as 5 bits, keeps them where they divide the data's.
        if not isinstance(levels, int) or levels < 1 or source.pixel_levels % levels:
            fitted["pixel_levels"] = source.pixel_levels
        if self.conditional or (classes and classes is not MISSING):
            if not source.class_names:
                raise GlowkitError(
                    f"{source.name} has no class labels, which a conditional model needs; name"
                    " classes by sub-folders or a labels array, or train without classes"
                )
            if "classes" not in known:
                raise GlowkitError(
                    f"{self.family.name} has no setting classes, and so no class conditions; leave"
                    " out --conditional"
                )
            fitted["classes"] = len(source.class_names)
            # A preset with classes says itself what they reach; some families take none anywhere.
            if not classes and "conditioning" in known:
                fitted["conditioning"] = "everywhere"
        return {name: value for name, value in fitted.items() if name in known}


def plan(request: Request, resumed: Path | None) -> Planned:
    """Combine preset or config file with the options given; of a resumed run, only the budget.

    Raises GlowkitError for options that contradict each other or do not exist.
    """
    from glowkit.models import changed, preset
    from glowkit.models.families import family_of
    from glowkit.models.own import of_file
    from glowkit.training import TrainConfig

    given = {name: value for name, value in request.training.items() if value is not None}
    data = {name: value for name, value in request.data.items() if value is not None}
    if request.own and request.preset:
        raise GlowkitError("--preset and --model both say which model; leave one of them out")
    own = of_file(request.own) if request.own else None
    start = _start(request, resumed)
    if start is None:
        if request.source is None:
            raise GlowkitError("name the DATA to train on, for example: glowkit train digits")
        usual = defaults_of(request.source)
        config = None if own else preset(request.preset or usual.preset)
        name = own.name if own else request.preset or usual.preset
        if "epochs" in given and "whole_evaluations" in given:
            raise GlowkitError(
                "under a budget in epochs all evaluations are whole: leave out --whole-evaluations"
            )
        return Planned(
            f"{_word(request.source)}-{name}",
            None if own else name,
            {"spec": absolute(request.source), **data},
            TrainConfig(**usual.completed(given)),
            own or family_of(config),
            config,
            False,
            request.conditional,
            parse_settings(request.settings),
        )
    if start.model is None:
        raise GlowkitError(
            "this run is of a density made by hand, which no command can make again: go on with it"
            " in Python, by glowkit.training.train(source, density, ..., resume=True)"
        )
    if resumed is not None:
        _refuse_changes(request, start.data["spec"], given, data)
    if given.keys() & {"epochs", "minutes"}:
        given = {"epochs": None, "minutes": None} | given
    spec = absolute(request.source) if request.source else start.data["spec"]
    old = start.data if spec == start.data["spec"] else {}
    model = changed(start.model, parse_settings(request.settings))
    return Planned(
        f"{_word(spec)}-{request.config.stem if request.config else 'resumed'}",
        None,
        {**old, "spec": spec, **data},
        replace(start.training, **given),
        family_of(model),
        model,
        True,
        False,
        {},
    )


def absolute(spec: str) -> str:
    """DATA with its path made absolute, so that a run is of use from any folder.

    >>> absolute("digits")
    'digits'
    """
    kind, _, rest = spec.partition(":")
    if spec == "digits" or kind == "points" or not spec:
        return spec
    if spec.startswith("table:"):
        name, _, folder = rest.partition(":")
        return f"table:{name}:{_real(folder or 'data')}"
    if kind in ("fashion-mnist", "emoji", "hf"):
        return f"{kind}:{_real(rest)}" if rest and _exists(rest) else spec
    if _exists(spec):
        return _real(spec)
    file, colon, member = spec.rpartition(":")
    return f"{_real(file)}:{member}" if colon and _exists(file) else spec


def _exists(name: str) -> bool:
    # Of os, here and below, because those of Path raise for names that cannot be.
    return os.path.exists(os.path.expanduser(name))


def _real(name: str) -> str:
    return os.path.realpath(os.path.expanduser(name))


def _refuse_changes(
    request: Request, spec: str, given: Mapping[str, Any], data: Mapping[str, Any]
) -> None:
    """A resumed run repeats its steps exactly: only its budget and evaluations can change."""
    kept = [name for name in given if name not in ("epochs", "minutes", "evaluate_every")]
    kept += [*data]
    if kept:
        options = ", ".join("--" + name.replace("_", "-") for name in kept)
        raise GlowkitError(f"a resumed run keeps its settings: leave out {options}")
    if request.source is not None and absolute(request.source) != spec:
        raise GlowkitError(f"this run is on {spec}, not {request.source}; leave DATA out to resume")


def free_folder(name: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on where that is taken: no run is overwritten."""
    folder, number = Path("runs") / name, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


def _start(request: Request, resumed: Path | None) -> "RunSettings | None":
    from glowkit.training import read_run, read_settings

    if resumed is not None:
        if request.preset or request.config or request.settings or request.conditional:
            raise GlowkitError(
                "a resumed run keeps its model: leave out --preset, --config, --set and"
                " --conditional"
            )
        return read_run(resumed)
    if request.config is None:
        return None
    if request.preset or request.conditional:
        raise GlowkitError("--config already says which model; leave out --preset, --conditional")
    return read_settings(request.config)


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """What --set gives, by the names of the settings. Raises GlowkitError."""
    from glowkit.training.run import parse_yaml

    parsed = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise GlowkitError(f"--set takes NAME=VALUE, such as steps=16, not {shown(setting)}")
        if name in parsed:
            raise GlowkitError(f"--set {name} is given twice; leave one of them out")
        try:
            parsed[name] = parse_yaml(value)
        except ValueError as error:
            raise GlowkitError(f"--set {name}: {shown(value)} is not a value") from error
    return parsed


def _word(spec: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", Path(spec).name or "data").strip("-") or "data"
