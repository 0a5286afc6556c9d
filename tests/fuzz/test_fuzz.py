"""Nothing but a sentence leaves a reader, whatever happened to the file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fuzz.kinds import KINDS

FILES = int(os.environ.get("GLOWKIT_FUZZ", "60"))
"""Damaged files of each kind; each is made of its kind and number, the same everywhere."""

Outcomes = dict[str, dict[str, Any]]


def fuzz(first: int, count: int) -> Outcomes:
    """What the worker says of every kind; a kind that ended the process is not among them."""
    tests = Path(__file__).parents[1]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tests), *sys.path]),
        "OMP_NUM_THREADS": "1",
    }
    worker = subprocess.run(
        [sys.executable, "-m", "fuzz.worker", "--first", str(first), "--count", str(count)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    outcomes = map(json.loads, worker.stdout.splitlines())
    return {outcome["kind"]: outcome for outcome in outcomes}


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    return fuzz(0, FILES)


@pytest.fixture(scope="module")
def more_outcomes() -> Outcomes:
    return fuzz(FILES, 700)


def check(outcome: dict[str, Any] | None) -> None:
    assert outcome is not None, "the process ended"
    assert not outcome["failures"], "\n".join(outcome["failures"])
    assert outcome["read"] + outcome["refused"] == outcome["files"]


@pytest.mark.parametrize("kind", KINDS)
def test_damage_gets_a_sentence(outcomes: Outcomes, kind: str) -> None:
    check(outcomes.get(kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_more_damage_gets_a_sentence(more_outcomes: Outcomes, kind: str) -> None:
    check(more_outcomes.get(kind))
