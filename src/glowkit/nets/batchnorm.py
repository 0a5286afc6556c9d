"""Batch norm, and what a batch shared by several processes has in common."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from glowkit.nets.following import FollowsOutput


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


EPSILON = 1e-4
"""Added to every variance before its root is taken (tensorflow/models, real_nvp)."""

MOMENTUM = 0.1
"""How far running moments move towards those of each batch."""


class RunningMoments(SharesBatch, FollowsOutput):
    """Mean and biased variance of each channel: of the batch in training, running ones otherwise.

    forward: x (N, C, ...) to mean and variance, each (C,). In training, gradients flow through
    them. Evaluation uses the running ones, so that no example depends on its batch-mates; so does
    training on a batch that has fewer than two values a channel, such as a single vector, whose
    variance means nothing.

    forward never changes them, in training neither: bijections are pure, a step that is evaluated
    again (checkpointed activations) must count once, and a look at the loss must not move the
    model. They move inside `with following(model):`, which training puts around its
    forward pass. `glowkit.initialize` starts them at the first batch's moments, where the
    reference has mean 0 and variance 1. Processes that share a batch share its moments.
    Source: RealNVP, appendix E.
    """

    initialized: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        variance, mean = batch_moments(x)
        self.mean.copy_(mean)
        self.variance.copy_(variance)
        self.initialized.fill_(True)

    @torch.no_grad()
    def follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move towards a batch's moments; those that are not finite are left out."""
        for running, batch in ((self.mean, mean), (self.variance, variance)):
            running.lerp_(torch.where(batch.isfinite(), batch, running), MOMENTUM)

    def forward(self, x: Tensor, seen: float = 1.0) -> tuple[Tensor, Tensor]:
        """`seen` is the share of a channel's values that are not masked to zero."""
        if not self.training:
            return self.mean, self.variance
        share = self.share or BatchShare(len(x))
        if seen * share.size * math.prod(x.shape[2:]) < 2:
            return self.mean, self.variance
        variance, mean = shared_moments(x, share) if share.ranks > 1 else batch_moments(x)
        return mean, variance


def batch_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Biased variance and mean of each channel of x (N, C, ...), each (C,)."""
    return torch.var_mean(x, dim=[0, *range(2, x.dim())], correction=0)


def shared_moments(x: Tensor, share: BatchShare) -> tuple[Tensor, Tensor]:
    """`batch_moments` of a batch of which x is this process's share."""
    own, dims = x[: share.own], [0, *range(2, x.dim())]
    total = share.size * math.prod(x.shape[2:])
    mean = share.sum(own.sum(dims)) / total
    deviation = own - mean.view(-1, *[1] * (x.dim() - 2))
    return share.sum(deviation.square().sum(dims)) / total, mean


def squared_scale(mean: Tensor, variance: Tensor) -> Tensor:
    """What is divided by, squared: v + ε; 1 for a channel that is constant up to rounding.

    A constant channel stays one from layer to layer: divided by √ε in each, it would make gradients
    grow a hundredfold each time, until they overflow.
    """
    rounding = 8 * torch.finfo(variance.dtype).eps * mean.detach()
    return torch.where(variance <= rounding * rounding, 1.0, variance + EPSILON)


class BatchNorm(nn.Module):
    """Batch norm with a learned shift and no learned scale: (x − μ) / √(v + ε) + β.

    Shapes: (N, C, ...) to the same. A ReLU and a weight-normalised layer follow, which would undo
    a scale. Source: tensorflow/models real_nvp, `batch_norm` with `scale=False`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.moments = RunningMoments(channels)
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.moments(x)
        shape = (-1, *[1] * (x.dim() - 2))
        scale = squared_scale(mean, variance).rsqrt()
        return torch.addcmul((self.shift - mean * scale).view(shape), x, scale.view(shape))
