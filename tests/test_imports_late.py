"""Importing glowkit and asking for help stay quick, because nothing heavy is imported for them.

What is loaded is the same on every machine; how long it takes is not, and is not asserted.
"""

import subprocess
import sys

import pytest

HEAVY = ("torch", "lightning", "matplotlib", "sklearn", "numpy", "PIL", "gradio")
HELP = """
from glowkit.cli import main
try:
    main(["--help"])
except SystemExit as exit:
    assert not exit.code, exit.code
"""


def loaded_after(code: str) -> list[str]:
    """Which heavy packages a new Python has loaded once it has run the code."""
    report = f"import sys; print('LOADED', *(n for n in {HEAVY} if n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


def test_import_loads_nothing_heavy() -> None:
    assert loaded_after("import glowkit") == []


def test_help_loads_nothing_heavy() -> None:
    assert loaded_after(HELP) == []


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "evaluate",
        "sample",
        "reconstruct",
        "anomalies",
        "import",
        "encode",
        "compress",
        "interpolate",
        "edit",
        "report",
        "resonance",
        "app",
        "doctor",
        "integrate",
        "lossy",
    ],
)
def test_help_of_a_command_loads_nothing_heavy(command: str) -> None:
    assert loaded_after(HELP.replace('"--help"', f'"{command}", "--help"')) == []


def test_a_heavy_import_is_noticed() -> None:
    assert loaded_after("import numpy") == ["numpy"]
