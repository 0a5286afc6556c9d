"""Tests import their tables as packages below tests/. Here is what many of them are given."""

from typing import Any

import pytest

from glowkit.nets.kernels import fold, library, mixture, step


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled kernels run, on all threads, or the test is skipped, saying why there are none."""
    monkeypatch.setattr(step, "MULTIPLICATIONS", 1)
    monkeypatch.setattr(mixture, "ELEMENTS", 1)
    monkeypatch.delenv(library.SWITCH, raising=False)
    if library.loaded() is None:
        pytest.skip(f"kernels: {library.state()}")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain torch runs."""
    monkeypatch.setenv(library.SWITCH, "0")


class _Watched:
    """A library that notes what is called."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(library.whatever_switched(), name)


@pytest.fixture
def calls(kernels: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions of the library that are called, one after another."""
    made: list[str] = []
    for module in (fold, step, mixture):
        monkeypatch.setattr(module, "whatever_switched", lambda: _Watched(made))
    return made
