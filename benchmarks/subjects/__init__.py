"""Subjects: the same Glow in each library."""

from dataclasses import replace
from functools import partial
from importlib import import_module

from benchmarks.case import Case
from benchmarks.subjects.flow import Builder, Compiled, Flow
from benchmarks.subjects.ours import PREFIX, Ours, WithoutKernels, names_of_ours
from glowkit import GlowkitError

PEERS = {
    "normflows": "benchmarks.subjects.of_normflows",
    "nflows": "benchmarks.subjects.of_nflows",
    "FrEIA": "benchmarks.subjects.of_freia",
}
"""Other libraries, and the module here whose `Subject(case)` builds their Glow."""

AUTOCAST = " + autocast"
"""After the name of a peer whose conditioners someone has put under autocast; none does it."""


COMPILED = "FrEIA + compile"


def builders() -> dict[str, Builder]:
    """Every subject by name: glowkit in each memory mode, then the peers, which have float32.

    Raises:
        GlowkitError: when a peer is not installed.
    """
    return ours() | {name: partial(_in_float32, _peer(name)) for name in PEERS}


def ours() -> dict[str, Builder]:
    """glowkit in each memory mode."""
    return {name: partial(Ours, memory=mode) for name, mode in names_of_ours()}


def without_kernels() -> dict[str, Builder]:
    """glowkit as it is where no compiled kernels are to be had."""
    return {PREFIX + "without kernels": WithoutKernels}


def compiled_peer() -> dict[str, Builder]:
    """One peer under torch.compile, which takes most of a minute for every case."""
    return {COMPILED: partial(Compiled, _peer("FrEIA"))}


def autocast_peers() -> dict[str, Builder]:
    """The peers with their conditioners in the precision of the case; raises as `builders` does."""
    return {name + AUTOCAST: _peer(name) for name in PEERS}


def _in_float32(peer: Builder, case: Case) -> Flow:
    return peer(replace(case, precision="float32"))


def _peer(name: str) -> Builder:
    try:
        return import_module(PEERS[name]).Subject
    except ImportError as error:
        raise GlowkitError(
            f"{name} is not installed ({error}); pip install 'glowkit[benchmark]' brings the peers"
        ) from error
