"""State that follows training: what moves once a step, in one visible place, and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class FollowsOutput(nn.Module):
    """A module whose buffers follow what its forward passes give in training."""

    def follow(self, *output: Any) -> None:
        """Move towards one output of `forward`, a tuple's parts one by one."""
        raise NotImplementedError


class FollowsWeights(nn.Module):
    """A module whose buffers follow its own weights as training changes these."""

    def follow_weights(self) -> None:
        """Move towards what belongs to the present weights."""
        raise NotImplementedError


@contextmanager
def following(model: nn.Module) -> Iterator[None]:
    """Let the state of a model follow the forward passes of this block, where it is in training.

    What follows weights moves once, on entry: a pass that is evaluated again (checkpointed
    activations) sees the same. What follows outputs moves after each forward pass: leave the block
    before the backward pass, which evaluates some again, and these are not counted twice.
    `forward` itself stays pure, in training too.

    >>> from glowkit.nets import RunningMoments
    >>> moments, x = RunningMoments(1).train(), torch.tensor([[1.0], [3.0]])
    >>> with following(moments):
    ...     _ = moments(x)
    >>> round(moments.mean.item(), 4)
    0.2
    """

    def follow(module: nn.Module, inputs: Any, output: Any) -> None:
        assert isinstance(module, FollowsOutput)
        if module.training:
            module.follow(*(output if isinstance(output, tuple) else (output,)))

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, FollowsWeights) and module.training:
                module.follow_weights()
    handles = [
        module.register_forward_hook(follow)
        for module in model.modules()
        if isinstance(module, FollowsOutput)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


following_moments = following
"""The name from when running moments alone followed; it is public, so code that has it may stay."""
