"""Random streams that depend only on what they are for, so that a resumed run repeats itself."""

import numpy as np

# First word of each stream's seed; two purposes never share a stream.
ORDER, TRAIN_NOISE, VALIDATION_NOISE, SAMPLE_NOISE, INITIALIZATION = range(5)


def mixed_seed(*words: int) -> int:
    """A 63-bit seed from several numbers, each of which changes all of it.

    >>> mixed_seed(0, 1) != mixed_seed(1, 0)
    True
    """
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def permutation(size: int, *words: int) -> np.ndarray:
    """The order of `size` things that belongs to these numbers."""
    return np.random.default_rng(np.random.SeedSequence(words)).permutation(size)
