"""Families of models: their register, and the ways between a config, its settings and a model."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

import torch

from glowkit.core import Density, GlowkitError, shown
from glowkit.models.checks import (
    check_at_least,
    check_buildable,
    check_choice,
    check_countable,
)
from glowkit.models.presets import SETTINGS

Config = Any
"""The settings of a model of any family: a frozen dataclass, which `family` has registered."""

OURS = (
    *("autoregressive", "continuous", "cube", "flowpp", "glow", "jet", "nice", "points"),
    *("realnvp", "residual", "resflow"),
)
"""Those of this package, each in the module of its name, which is imported when it is asked for."""

C = TypeVar("C")
D = TypeVar("D", bound=Density)


@dataclass(frozen=True)
class Family:
    """How models of one kind are made.

    config: a frozen dataclass. build: makes a model with fresh weights of one.
    defined_in: of a user's own, FILE.py:CONFIG; empty for those of this package.
    """

    name: str
    config: type
    build: Callable[[Any], Density]
    defined_in: str = ""

    @property
    def place(self) -> str:
        """Where a model is built only to be counted or filled: "meta", where no memory is needed.

        A user's own may compute with what it builds, which that device cannot.
        """
        return "cpu" if self.defined_in else "meta"

    @property
    def file(self) -> str:
        """In which a user's own is defined; empty for those of this package."""
        return self.defined_in.rpartition(":")[0]

    @property
    def option(self) -> str:
        """What commands need beside the name of a run; nothing for families of this package."""
        return f" --model {shlex.quote(self.file)}" if self.file else ""


_FAMILIES: dict[type, Family] = {}


def family(name: str, config: type[C]) -> Callable[[Callable[[C], D]], Callable[[C], D]]:
    """Register a family: decorates the function that makes a model of a config.

    From then on `build`, `save`, `load` and every command take models of it. Registering it again,
    as a file that is imported again does, replaces it.

    Args:
        name: of the family in files and reports, such as "glow".
        config: a frozen dataclass of whole numbers, numbers, truth values, text, and tuples of
            these. A model of images has a setting `image_shape`, which follows the data; so do
            `pixel_levels` and `classes`, if there are such settings.

    Raises:
        GlowkitError: for a name that is taken, or a config that is no frozen dataclass.

    >>> from glowkit.densities import StandardNormal
    >>> @dataclass(frozen=True)
    ... class NoiseConfig:
    ...     size: int = 2
    >>> @family("noise", NoiseConfig)
    ... def build_noise(config: NoiseConfig) -> StandardNormal:
    ...     return StandardNormal((config.size,))
    >>> named("noise").config is NoiseConfig
    True
    """
    _check(name, config)

    def register(recipe: Callable[[C], D]) -> Callable[[C], D]:
        here = recipe.__module__ == f"{__package__}.{name}"
        defined_in = "" if here else f"{_file_of(recipe)}:{config.__qualname__}"
        taken = next((other for other in _FAMILIES.values() if other.name == name), None)
        if (name in OURS and not here) or (taken and taken.defined_in != defined_in):
            raise GlowkitError(
                f"there is a family {name!r} already"
                + (f", in {taken.defined_in}" if taken and taken.defined_in else "")
                + "; choose another name"
            )
        if taken:
            del _FAMILIES[taken.config]
        _FAMILIES[config] = Family(name, config, recipe, defined_in)
        return recipe

    return register


def _check(name: str, config: type) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,40}", name):
        raise GlowkitError(f"a family cannot be called {shown(name)}; use letters, digits and -")
    frozen = is_dataclass(config) and getattr(config, "__dataclass_params__").frozen  # noqa: B009
    if not isinstance(config, type) or not frozen:
        raise GlowkitError(
            f"the config of family {name!r} must be a class with @dataclass(frozen=True), and is"
            f" {shown(config)}"
        )
    for field in fields(config):
        if field.name in ("family", "defined_in"):
            raise GlowkitError(f"a setting cannot be called {field.name!r}; choose another name")


def _file_of(recipe: object) -> str:
    module = str(getattr(recipe, "__module__", ""))
    file = getattr(sys.modules.get(module), "__file__", None)
    return os.path.realpath(file) if file else module  # what is typed in has no file


def family_of(config: object) -> Family:
    """The family of a config. Raises GlowkitError where none is registered."""
    found = _FAMILIES.get(type(config))
    if found is not None:
        return found
    kinds = sorted(named(name).config.__name__ for name in names())
    raise GlowkitError(
        f"a {type(config).__name__} is not the config of a model; give a preset's name, or one of"
        f" {', '.join(kinds)}; a config of your own needs glowkit.family first"
    )


def registered() -> list[Family]:
    """The families of users that there are."""
    return [found for found in _FAMILIES.values() if found.defined_in]


def names() -> list[str]:
    """Of all families that there are."""
    return [*OURS, *sorted(found.name for found in registered())]


def named(name: object, defined_in: object = None) -> Family:
    """The family of this name. A file never has code run: its user imports what it names.

    defined_in: what a file says of where a user's own was defined.

    Raises GlowkitError where there is none.
    """
    if isinstance(name, str) and name in OURS:
        import_module(f"{__package__}.{name}")
    for found in _FAMILIES.values():
        if found.name == name:
            return found
    if isinstance(name, str) and isinstance(defined_in, str):
        raise GlowkitError(
            f"family {shown(name)} is of a user's own file, {defined_in[:200]}, which is never run"
            " unasked: import it first, or on the command line give it with --model FILE.py"
        )
    check_choice("family", name, names())
    raise AssertionError(name)


def build(config: Config | str) -> Density:
    """Build a model with fresh weights from a config or a preset's name.

    The model must see data once, `glowkit.initialize(model, images)`, before it is used. It is in
    evaluation mode, as a loaded one is; `model.train()` is for training. Its `config` is kept as
    `model.config`.

    Raises:
        GlowkitError: when there is no such preset, when this is no config of a family, or when the
            model would need more memory than there is.

    >>> from glowkit.models.glow import GlowConfig
    >>> model = build(GlowConfig((1, 8, 8), levels=1, steps=1, width=8))
    >>> model.noise_specs()[0].shape
    (4, 4, 4)
    """
    config = preset(config) if isinstance(config, str) else config
    found = family_of(config)
    check_countable(config)
    if torch.get_default_device().type != "meta":
        check_buildable(config, lambda: count_parameters(config))
    model = found.build(config)
    if not isinstance(model, Density):
        raise GlowkitError(
            f"family {found.name!r} made a {type(model).__name__} of its config, and not a Density"
        )
    model.config = config
    return model.eval()


def outline(config: Config) -> Density:
    """A model that is only asked for its names and shapes, or filled.

    On the meta device, where the family allows it: no weights are drawn only to be thrown away.
    """
    with torch.random.fork_rng(devices=[]), torch.device(family_of(config).place):
        return build(config)


@cache
def count_parameters(config: Config | str) -> int:
    """Number of trainable parameters, for families of this package without allocating any."""
    config = preset(config) if isinstance(config, str) else config
    return sum(p.numel() for p in outline(config).parameters())


BY_HAND = {"family": None}
"""The settings of a density that no config made."""


def to_settings(config: Config | None) -> dict[str, Any]:
    """A config as plain settings for a file; `from_settings` undoes it. None is one made by hand.

    Raises:
        GlowkitError: for what is no config of a family, or holds what no file can.
    """
    if config is None:
        return dict(BY_HAND)
    found = family_of(config)
    about = {"family": found.name} | ({"defined_in": found.defined_in} if found.defined_in else {})
    settings = {**about, **asdict(config)}
    try:
        json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise GlowkitError(
            f"the settings of a {type(config).__name__} cannot be written to a file ({error}); use"
            " finite numbers, text, truth values and tuples of these"
        ) from error
    return settings


def from_settings(settings: Mapping[str, Any]) -> Config | None:
    """The config that `to_settings` wrote, or that a person wrote by hand.

    Raises:
        GlowkitError: for an unknown family, an unknown or missing setting, or a wrong value.
    """
    if settings == BY_HAND:
        return None
    found = named(settings.get("family"), settings.get("defined_in"))
    about = ("family", "defined_in") if found.defined_in else ("family",)
    rest = {name: value for name, value in settings.items() if name not in about}
    return config_of(found, rest)


def config_of(found: Family, settings: Mapping[str, Any], start: Config | None = None) -> Config:
    """The config of these settings, others being as in `start` or as they come.

    Raises:
        GlowkitError: for an unknown or missing setting, or a wrong value.
    """
    known = [field.name for field in fields(found.config)]
    for name in settings:
        if name not in known:
            raise GlowkitError(
                f"{found.name} has no setting {shown(name)}; it has {', '.join(known)}"
            )
    values = dict(settings)
    if found.defined_in:  # a file made lists of the tuples that they had
        values = {name: _tuple(value) for name, value in values.items()}
    try:
        config = found.config(**values) if start is None else replace(start, **values)
        if found.defined_in:
            check_at_least(config)
            hash(config)
    except GlowkitError:
        raise
    except (TypeError, ValueError) as error:
        raise GlowkitError(f"these settings do not make a {found.name}: {error}") from error
    return config


class _Presets(Mapping[str, Config]):
    """Configs by the names of their presets, each made, and so checked, when it is asked for."""

    def __getitem__(self, name: str) -> Config:
        return from_settings(SETTINGS[name])

    def __iter__(self) -> Iterator[str]:
        return iter(SETTINGS)

    def __len__(self) -> int:
        return len(SETTINGS)


PRESETS: Mapping[str, Config] = _Presets()


def preset(name: str) -> Config:
    """The config of a preset.

    Raises:
        GlowkitError: when there is none of that name.

    >>> preset("nice-mnist").depth
    5
    """
    if name not in PRESETS:
        raise GlowkitError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """A config with other values of some settings; errors are those of `from_settings`.

    >>> changed(preset("glow-tiny"), {"steps": 2}).steps
    2
    """
    return config_of(family_of(config), changes, config) if changes else config


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
