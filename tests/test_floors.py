"""Imports point downward only: the floors of the package, which its imports keep.

A folder imports from lower floors and from itself. Folders of one floor do not know each other, so
that either can be read, and replaced, without the other. Imports inside functions and under
TYPE_CHECKING count too: what a module needs to be understood is what its floor is about.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "glowkit"
FLOORS = {
    "_lazy": -1,  # how packages put off their imports; imports nothing itself
    "__version__": -1,  # a name of the package itself
    "system": 0,
    "core": 1,
    "nets": 2,
    "bijections": 3,
    "densities": 3,
    "models": 4,
    "pictures": 4,
    "tasks": 5,
    "data": 5,
    "training": 6,
    "app": 7,
    "sklearn": 7,  # faces for other libraries, which train by themselves
    "sbi": 7,
    "cli": 8,  # opens models and data, and hands them to the page
    "__main__": 9,
}
LIBRARIES: dict[str, set[str]] = {"system": set(), "core": {"torch"}, "nets": {"torch"}}
"""What the lowest floors may import beside the standard library; the others, anything."""

# glowkit/__init__.py re-exports names from every floor, when they are first used.
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def imported(source: str, package: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """(line, dotted name as parts) of everything the source of a module in `package` imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = list(package[: len(package) - node.level + 1]) if node.level else []
            base = above + (node.module.split(".") if node.module else [])
            # `from glowkit import tasks` and `from glowkit.tasks import x` alike name the folder.
            yield from ((node.lineno, [*base, alias.name]) for alias in node.names)


def violations(source: str, relative: Path) -> list[str]:
    """A sentence for each import that breaks the floors; `relative` is a path inside glowkit/."""
    here = relative.parts[0].removesuffix(".py")
    if here not in FLOORS:
        return [f"{relative}: {here} stands on no floor"]
    floor, found = FLOORS[here], []
    for line, (top, *rest) in imported(source, ("glowkit", *relative.parts[:-1])):
        where = f"{relative}:{line}: {here}, on floor {floor}, imports"
        if top == "glowkit":
            folder = rest[0] if rest else "glowkit itself"
            if folder != here and FLOORS.get(folder, floor) >= floor:
                found.append(f"{where} {folder}, which is not below it")
        elif top not in (*sys.stdlib_module_names, *LIBRARIES.get(here, {top})):
            found.append(f"{where} {top}, which it must do without")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward(path: Path) -> None:
    assert violations(path.read_text(), path.relative_to(PACKAGE)) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("core/x.py", "from glowkit.nets import MLP"),
        ("core/x.py", "import numpy as np"),
        ("system/x.py", "import torch"),
        ("system/x.py", "from glowkit.core import GlowkitError"),
        ("nets/x.py", "def f():\n    from PIL import Image"),
        ("bijections/x.py", "from glowkit.densities import Split"),
        ("densities/x.py", "from ..models.glow import GlowConfig"),
        ("models/x.py", "if TYPE_CHECKING:\n    from glowkit.tasks import bits_per_dim"),
        ("models/x.py", "from glowkit import tasks"),
        ("tasks/x.py", "import glowkit.data.source"),
        ("training/x.py", "from glowkit import build"),
        ("training/x.py", "import glowkit"),
        ("app/x.py", "from glowkit.cli.common import Opened"),
        ("attic/x.py", ""),
    ],
)
def test_a_wrong_import_is_caught(file: str, source: str) -> None:
    assert len(violations(source, Path(file))) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("core/x.py", "import math\nimport torch\nfrom glowkit.system.errors import GlowkitError"),
        ("densities/x.py", "from . import priors\nfrom .priors import StandardNormal"),
        ("densities/x.py", "from ..core import Density\nfrom glowkit import nets"),
        ("nets/x.py", "import torch\nfrom glowkit.core import Bijection"),
        ("cli/x.py", "import typer\nfrom glowkit.training import RunFolder"),
        ("cli/x.py", "from glowkit.app import page"),
        ("cli.py", "from glowkit.models import load"),
    ],
)
def test_a_right_import_passes(file: str, source: str) -> None:
    assert violations(source, Path(file)) == []


def home(parts: tuple[str, ...]) -> str:
    """The file, as a dotted name, that what is imported by this name is in."""
    for end in range(len(parts), -1, -1):
        place = PACKAGE.joinpath(*parts[:end])
        if place.with_suffix(".py").exists():
            return ".".join(parts[:end])
        if place.is_dir() and end < len(parts):  # a name that a package hands on
            for _, (*where, name) in imported((place / "__init__.py").read_text(), ("glowkit",)):
                if name == parts[end] and where[0] == "glowkit":
                    return home((*where[1:], name))
    return ""


def modules_in(path: Path) -> set[str]:
    """The files of the package that a file imports, whichever way it names them."""
    package = path.relative_to(PACKAGE.parent).parent.parts
    names = (name for _, name in imported(path.read_text(), package) if name[0] == "glowkit")
    return {module for _, *rest in names if (module := home(tuple(rest)))}


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Ways from a module back to itself, one for each that is found first."""
    found, done = [], set[str]()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            found.append(way[way.index(module) :])
        elif module not in done:
            for other in sorted(imports.get(module, ())):
                visit(other, [*way, module])
            done.add(module)

    for module in sorted(imports):
        visit(module, [])
    return found


def test_there_are_no_circles() -> None:
    """Files that import each other are one file; the `__init__` of packages hand names on."""
    assert home(("core", "Bijection")) == "core.bijection"
    assert home(("tasks", "evaluation", "evaluate")) == "tasks.evaluation"
    files = [path for path in FILES if path.name != "__init__.py"]
    imports = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): modules_in(path)
        for path in files
    }
    assert circles(imports) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]
