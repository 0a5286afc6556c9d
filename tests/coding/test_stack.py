"""The stack: what is pushed comes back, and both coders make the same words."""

import numpy as np
import pytest

from glowkit.tasks.coding.stack import Constriction, Stack, Table, TooFewBits, Words


def random_symbols(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = np.exp2(rng.uniform(0, 22, count)).astype(np.int64)
    return (rng.random(count) * sizes).astype(np.int64), sizes


def tables() -> list[Table]:
    x = np.linspace(-8, 8, 1001)
    normal = np.exp(-x * x / 2)
    rng = np.random.default_rng(0)
    few = rng.random(3) ** 8 + 1e-12
    return [Table(normal / normal.sum()), Table(few / few.sum()), Table(np.array([1.0, 0.0]))]


@pytest.mark.parametrize("table", tables())
def test_shares_fill_the_whole(table: Table) -> None:
    assert table.starts[-1] == 1 << 24
    assert min(np.diff(table.starts)) >= 1


def test_symbols_come_back_and_leave_the_stack_as_it_was() -> None:
    symbols, sizes = random_symbols(0, 500)
    stack = Stack(Words([5, 6, 7]))
    before = stack.place()
    stack.push(symbols, sizes)
    stack.push_from(tables()[0], symbols % 1001)
    assert np.array_equal(stack.pop_from(tables()[0], 500), symbols % 1001)
    assert np.array_equal(stack.pop(sizes), symbols)
    assert stack.place() == before


def test_popping_first_loses_nothing() -> None:
    sizes = random_symbols(1, 300)[1]
    stack = Stack(Words(np.random.default_rng(0).integers(1, 2**32, 400)), careful=True)
    words = stack.coder.words()
    popped = stack.pop(sizes)
    stack.push(popped, sizes)
    assert np.array_equal(stack.coder.words(), words)
    assert stack.lowest < 32 * 400


def test_a_careful_stack_does_not_pop_what_it_lacks() -> None:
    stack = Stack(Words([1, 2, 3, 4]), careful=True)
    with pytest.raises(TooFewBits):
        stack.pop(np.full(100, 4))
    with pytest.raises(TooFewBits):
        stack.pop_from(tables()[0], 100)
    assert stack.bits() == 128


@pytest.mark.parametrize("seed", range(3))
def test_both_coders_make_the_same_words(seed: int) -> None:
    pytest.importorskip("constriction")
    ours, theirs = Stack(Words()), Stack(Constriction())
    for turn in range(20):
        symbols, sizes = random_symbols(100 * seed + turn, 50)
        table = tables()[turn % 3]
        some = symbols % (len(table.starts) - 1)
        for stack in (ours, theirs):
            stack.push(symbols, sizes)
            stack.push_from(table, some)
            if turn % 4 == 3:
                stack.pop(sizes[:40])
                stack.pop_from(table, 10)
        assert ours.place() == theirs.place()
        assert ours.bits() == theirs.bits()
    words = theirs.coder.words()
    assert np.array_equal(ours.coder.words(), words)
    again = Words(words)
    assert again.place() == ours.place()
    assert Constriction(words).place() == again.place()
    assert np.array_equal(
        again.decode(tables()[0], 30), Constriction(words).decode(tables()[0], 30)
    )


def test_every_symbol_of_a_table_is_the_same_to_both() -> None:
    pytest.importorskip("constriction")
    for table in tables():
        every = np.arange(len(table.starts) - 1)
        ours, theirs = Stack(Words()), Stack(Constriction())
        for stack in (ours, theirs):
            stack.push_from(table, every)
        assert ours.place() == theirs.place()
