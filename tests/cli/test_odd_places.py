"""Odd places to run in or to name: one sentence and exit code 2, or a quiet end; no traceback."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import glowkit
from cli.conftest import Cli
from glowkit.cli import main as program
from glowkit.core import GlowkitWarning


def shell(
    command: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`glowkit` stands for the command line; bash for its redirections."""
    python = f"{sys.executable} -m glowkit"
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", command.replace("glowkit", python, 1)],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("buffered", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "not"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_full_output_gets_a_sentence(buffered: dict[str, str]) -> None:
    outcome = shell("glowkit data >/dev/full", **buffered)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("glowkit: cannot ")
    assert "no space left" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_closed_output_gets_a_sentence() -> None:
    outcome = shell("glowkit data >&-")
    assert outcome.returncode == 2
    assert outcome.stderr == (
        "glowkit: standard output is closed; send it to a file, or to /dev/null\n"
    )


def test_closed_errors_stay_out_of_the_output() -> None:
    outcome = shell("glowkit evaluate nowhere 2>&-")
    assert outcome.returncode == 2
    assert outcome.stdout == f"glowkit {glowkit.__version__}: evaluate nowhere\n"


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    outcome = shell("glowkit data | true; echo ${PIPESTATUS[0]}")
    assert outcome.stdout in ("0\n", "1\n")  # all may be written before the reader is gone
    assert outcome.stderr == ""


def test_a_terminal_of_few_letters(tmp_path: Path) -> None:
    outcome = shell("glowkit data nowhere-é", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert outcome.returncode == 2
    assert "nowhere-\\xe9" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_deleted_working_folder(tmp_path: Path) -> None:
    outcome = shell("mkdir gone; cd gone; rmdir ../gone; glowkit data digits", tmp_path)
    assert outcome.returncode == 2
    assert outcome.stderr.endswith(
        "glowkit: the current folder does not exist any more; go to another\n"
    )
    assert "Traceback" not in outcome.stderr


LONG = "a" * 300

NAMES = {
    "model": "evaluate {name}",
    "data": "train {name} --epochs 1 --out {files}/new",
    "config": "train digits --config {name} --out {files}/new",
    "run": "train digits --epochs 1 --out {name}",
    "image": "reconstruct {run} {name}",
    "latents": "decode {run} {name}",
    "labels": "attributes {run} {files}/good --labels {name}",
    "checkpoint": "import {name} --format openai --out {files}/new",
    "sheet": "sample {run} --out {name}.png",
    "array": "sample {run} --out {name}.npz",
}


@pytest.mark.parametrize("case", NAMES)
def test_a_name_too_long_gets_a_sentence(cli: Cli, files: Path, run: Path, case: str) -> None:
    outcome = cli(*NAMES[case].format(files=files, run=run, name=LONG).split())
    assert outcome.code == 2
    assert outcome.err.startswith("glowkit: ")
    assert outcome.err.count("\n") == 1


READING = [case for case in NAMES if case not in ("run", "sheet", "array")]


@pytest.mark.parametrize("case", READING)
def test_a_pipe_or_a_folder_in_place_of_a_file(cli: Cli, files: Path, run: Path, case: str) -> None:
    os.mkfifo(files / "pipe")
    for name in (files / "pipe", files / "empty"):
        outcome = cli(*NAMES[case].format(files=files, run=run, name=name).split())
        assert outcome.code == 2
        assert outcome.err.startswith("glowkit: ")
        assert outcome.err.count("\n") == 1


def test_full_memory_gets_a_sentence(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import glowkit.models

    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    monkeypatch.setattr(glowkit.models, "load", full)
    outcome = cli("sample", run)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "not enough memory" in outcome.err


def test_warnings_of_ours_are_notes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def table(*_: object, **__: object) -> None:
        for _ in range(2):
            warnings.warn("this is old", GlowkitWarning, stacklevel=1)

    monkeypatch.setattr(sys.modules["glowkit.cli.main"], "commands", lambda: table)
    assert callable(program)
    assert cli("data").err == "note: this is old\n"
