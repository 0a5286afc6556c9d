"""Data-dependent initialisation as one explicit pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from glowkit.core.checking import check_generator, check_tensor
from glowkit.core.density import Density
from glowkit.core.noise import Generator
from glowkit.system.errors import GlowkitError

SCALE_FLOOR = 1e-4
"""Smallest standard deviation that is divided by: a constant channel is scaled by at most 1e4."""


class DataDependent(Protocol):
    """A module whose first parameters come from the activations it first sees.

    `initialized` is a buffer, so that the flag is saved and a reloaded model is never initialised
    again. Ask `is_data_dependent`, not `isinstance`, which from Python 3.12 on looks at classes
    and `__dict__` alone, where torch keeps no buffer.
    """

    initialized: Tensor

    def initialize_from(self, *inputs: Any) -> None:
        """Set the parameters from one batch of the module's inputs, and set the flag."""


def is_data_dependent(module: nn.Module) -> bool:
    """Whether a module is initialised from data.

    >>> from glowkit.bijections import Actnorm, Shift
    >>> is_data_dependent(Actnorm(2)), is_data_dependent(Shift(1.0))
    (True, False)
    """
    flag, method = getattr(module, "initialized", None), getattr(module, "initialize_from", None)
    return isinstance(flag, Tensor) and callable(method)


@torch.no_grad()
def initialize(
    model: Density,
    batch: Tensor,
    context: Tensor | None = None,
    generator: Generator = None,
) -> int:
    """Initialise every data-dependent layer of a model from one batch of real data.

    One pass of `model.encode(batch)`, in which each layer sees activations that the earlier,
    just initialised layers made (Glow, section 3.1). Images are dequantized on the way, so that a
    constant pixel is not a constant activation. The pass is in training mode, whatever the model's
    own: layers are to see what they will see in training, dropout (drawn from torch's global
    generator) included. Layers that are initialised already stay as they are; the number of layers
    initialised is returned.

    Raises:
        GlowkitError: for fewer than two examples, whose statistics mean nothing.
    """
    if not isinstance(model, Density):
        raise GlowkitError(
            f"glowkit.initialize takes a density and a batch, and got {type(model).__name__} first"
        )
    # By flag: a layer that computes what another is part of shares its flag, and comes first.
    waiting: dict[int, nn.Module] = {}
    for module in model.modules():
        if is_data_dependent(module) and not module.initialized:
            waiting.setdefault(id(module.initialized), module)
    if not waiting:
        return 0
    check_tensor(batch, "the batch")
    check_generator(generator)
    if len(batch) < 2:
        raise GlowkitError(
            f"data-dependent initialisation needs at least 2 examples, not {len(batch)};"
            " give a larger batch"
        )

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if is_data_dependent(module) and not module.initialized:
            cast(DataDependent, module).initialize_from(*inputs)

    handles = [m.register_forward_pre_hook(hook) for m in waiting.values()]
    training = model.training
    try:
        model.train().encode(batch, context, generator)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return len(waiting)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Fresh weights within are those of a seed, and torch's own randomness is left as it was.

    Of the CPU alone, where weights are drawn: `torch.manual_seed` would set that of GPUs too.

    >>> with seeded(3):
    ...     one = torch.rand(2)
    >>> torch.equal(one, torch.rand(2, generator=torch.Generator().manual_seed(3)))
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased standard deviation of each channel, over batch and space, each (C,).

    x is (N, C, ...). The deviation is floored at `SCALE_FLOOR`.

    >>> mean, std = channel_statistics(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> mean.tolist(), std[0].item()
    ([2.0, 5.0], 1.0)
    """
    flat = x.transpose(0, 1).flatten(1).double()
    std, mean = torch.std_mean(flat, dim=1, correction=0)
    return mean.to(x.dtype), std.clamp_min(SCALE_FLOOR).to(x.dtype)
