"""Batches as a pure function of seed and step, so that a resumed run repeats itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from glowkit.core.noise import Generator, NoiseSpec, Portion, draw
from glowkit.data.levels import requantize
from glowkit.data.source import ImageSplit
from glowkit.data.table import TableSplit
from glowkit.data.toy import PointSplit
from glowkit.nets.batchnorm import BatchShare
from glowkit.system.errors import GlowkitError

# First word of each stream's seed; two purposes never share a stream.
ORDER, TRAIN_NOISE, VALIDATION_NOISE, SAMPLE_NOISE, INITIALIZATION, PERTURBATION = range(6)


def mixed_seed(*words: int) -> int:
    """A 63-bit seed from several numbers, each of which changes all of it.

    >>> mixed_seed(0, 1) != mixed_seed(1, 0)
    True
    """
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def permutation(size: int, *words: int) -> np.ndarray:
    """The order of `size` things that belongs to these numbers."""
    return np.random.default_rng(np.random.SeedSequence(words)).permutation(size)


Batch = tuple[Tensor, Tensor | None]
"""Images at the model's levels, points or rows, and the context: labels, vectors or None."""

Split = ImageSplit | PointSplit | TableSplit

Preparation = Callable[[Any], Batch]
"""Turns what a split returns into what the model takes; also the collate function."""


@dataclass(frozen=True)
class Epochs:
    """Endless batches, a pure function of the seed and the step: any step can be started from.

    Each epoch is a permutation cut into whole batches; its remainder, different in every epoch,
    is left out, so that every step weighs its images alike.
    """

    images: int
    batch_size: int
    seed: int

    @property
    def steps_an_epoch(self) -> int:
        return self.images // self.batch_size

    def from_step(self, step: int, share: BatchShare) -> Iterator[np.ndarray]:
        """This rank's indices of the batch of `step`, the one after it, and so on without end."""
        epoch, position = divmod(step, self.steps_an_epoch)
        while True:
            order = permutation(self.images, ORDER, self.seed, epoch)
            for start in range(position, self.steps_an_epoch):
                batch = order[start * self.batch_size : (start + 1) * self.batch_size]
                yield batch[share.rows]
            epoch, position = epoch + 1, 0


def plan_epochs(images: int, batch_size: int, seed: int) -> Epochs:
    """The batches of a training split; a split smaller than a batch makes one batch of it all."""
    return Epochs(images, min(batch_size, images), seed)


@dataclass(frozen=True)
class Prepare:
    """The preparation of images.

    Raises GlowkitError for labels that a class-conditional model cannot use.
    """

    from_levels: int
    to_levels: int
    classes: int

    def __call__(self, batch: tuple[Tensor, Tensor]) -> Batch:
        images, labels = batch
        images = requantize(images, self.from_levels, self.to_levels)
        if self.classes == 0:
            return images, None
        if int(labels.min()) < 0:
            raise GlowkitError(
                f"the model is conditional on {self.classes} classes, but the images have no "
                "labels; train a model without classes, or give labelled images"
            )
        if int(labels.max()) >= self.classes:
            raise GlowkitError(
                f"label {int(labels.max())} is out of range for a model of {self.classes} "
                f"classes, numbered 0 to {self.classes - 1}"
            )
        return images, labels


def take_points(points: Tensor) -> Batch:
    """The preparation of points: nothing is done to them."""
    return points, None


def take_rows(rows: Batch) -> Batch:
    """The preparation of rows of a table: nothing is done to them either."""
    return rows


@dataclass(frozen=True)
class Perturb:
    """Replaces each value of images, with a probability, by a level drawn uniformly from all.

    A model trained on such images knows their background and little of what they show: the
    mutations of Ren et al. 2019, section 3. With probability 0 it leaves x, of any kind, alone and
    draws nothing. What is drawn belongs to a step's noise, of which nothing is used up: a step that
    is captured draws its noise from the beginning.

    >>> zeros = torch.zeros(2, 1, 300, 300, dtype=torch.uint8)
    >>> mutated = Perturb(0.2, 256)(zeros, torch.Generator().manual_seed(0))
    >>> round((mutated > 0).double().mean().item(), 2), mutated.dtype
    (0.2, torch.uint8)
    """

    probability: float
    levels: int | None

    def __call__(self, x: Tensor, noise: Generator) -> Tensor:
        if not self.probability or self.levels is None:
            return x
        spec, like = NoiseSpec(tuple(x.shape[1:])), torch.zeros((), device=x.device)
        # Uniform draws made of normal ones, which are those that ranks know how to share.
        generator = _beside(noise)
        chosen, level = (
            torch.special.ndtr(draw(spec, len(x), like, generator=generator)) for _ in range(2)
        )
        drawn = (level * self.levels).floor().clamp(max=self.levels - 1)
        return torch.where(chosen < self.probability, drawn.to(x.dtype), x)


@dataclass(frozen=True)
class Jitter:
    """Adds normal noise to rows of a table, in the standard deviations of its columns.

    A small table is then not learned by heart: noise regularisation, Rothfuss et al. 2019. With
    deviation 0 it leaves x, of any kind, alone. What is drawn is beside a step's noise, as
    `Perturb` draws.

    >>> rows = Jitter(0.1, torch.tensor([100.0]))(
    ...     torch.zeros(5000, 1), torch.Generator().manual_seed(0)
    ... )
    >>> round(rows.std().item())
    10
    """

    deviation: float
    scale: Tensor | None

    def __call__(self, x: Tensor, noise: Generator) -> Tensor:
        if not self.deviation or self.scale is None:
            return x
        drawn = draw(NoiseSpec(tuple(x.shape[1:])), len(x), x, generator=_beside(noise))
        return x + self.deviation * self.scale * drawn


def _beside(noise: Generator) -> Generator:
    """A generator made of another's seed, so that neither repeats what the other draws."""
    if isinstance(noise, Portion):
        return Portion(_seeded(noise.generator), noise.rows, noise.size)
    assert isinstance(noise, torch.Generator)
    return _seeded(noise)


def _seeded(noise: torch.Generator) -> torch.Generator:
    seed = mixed_seed(PERTURBATION, noise.initial_seed())
    return torch.Generator(noise.device).manual_seed(seed)


def train_loader(
    split: Split,
    epochs: Epochs,
    prepare: Preparation,
    step: int,
    share: BatchShare,
    workers: int = 0,
) -> "DataLoader[tuple[Tensor, int]]":
    """Endless batches from `step` on. Workers read ahead without changing what is read."""
    return DataLoader(
        split,  # type: ignore[arg-type]
        batch_sampler=epochs.from_step(step, share),  # type: ignore[arg-type]
        collate_fn=prepare,
        num_workers=workers,
        worker_init_fn=_leave_interrupts_to_parent if workers else None,
        pin_memory=workers > 0 and torch.cuda.is_available(),
    )


def noise_of_step(seed: int, step: int, device: torch.device, share: BatchShare) -> Generator:
    """Seed all randomness by the step, so that a step taken again is the same.

    Of the dequantization by what is returned, of dropout by torch's own generator. Every rank draws
    for the whole batch and keeps what belongs to its examples.
    """
    seed = mixed_seed(TRAIN_NOISE, seed, step, 0)
    # Not torch.manual_seed, which takes milliseconds to seed devices that are not there.
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
    whole = torch.Generator(device).manual_seed(seed)
    return Portion(whole, share.rows, share.size) if share.ranks > 1 else whole


UNCHANGED = Perturb(0.0, None)

Noisy = tuple[Tensor, Tensor | None, torch.Generator]
"""Examples, their context, and where their noise is drawn."""


def validation_batches(
    split: Split,
    prepare: Preparation,
    batch_size: int,
    device: torch.device,
    rank: int = 0,
    ranks: int = 1,
    examples: Sequence[int] | None = None,
    perturb: Perturb = UNCHANGED,
) -> Iterator[Noisy]:
    """Every `ranks`-th batch of a split: those of all ranks are the whole split, without padding.

    examples: the numbers of those to take, in order; by default all. The noise is the same at every
    evaluation and for any number of ranks, so that their differences are the model's.
    """
    every = range(len(split)) if examples is None else examples
    for number in range(rank, -(-len(every) // batch_size), ranks):
        rows = every[number * batch_size : (number + 1) * batch_size]
        x, context = prepare(split.__getitems__(list(rows)))
        noise = torch.Generator(device).manual_seed(mixed_seed(VALIDATION_NOISE, number, 0))
        x = perturb(x.to(device), noise)
        yield x, None if context is None else context.to(device), noise


def _leave_interrupts_to_parent(worker: int) -> None:
    # Ctrl-C reaches the whole process group; workers that died of it would break the last batch.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
