"""The figures of a share of batches, all of them or as many as there is time for."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from glowkit.core.density import Density
from glowkit.core.freezing import frozen
from glowkit.training.batches import Noisy
from glowkit.training.objective import Objective, objective_of


class Rounds:
    """A rank's batches until `enough`, which is asked between rounds of a batch a rank.

    most: rounds that there are, the last of which may have no batch for this rank: every rank asks
    as often as the others. done: rounds begun.
    """

    def __init__(self, batches: Iterable[Noisy], most: int, enough: Callable[[], bool]) -> None:
        self.batches = batches
        self.most = most
        self.enough = enough
        self.done = 0

    def __iter__(self) -> Iterator[Noisy]:
        batches = iter(self.batches)
        while self.done < self.most and not (self.done and self.enough()):
            self.done += 1
            batch = next(batches, None)
            if batch is not None:
                yield batch


@torch.no_grad()
def share_of_figures(
    model: Density,
    batches: Iterable[Noisy],
    stop: Callable[[], bool] = lambda: False,
    subject: Objective | None = None,
) -> Tensor | None:
    """Sum of the figure and number of examples of the batches, float64; None if stopped."""
    figure_of_each = (subject or objective_of(model)).each
    total = torch.zeros(2, dtype=torch.float64)
    with frozen(model):
        for x, context, noise in batches:
            if stop():
                return None
            each = figure_of_each(model, x, context, noise)
            total += torch.stack([each.cpu().double().sum(), torch.tensor(float(len(each)))])
    return total
