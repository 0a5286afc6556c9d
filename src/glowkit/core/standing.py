"""Standing in: the tensors of a module as they were when it was called."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Slots = list[tuple[dict[str, Any], str]]
"""Where a tensor stands, by dictionary and name: in several modules, if it is shared."""


def places(module: nn.Module) -> dict[Tensor, Slots]:
    """Where each parameter and buffer of a module stands.

    What is evaluated again in a backward pass must see those of the first time: in between,
    `torch.func.functional_call` may have put others there, and taken them away.
    """
    found: dict[Tensor, Slots] = {}
    for part in module.modules():
        for home in (part._parameters, part._buffers):
            for name, tensor in home.items():
                if tensor is not None:
                    found.setdefault(tensor, []).append((home, name))
    return found


@contextmanager
def standing_in(slots: Iterable[Slots], tensors: Iterable[Tensor]) -> Iterator[None]:
    """As `torch.func.functional_call` does it, but without a walk through the modules each time."""
    pairs = list(zip(slots, tensors, strict=True))
    before = [(home, name, home[name]) for each, _ in pairs for home, name in each]
    try:
        for each, tensor in pairs:
            for home, name in each:
                home[name] = tensor
        yield
    finally:
        for home, name, tensor in before:
            home[name] = tensor


@contextmanager
def untransformed() -> Iterator[None]:
    """Outside of all transforms of `torch.func`, for what is evaluated again as it was there.

    A gradient that is taken under `torch.vmap` runs the backward pass of a graph from outside.
    """
    if not torch._C._are_functorch_transforms_active():
        yield
        return
    from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

    with temporarily_clear_interpreter_stack():
        yield
