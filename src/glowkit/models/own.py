"""A user's own Python file, of families or of an integrand: run once, when it is named."""

import os
import sys
import traceback
import zlib
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from glowkit.core import GlowkitError, shown
from glowkit.models.families import Family, registered


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
    file = _file(path, "FILE.py, or FILE.py:CONFIG to train")
    _run(path, file)
    found = [one for one in registered() if one.file == str(file)]
    if not found:
        raise GlowkitError(
            f"{path} registers no family; put @glowkit.family(NAME, CONFIG) before the function"
            " that builds its model"
        )
    return found


def function_of(text: str) -> Callable[..., Any]:
    """The function that FILE.py:FUNCTION names, from the file, whose code is run.

    What goes wrong in the function later is a GlowkitError too, with the line of the file.

    Raises GlowkitError for a file that cannot be run, or has no such function.
    """
    path, _, name = ("", "", "") if text.endswith(".py") else text.rpartition(":")
    if not name:
        raise GlowkitError(f"{text} does not say which function; give FILE.py:FUNCTION")
    file = _file(path, "FILE.py:FUNCTION")
    module = _run(path, file)
    function = getattr(module, name, None)
    if not callable(function):
        own = [each for each, value in vars(module).items() if isinstance(value, FunctionType)]
        has = f"; it has {', '.join(own[:10])}" if own else " or any other"
        raise GlowkitError(f"{path} has no function {shown(name)}{has}")

    def guarded(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            raise GlowkitError(f"{text} fails: {_said(error, file)}") from error

    return guarded


def _file(path: str | Path, wanted: str) -> Path:
    file = Path(os.path.realpath(os.path.expanduser(path)))
    if file.suffix != ".py" or not os.path.isfile(file):
        raise GlowkitError(f"{path} is no Python file; give {wanted}")
    return file


def _run(path: str | Path, file: Path) -> ModuleType:
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
    return sys.modules[name]


def _said(error: BaseException, file: Path) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    said = str(error) if isinstance(error, GlowkitError) else f"{type(error).__name__}: {error}"
    return said + (f" (line {line})" if line else "")
