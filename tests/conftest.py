"""Tests import their tables as packages below tests/. Here is what many of them are given."""

import pytest

from glowkit.nets.kernels import library


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled kernels run, or the test is skipped, saying why there are none."""
    monkeypatch.delenv(library.SWITCH, raising=False)
    if library.loaded() is None:
        pytest.skip(f"kernels: {library.state()}")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain torch runs."""
    monkeypatch.setenv(library.SWITCH, "0")
