"""The parallel map: order, errors in their place, and no reading far ahead."""

import time
from itertools import count, islice

import pytest

from glowkit.data import packing as threads


def test_order_is_kept_when_early_items_are_slow():
    def work(k: int) -> int:
        time.sleep(0.02 if k == 0 else 0)
        return k * k

    assert list(threads.ordered_map(work, range(200), 200, "x")) == [k * k for k in range(200)]


def test_an_error_comes_out_at_the_place_of_its_item():
    def work(k: int) -> int:
        if k == 100:
            raise ArithmeticError
        return k

    results = threads.ordered_map(work, range(200), 200, "x")
    assert list(islice(results, 100)) == list(range(100))
    with pytest.raises(ArithmeticError):
        next(results)


def test_only_a_few_items_are_read_ahead():
    items = count()
    results = threads.ordered_map(lambda k: k, items, 1000, "x")
    assert next(results) == 0
    results.close()
    assert next(items) <= threads.AHEAD


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_goes_to_stderr_and_only_to_a_terminal(capsys, monkeypatch, terminal):
    monkeypatch.setattr(threads, "PATIENCE", 0.0)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    list(threads.ordered_map(lambda k: k, range(30), 30, "Reading images"))
    written = capsys.readouterr()
    assert written.out == ""
    assert ("Reading images" in written.err) == terminal
