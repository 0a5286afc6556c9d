"""Names that are imported when they are first used (PEP 562), so that torch is not loaded early."""

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_names(package: str, file: str) -> Callable[[str], Any]:
    """A module's `__getattr__`, for the names that it imports under TYPE_CHECKING alone.

    They are read in its own source, so that they stand there once, where type checkers look too.
    """
    blocks = [node for node in ast.parse(Path(file).read_bytes()).body if isinstance(node, ast.If)]
    home_of = {
        alias.name: node.module
        for node in blocks[0].body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home_of[name]), name)

    return get
