"""What a shell offers after TAB: runs, presets, data, attributes; nothing here imports torch.

`glowkit --install-completion` installs it for the present shell. A callback takes what has been
typed of a word and gives the words that it may become; where nothing can be read it gives none,
since a TAB is no place for an error.
"""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import typer

SPLITS = ("train", "validation", "test")
DEVICES = ("auto", "cpu", "cuda")
SOURCES = ("digits", "fashion-mnist", "emoji", "points:", "table:", "hf:")
POINTS = ("8gaussians", "checkerboard", "2spirals", "circles", "moons", "pinwheel", "rings")
TABLES = ("power", "gas", "hepmass", "miniboone", "bsds300")
RUNS = "runs"
_MOST = 200
_LARGEST = 2**20  # bytes of the head of a file of attributes

Completion = Callable[[str], list[str]]


def words(*choices: str) -> Completion:
    """Completes one of a few words.

    >>> words("train", "test")("te")
    ['test']
    """

    def complete(incomplete: str) -> list[str]:
        return _beginning(choices, incomplete)

    return complete


def presets(incomplete: str) -> list[str]:
    """The presets that can be trained by name."""
    return _beginning(_presets(), incomplete)


def data(incomplete: str) -> list[str]:
    """The kinds of DATA, the densities and tables that have names, and what lies in the folder."""
    kind, colon, rest = incomplete.partition(":")
    named = {"points": POINTS, "table": TABLES}.get(kind, ()) if colon else ()
    if named:
        return [f"{kind}:{name}" for name in _beginning(named, rest)]
    here = [word + os.sep * path.is_dir() for word, path in _entries(incomplete)]
    return _beginning(SOURCES, incomplete) + here


def runs(incomplete: str) -> list[str]:
    """Run and model folders along what was typed; for an empty word those here and in runs/."""
    if not incomplete:
        near = _entries("") + _entries(f"{RUNS}{os.sep}")
        return [word for word, path in near if _is_run(path)]
    return [
        word + ("" if _is_run(path) else os.sep)
        for word, path in _entries(incomplete)
        if path.is_dir()
    ]


def attributes(ctx: typer.Context, incomplete: str) -> list[str]:
    """NAME= of each attribute that `glowkit attributes` found in the RUN that was named before."""
    run = ctx.params.get("run")
    names = _attributes(Path(str(run)) / "attributes.safetensors") if run else []
    return [f"{name}=" for name in _beginning(names, incomplete.partition("=")[0])]


def _attributes(path: Path) -> list[str]:
    """The names in the head of the file, a length and then JSON."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            held = json.loads(file.read(min(size, _LARGEST)))
        names = json.loads(held["__metadata__"]["glowkit"])["names"]
        return [str(name) for name in names]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _presets() -> Iterable[str]:
    """Their names, from a file of plain settings, read without the package around it."""
    import runpy

    file = Path(__file__).parent.parent / "models" / "presets.py"
    return list(runpy.run_path(str(file))["SETTINGS"])


def _beginning(choices: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in choices if word.startswith(incomplete)]


def _is_run(path: Path) -> bool:
    return any(os.path.isfile(path / name) for name in ("config.yaml", "config.json"))


def _entries(incomplete: str) -> list[tuple[str, Path]]:
    """What lies where the word leads, as the word would be and as a path, nothing hidden."""
    head, _, start = incomplete.rpartition(os.sep)
    head += os.sep if os.sep in incomplete else ""
    place = Path(os.path.expanduser(head or os.curdir))
    try:
        names = sorted(os.listdir(place))
    except OSError:
        return []
    return [(head + n, place / n) for n in names if n.startswith(start) and n[0] != "."][:_MOST]
