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
    "core": 0,
    "nets": 0,
    "bijections": 1,
    "densities": 1,
    "models": 2,
    "tasks": 3,
    "data": 3,
    "training": 4,
    "app": 5,
    "cli": 6,  # opens models and data, and hands them to the page
    "__main__": 7,
}
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
        elif floor == 0 and top != "torch" and top not in sys.stdlib_module_names:
            found.append(f"{where} {top}; there is only torch below it")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward(path: Path) -> None:
    assert violations(path.read_text(), path.relative_to(PACKAGE)) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("core/x.py", "from glowkit.nets import MLP"),
        ("core/x.py", "import numpy as np"),
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
        ("core/x.py", "import math\nimport torch\nfrom glowkit.core.errors import GlowkitError"),
        ("densities/x.py", "from . import normal\nfrom .normal import StandardNormal"),
        ("densities/x.py", "from ..core import Density\nfrom glowkit import nets"),
        ("cli/x.py", "import typer\nfrom glowkit.training import RunFolder"),
        ("cli/x.py", "from glowkit.app import page"),
        ("cli.py", "from glowkit.models import load"),
    ],
)
def test_a_right_import_passes(file: str, source: str) -> None:
    assert violations(source, Path(file)) == []
