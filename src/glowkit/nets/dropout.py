"""Dropout whose draws belong to the place of an example in its batch."""

import torch
from torch import Tensor, nn

from glowkit.nets.sharing import SharesBatch


class Dropout(SharesBatch, nn.Dropout):
    """`nn.Dropout`, which for a share of a batch draws for the whole of it.

    So several processes that share a batch, and one generator's seed, drop what one would drop.

    >>> from glowkit.nets.sharing import BatchShare
    >>> drop, x = Dropout(0.5), torch.ones(4, 3)
    >>> _, whole = torch.manual_seed(0), drop(x)
    >>> drop.share = BatchShare(4, rank=1, ranks=2)
    >>> _, half = torch.manual_seed(0), drop(x[1::2])
    >>> torch.equal(whole[1::2], half)
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.share is None or not self.training or self.p == 0:
            return super().forward(x)
        keep = x.new_empty((self.share.size, *x.shape[1:]))
        if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
            keep = keep.to(memory_format=torch.channels_last)
        keep = keep.bernoulli_(1 - self.p)[self.share.rows]
        return x * keep.div_(1 - self.p)
