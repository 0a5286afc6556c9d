"""glowkit doctor, and --no-kernels: which kernels run, and that they can be left out."""

import inspect
import json
import os
from pathlib import Path

import pytest

import glowkit
from cli.conftest import Cli
from glowkit.cli import doctor as module
from glowkit.cli.main import COMMANDS
from glowkit.nets.kernels import library


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small step, and an environment that is put back."""
    monkeypatch.setenv("GLOWKIT_KERNELS", "1")
    for name, value in {"BATCH": 2, "SHAPE": (1, 8, 8), "WIDTH": 4, "STEPS": 1}.items():
        monkeypatch.setattr(module, name, value)


def test_it_says_what_there_is(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "file").write_bytes(bytes(3 << 20))
    library.loaded()  # before there is a cache of this test
    monkeypatch.setenv("GLOWKIT_CACHE", str(tmp_path))
    outcome = cli("doctor")
    assert outcome.code == 0, outcome.err
    for word in (glowkit.__version__, str(library.state()), f"{tmp_path}, 3.0 MiB", "plain torch"):
        assert word in outcome.out
    assert os.environ["GLOWKIT_KERNELS"] == "1"


def test_with_kernels_the_step_is_timed_both_ways(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = json.loads(cli("doctor", "--json").out)
    state = library.state()
    assert said["kernels_reason"] == state.reason
    assert (said["step_ms"] is None) == (state.reason is not None)
    monkeypatch.setattr(library, "_find", lambda: library._Found(None, library.State(reason="so")))
    monkeypatch.setattr(library, "_found", None)
    said = json.loads(cli("doctor", "--json").out)
    assert (said["kernels"], said["kernels_reason"], said["step_ms"]) == (None, "so", None)
    assert said["plain_step_ms"] > 0


def test_kernels_can_be_left_out(cli: Cli) -> None:
    outcome = cli("doctor", "--no-kernels")
    assert "none, plain torch runs: switched off" in outcome.out
    assert "with kernels" not in outcome.out


def test_without_a_home_there_is_no_cache(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    library.loaded()
    monkeypatch.setenv("GLOWKIT_CACHE", "~nobody-of-this-name/cache")
    assert "no home folder" in cli("doctor").out
    assert json.loads(cli("doctor", "--json").out)["cache"] is None


def test_a_command_that_computes_can_do_without_kernels(cli: Cli, run: Path) -> None:
    for command in COMMANDS:
        options = inspect.signature(command).parameters
        assert ("device" in options) <= ("plain" in options), command.__name__
    assert cli("evaluate", run, "--no-kernels").code == 0
    assert library.switched_off()
    assert library.loaded() is None
