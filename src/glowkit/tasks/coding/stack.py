"""The stack of bits: asymmetric numeral systems, in Rust where `constriction` is installed.

What is pushed last is popped first. Popping a symbol of n equally likely ones from a stack, and
pushing it again, leaves the stack as it was: that is how bits go in and come back.

Source: Duda 2013 (rANS); the coder and its layout are those of constriction's `AnsCoder`, a state
of 64 bits and words of 32, with probabilities of 24 bits. `Words` is the same in Python, to the
last word, so that no file depends on a package to be read.
"""

from bisect import bisect_right
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from glowkit.tasks.coding.functions import Integers, Reals

PRECISION = 24
_WHOLE = 1 << PRECISION
LARGEST = 1 << 22
"""Symbols of one kind at most: more would take a visible share of the 24 bits."""

_SPARE = 64
"""Bits that stay on a stack: below, what is popped would not be what is pushed."""


class Unfit(Exception):
    """What is coded is out of the range of the integers used; the encoder codes it plainly."""


class TooFewBits(Unfit):
    """The stack does not hold the bits that are popped."""


class Table:
    """The frequencies of a distribution of symbols 0, 1, ... : whole shares of 2^24, each ≥ 1.

    That of the last symbol is at least 2, which `model` needs.
    """

    def __init__(self, probabilities: Reals) -> None:
        shares = np.floor(probabilities * (_WHOLE - len(probabilities) - 1)).astype(np.int64) + 1
        shares[-1] += 1
        shares[int(shares.argmax())] += _WHOLE - int(shares.sum())
        self.starts: list[int] = [0, *np.cumsum(shares).tolist()]
        self.fast: Any = None

    @classmethod
    def of_starts(cls, starts: list[int]) -> "Table":
        """The table of the symbols that start there; the last number is 2^24."""
        table = cls.__new__(cls)
        table.starts, table.fast = starts, None
        return table

    def model(self) -> Any:
        """The same for constriction, which takes probabilities and makes shares of them itself.

        It gives symbol i the start i + ⌊F · (p_0 + ... + p_{i−1})⌋ with F = 2^24 − symbols; these
        sums are halves of a whole number away from where rounding could matter.
        """
        if self.fast is None:
            import constriction

            free = np.diff(np.array(self.starts, dtype=np.float64)) - 1
            free[0] += 0.5
            free[-1] -= 0.5
            shares = free / (_WHOLE - len(free))
            self.fast = constriction.stream.model.Categorical(shares, perfect=False)
        return self.fast


class Coder(Protocol):
    """What `Stack` needs of either coder."""

    def encode(self, symbols: NDArray[np.int32], sizes: NDArray[np.int32] | Table) -> None: ...

    def decode(self, sizes: NDArray[np.int32] | Table, count: int) -> NDArray[np.int32]: ...

    def bits(self) -> int: ...

    def place(self) -> tuple[int, int]: ...

    def words(self) -> NDArray[np.uint32]: ...

    def copy(self) -> "Coder": ...


class Words:
    """The coder in Python, some 40 times slower. Its words are those of constriction's."""

    def __init__(self, words: Sequence[int] = ()) -> None:
        self.bulk = [int(word) for word in words]
        self.state = 0
        for _ in range(2):
            if self.bulk:
                self.state = self.state << 32 | self.bulk.pop()

    def encode(self, symbols: NDArray[np.int32], sizes: NDArray[np.int32] | Table) -> None:
        """Push symbols, the last one first, so that `decode` gives them in order."""
        state, bulk = self.state, self.bulk
        if isinstance(sizes, Table):
            starts = sizes.starts
            pairs = [(starts[s], starts[s + 1] - starts[s]) for s in symbols.tolist()]
        else:
            pairs = []
            for symbol, size in zip(symbols.tolist(), sizes.tolist(), strict=True):
                share = _WHOLE // size
                start = symbol * share
                pairs.append((start, share if symbol < size - 1 else _WHOLE - start))
        for start, share in reversed(pairs):
            if state >> (64 - PRECISION) >= share:
                bulk.append(state & 0xFFFFFFFF)
                state >>= 32
            whole, rest = divmod(state, share)
            state = whole << PRECISION | (start + rest)
        self.state = state

    def decode(self, sizes: NDArray[np.int32] | Table, count: int) -> NDArray[np.int32]:
        """Pop symbols."""
        state, bulk, symbols = self.state, self.bulk, []
        table = sizes.starts if isinstance(sizes, Table) else None
        for size in [0] * count if isinstance(sizes, Table) else sizes.tolist():
            quantile = state & (_WHOLE - 1)
            if table is not None:
                symbol = bisect_right(table, quantile) - 1
                start, share = table[symbol], table[symbol + 1] - table[symbol]
            else:
                share = _WHOLE // size
                symbol = min(quantile // share, size - 1)
                start = symbol * share
                if symbol == size - 1:
                    share = _WHOLE - start
            state = (state >> PRECISION) * share + quantile - start
            if state < 1 << 32 and bulk:
                state = state << 32 | bulk.pop()
            symbols.append(symbol)
        self.state = state
        return np.array(symbols, dtype=np.int32)

    def bits(self) -> int:
        return 32 * len(self.words())

    def place(self) -> tuple[int, int]:
        return len(self.bulk), self.state

    def words(self) -> NDArray[np.uint32]:
        state = [self.state & 0xFFFFFFFF, self.state >> 32]
        while state and not state[-1]:
            state.pop()
        return np.array([*self.bulk, *state], dtype=np.uint32)

    def copy(self) -> "Words":
        other = Words()
        other.bulk, other.state = list(self.bulk), self.state
        return other


class Constriction:
    """The coder of the package constriction."""

    def __init__(self, words: NDArray[np.uint32] | None = None, coder: Any = None) -> None:
        import constriction

        self.uniform = constriction.stream.model.Uniform()
        if coder is None:
            given = () if words is None or not len(words) else (words,)
            coder = constriction.stream.stack.AnsCoder(*given)
        self.coder = coder

    def encode(self, symbols: NDArray[np.int32], sizes: NDArray[np.int32] | Table) -> None:
        if isinstance(sizes, Table):
            self.coder.encode_reverse(symbols, sizes.model())
        else:
            self.coder.encode_reverse(symbols, self.uniform, sizes)

    def decode(self, sizes: NDArray[np.int32] | Table, count: int) -> NDArray[np.int32]:
        if isinstance(sizes, Table):
            return self.coder.decode(sizes.model(), count)
        return self.coder.decode(self.uniform, sizes)

    def bits(self) -> int:
        return self.coder.num_bits()

    def place(self) -> tuple[int, int]:
        return self.coder.pos()

    def words(self) -> NDArray[np.uint32]:
        return self.coder.get_compressed()

    def copy(self) -> "Constriction":
        return Constriction(coder=self.coder.clone())


def fast_coder() -> bool:
    """Whether constriction is installed."""
    return find_spec("constriction") is not None


def coder_of(words: NDArray[np.uint32]) -> Coder:
    """The fastest coder that there is, holding these words."""
    return Constriction(words) if fast_coder() else Words(words.tolist())


class Stack:
    """Whole numbers are pushed onto it and popped, arrays at a time.

    Args:
        coder: `Words()` or `Constriction()`, empty or with the words of a file; the fastest there
            is by default.
        careful: refuse to pop what the stack does not hold, as an encoder must.

    lowest: the fewest bits that it has held since this was last set. chunk: how many elements
    are scaled at a time: what one chunk pushes pays for what the next one pops.

    >>> stack = Stack(Words())
    >>> stack.push(np.array([3, 1]), np.array([10, 2]))
    >>> stack.pop(np.array([10, 2])).tolist()
    [3, 1]
    """

    def __init__(self, coder: Coder | None = None, careful: bool = False) -> None:
        if coder is None:
            coder = Constriction() if fast_coder() else Words()
        self.coder = coder
        self.careful = careful
        self.lowest = self.bits()
        self.chunk = 1 << 30

    def bits(self) -> int:
        """How many bits it holds, to a word."""
        return self.coder.bits()

    def place(self) -> tuple[int, int]:
        """How many words lie beneath its state, and that: equal for equal stacks, as far as one
        look can tell.
        """
        return self.coder.place()

    def copy(self) -> "Stack":
        """Another, of the same bits."""
        other = Stack(self.coder.copy(), self.careful)
        other.chunk = self.chunk
        return other

    def push(self, symbols: Integers, sizes: Integers) -> None:
        """Push each symbol, one of 0 to its size − 1, all alike likely; one of a size 1 is free."""
        kept = sizes > 1
        if not kept.all():
            symbols, sizes = symbols[kept], sizes[kept]
        if sizes.size:
            self.coder.encode(_flat(symbols), _flat(sizes))

    def pop(self, sizes: Integers) -> Integers:
        """Pop symbols of these sizes; the shape is that of the sizes.

        Raises:
            TooFewBits: where a careful stack does not hold as many.
        """
        kept = sizes > 1
        if not kept.all():
            symbols = np.zeros(sizes.shape, np.int64)
            symbols[kept] = self.pop(sizes[kept])
            return symbols
        if not sizes.size:
            return np.zeros(sizes.shape, np.int64)
        if self.careful and self.bits() - float(np.log2(sizes).sum()) < _SPARE:
            raise TooFewBits
        found = self.coder.decode(_flat(sizes), sizes.size)
        self._note()
        return found.astype(np.int64).reshape(sizes.shape)

    def push_from(self, table: Table, symbols: Integers) -> None:
        """Push symbols of a table."""
        self.coder.encode(_flat(symbols), table)

    def pop_from(self, table: Table, count: int) -> Integers:
        """Pop so many symbols of a table, (count,).

        Raises:
            TooFewBits: where a careful stack may not hold as many.
        """
        if self.careful and self.bits() - PRECISION * count < _SPARE:
            raise TooFewBits
        symbols = self.coder.decode(table, count)
        self._note()
        return symbols.astype(np.int64)

    def _note(self) -> None:
        self.lowest = min(self.lowest, self.bits())


def _flat(values: Integers) -> NDArray[np.int32]:
    return np.ascontiguousarray(values).reshape(-1).astype(np.int32)
