"""The register of families: a name, a config and a recipe each, a user's own like those here."""

import os
import re
import shlex
import sys
import traceback
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, TypeVar

from glowkit.core import Density, GlowkitError, shown
from glowkit.models.checks import check_choice

Config = Any
"""The settings of a model of any family: a frozen dataclass, which `family` has registered."""

OURS = ("flowpp", "glow", "nice", "points", "realnvp")
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
    def option(self) -> str:
        """What commands need beside the name of a run; nothing for families of this package."""
        file = self.defined_in.rpartition(":")[0]
        return f" --model {shlex.quote(file)}" if file else ""


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


def names() -> list[str]:
    """Of all families that there are."""
    return [*OURS, *sorted(found.name for found in _FAMILIES.values() if found.defined_in)]


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


def of_file(text: str) -> Family:
    """The family that FILE.py[:CONFIG] names, whose code is run.

    Raises GlowkitError for a file that cannot be run, and where it does not say which family.
    """
    whole = text.endswith(".py") or ":" not in text
    path, name = (text, "") if whole else text.rpartition(":")[::2]
    found = import_file(path)
    wanted = [one for one in found if name in ("", one.config.__name__)]
    if len(wanted) == 1:
        return wanted[0]
    choices = ", ".join(f"{path}:{one.config.__name__}" for one in found)
    what = f"has no family whose config is {name}" if name else "has several families"
    raise GlowkitError(f"{path} {what}; choose one of {choices}")


def import_file(path: str | Path) -> list[Family]:
    """Run a Python file, once a process, and return the families that it registers.

    Its folder joins the places that it can import from.

    Raises GlowkitError for what is no such file, for whatever goes wrong in it, and where it
    registers no family.
    """
    file = Path(os.path.realpath(os.path.expanduser(path)))
    if file.suffix != ".py" or not os.path.isfile(file):
        raise GlowkitError(f"{path} is no Python file; give FILE.py, or FILE.py:CONFIG to train")
    name = f"own_{file.stem}_{zlib.crc32(os.fsencode(file)):08x}"
    if name not in sys.modules:
        if str(file.parent) not in sys.path:
            sys.path.append(str(file.parent))
        spec = spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise GlowkitError(f"{path} does not run: {_said(error, file)}") from error
    found = [one for one in _FAMILIES.values() if one.defined_in.rpartition(":")[0] == str(file)]
    if not found:
        raise GlowkitError(
            f"{path} registers no family; put @glowkit.family(NAME, CONFIG) before the function"
            " that builds its model"
        )
    return found


def _said(error: BaseException, file: Path) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    said = str(error) if isinstance(error, GlowkitError) else f"{type(error).__name__}: {error}"
    return said + (f" (line {line})" if line else "")


def settings_of(config: Config) -> dict[str, Any]:
    """What files say of the family of a config, beside its settings."""
    found = family_of(config)
    return {"family": found.name} | ({"defined_in": found.defined_in} if found.defined_in else {})


def nested_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the tuples that they had before a file made lists of them."""
    return {name: _tuple(value) for name, value in values.items()}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
