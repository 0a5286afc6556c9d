"""From a config, or a preset's name, to a model; and from settings in a file to a config."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from functools import cache
from typing import Any

import torch

from glowkit.core import Density, GlowkitError, shown
from glowkit.models.checks import check_at_least
from glowkit.models.demand import check_buildable, check_countable
from glowkit.models.families import (
    Config,
    Family,
    family_of,
    named,
    nested_tuples,
    settings_of,
)
from glowkit.models.presets import preset


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
    settings = {**settings_of(config), **asdict(config)}
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
    values = nested_tuples(settings) if found.defined_in else dict(settings)
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


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """A config with other values of some settings; errors are those of `from_settings`.

    >>> changed(preset("glow-tiny"), {"steps": 2}).steps
    2
    """
    return config_of(family_of(config), changes, config) if changes else config
