"""One batch over several processes: what a layer must know that looks at all of it."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class BatchShare:
    """This process's examples of a batch of `size`: `rows` of it, of which `own` count.

    Process `rank` of `ranks` has every `ranks`-th example. Where there are more processes than
    examples, one without any takes the first, so that it takes part in every step, and counts it
    for nothing. group: of the processes, for sums over the batch; None when there is but one.

    >>> share = BatchShare(size=5, rank=1, ranks=2)
    >>> list(range(5))[share.rows], share.own
    ([1, 3], 2)
    >>> BatchShare(size=1, rank=1, ranks=2).own
    0
    """

    size: int
    rank: int = 0
    ranks: int = 1
    group: Any = None

    @property
    def own(self) -> int:
        return len(range(self.rank, self.size, self.ranks))

    @property
    def rows(self) -> slice:
        return slice(self.rank, None, self.ranks) if self.own else slice(0, 1)

    @property
    def weight(self) -> float:
        """Of this process's mean in the mean over processes, which is then the batch's mean."""
        return self.own * self.ranks / self.size

    def sum(self, x: Tensor) -> Tensor:
        """The sum of what each process gives; gradients come back to all of them."""
        return x if self.group is None else _Sum.apply(x, self.group)


class SharesBatch(nn.Module):
    """A layer that looks at a whole batch in training. share: None where its input is all of it."""

    share: BatchShare | None = None


def share_batch(model: nn.Module, share: BatchShare) -> None:
    """Tell the layers of a model that their inputs are a share of a batch, from now on."""
    for module in model.modules():
        if isinstance(module, SharesBatch):
            module.share = share


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        # A sum again, and through the same node: differentiable as often as anybody likes.
        return _Sum.apply(grad, ctx.group), None
