"""Subjects: the same Glow in each library, as modules with `log_prob(images)` and `sample(n)`."""

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from torch import Tensor, nn

from benchmarks.case import Case
from benchmarks.subjects.ours import Ours, names_of_ours
from glowkit import GlowkitError

PEERS = {
    "normflows": "benchmarks.subjects.of_normflows",
    "nflows": "benchmarks.subjects.of_nflows",
    "FrEIA": "benchmarks.subjects.of_freia",
}
"""Other libraries, and the module here whose `Subject(case)` builds their Glow."""


class Flow(Protocol):
    """What a subject does."""

    def log_prob(self, images: Tensor) -> Tensor: ...
    def sample(self, n: int) -> Tensor: ...


def builders() -> dict[str, Callable[[Case], nn.Module]]:
    """Every subject by name: glowkit in each memory mode, then the peers.

    Raises:
        GlowkitError: when a peer is not installed.
    """
    ours = {name: lambda case, mode=mode: Ours(case, mode) for name, mode in names_of_ours()}
    return ours | {name: _peer(name) for name in PEERS}


def _peer(name: str) -> Callable[[Case], nn.Module]:
    try:
        return import_module(PEERS[name]).Subject
    except ImportError as error:
        raise GlowkitError(
            f"{name} is not installed ({error}); pip install 'glowkit[benchmark]' brings the peers"
        ) from error
