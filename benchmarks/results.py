"""RESULTS.json: raw measurements by section, with what made them."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.subjects import PEERS
from glowkit import GlowkitError
from glowkit.system.files import write_atomically


def environment() -> dict[str, str]:
    """Versions, and what the processor can do as torch sees it."""
    return {
        "python": platform.python_version(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        **{name: _version(name) for name in ("torch", "glowkit", *PEERS)},
    }


def read_results(path: Path) -> dict[str, Any]:
    """The sections of a results file.

    Raises:
        GlowkitError: when it is missing or not such a file.
    """
    try:
        results = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise GlowkitError(f"cannot read results from {path}: {error}") from error
    if not isinstance(results, dict):
        raise GlowkitError(f"{path} does not hold results of python -m benchmarks")
    return results


def add_section(path: Path, name: str, command: str, seconds: float, rows: Any) -> None:
    """Put one section into a results file, in place of an older one of the same name."""
    results = read_results(path) if path.exists() else {}
    results[name] = {
        "command": command,
        "seconds": seconds,
        "environment": environment(),
        "rows": rows,
    }
    write_atomically(path, json.dumps(results, indent=1).encode())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
