"""Importing glowkit and asking for help stay quick, because nothing heavy is imported for them.

What is loaded is the same on every machine; how long it takes is not, and is not asserted.
"""

import subprocess
import sys

from glowkit.cli.main import COMMANDS

HEAVY = ("torch", "lightning", "matplotlib", "sklearn", "numpy", "PIL", "gradio")
HELP = """
import sys
from glowkit.cli import main
for line in {lines}:
    try:
        main([*line, "--help"])
    except SystemExit as exit:
        assert not exit.code, line
    loaded = [name for name in {heavy} if name in sys.modules]
    assert not loaded, (line, loaded)
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
    """That of the table and of every command, one after another in one process."""
    lines = [[], *([command.__name__.removesuffix("_")] for command in COMMANDS)]
    assert loaded_after(HELP.format(lines=lines, heavy=HEAVY)) == []


def test_a_heavy_import_is_noticed() -> None:
    assert loaded_after("import numpy") == ["numpy"]
