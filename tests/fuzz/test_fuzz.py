"""Nothing but a sentence leaves a reader, whatever happened to the file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fuzz.kinds import KINDS

FILES = int(os.environ.get("GLOWKIT_FUZZ", "20"))
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


def check(first: int, count: int) -> None:
    """All kinds in one test: most of a worker's time is its start."""
    outcomes = fuzz(first, count)
    failures = [f"{kind}: the process ended" for kind in KINDS if kind not in outcomes]
    for kind, outcome in outcomes.items():
        failures += [f"{kind} {failure}" for failure in outcome["failures"]]
        assert outcome["read"] + outcome["refused"] + len(outcome["failures"]) >= count, kind
    assert not failures, "\n".join(failures)


def test_damage_gets_a_sentence() -> None:
    check(0, FILES)


@pytest.mark.slow
def test_more_damage_gets_a_sentence() -> None:
    check(FILES, 700)
