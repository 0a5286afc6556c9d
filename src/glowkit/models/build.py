"""From a config, or a preset's name, to a model; and from settings in a file to a config."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import cache
from typing import Any

import torch

from glowkit.core import Density, GlowkitError, shown
from glowkit.models.checks import check_choice
from glowkit.models.demand import check_buildable, check_countable
from glowkit.models.flowpp import FlowPPConfig, build_flowpp
from glowkit.models.glow import GlowConfig, build_glow
from glowkit.models.nice import NICEConfig, build_nice
from glowkit.models.points import PointsConfig, build_points
from glowkit.models.presets import Config, preset
from glowkit.models.realnvp import RealNVPConfig, build_realnvp

FAMILIES: dict[str, tuple[type[Config], Callable[[Any], Density]]] = {
    "flowpp": (FlowPPConfig, build_flowpp),
    "glow": (GlowConfig, build_glow),
    "nice": (NICEConfig, build_nice),
    "points": (PointsConfig, build_points),
    "realnvp": (RealNVPConfig, build_realnvp),
}
"""Each family's name in files, its config, and its recipe."""


def build(config: Config | str) -> Density:
    """Build a model with fresh weights from a config or a preset's name.

    The model must see data once, `glowkit.initialize(model, images)`, before it is used. It is in
    evaluation mode, as a loaded one is; `model.train()` is for training. Its `config` is kept as
    `model.config`.

    Raises:
        GlowkitError: when there is no such preset, when this is no config of ours, or when the
            model would need more memory than there is.

    >>> model = build(GlowConfig((1, 8, 8), levels=1, steps=1, width=8))
    >>> model.noise_specs()[0].shape
    (4, 4, 4)
    """
    config = preset(config) if isinstance(config, str) else config
    recipe = FAMILIES[_family(config)][1]
    check_countable(config)
    if torch.get_default_device().type != "meta":
        check_buildable(config, lambda: count_parameters(config))
    model = recipe(config).eval()
    model.config = config
    return model


@cache
def count_parameters(config: Config | str) -> int:
    """Number of trainable parameters, without allocating any."""
    config = preset(config) if isinstance(config, str) else config
    with torch.device("meta"):
        return sum(p.numel() for p in build(config).parameters())


def to_settings(config: Config) -> dict[str, Any]:
    """A config as plain settings for a file; `from_settings` undoes it."""
    return {"family": _family(config), **asdict(config)}


def _family(config: object) -> str:
    for name, (kind, _) in FAMILIES.items():
        if type(config) is kind:
            return name
    known = ", ".join(kind.__name__ for kind, _ in FAMILIES.values())
    raise GlowkitError(
        f"a {type(config).__name__} is not the config of a model; give a preset's name, or one of"
        f" {known}"
    )


def from_settings(settings: Mapping[str, Any]) -> Config:
    """The config that `to_settings` wrote, or that a person wrote by hand.

    Raises:
        GlowkitError: for an unknown family, an unknown or missing setting, or a wrong value.
    """
    family = settings.get("family")
    check_choice("family", family, FAMILIES)
    assert isinstance(family, str)
    kind = FAMILIES[family][0]
    known = [field.name for field in fields(kind)]
    rest = {name: value for name, value in settings.items() if name != "family"}
    for name in rest:
        if name not in known:
            raise GlowkitError(f"{family} has no setting {shown(name)}; it has {', '.join(known)}")
    try:
        return kind(**rest)
    except TypeError as error:
        raise GlowkitError(f"these settings do not make a {family}: {error}") from error
