"""Subjects: the same Glow in each library."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module

from benchmarks.case import Case
from benchmarks.subjects.flow import Flow
from benchmarks.subjects.ours import Ours, names_of_ours
from glowkit import GlowkitError

PEERS = {
    "normflows": "benchmarks.subjects.of_normflows",
    "nflows": "benchmarks.subjects.of_nflows",
    "FrEIA": "benchmarks.subjects.of_freia",
}
"""Other libraries, and the module here whose `Subject(case)` builds their Glow."""

AUTOCAST = " + autocast"
"""After the name of a peer whose conditioners someone has put under autocast; none does it."""


def builders() -> dict[str, Callable[[Case], Flow]]:
    """Every subject by name: glowkit in each memory mode, then the peers, which have float32.

    Raises:
        GlowkitError: when a peer is not installed.
    """
    ours = {name: partial(Ours, memory=mode) for name, mode in names_of_ours()}
    return ours | {name: partial(_in_float32, _peer(name)) for name in PEERS}


def autocast_peers() -> dict[str, Callable[[Case], Flow]]:
    """The peers with their conditioners in the precision of the case; raises as `builders` does."""
    return {name + AUTOCAST: _peer(name) for name in PEERS}


def _in_float32(peer: Callable[[Case], Flow], case: Case) -> Flow:
    return peer(replace(case, precision="float32"))


def _peer(name: str) -> Callable[[Case], Flow]:
    try:
        return import_module(PEERS[name]).Subject
    except ImportError as error:
        raise GlowkitError(
            f"{name} is not installed ({error}); pip install 'glowkit[benchmark]' brings the peers"
        ) from error
