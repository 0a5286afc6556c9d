"""Keeping what is made of parameters for as long as they keep their values."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Made = TypeVar("Made")

Kept = tuple[list[Tensor], dict[Hashable, Any]]
"""Values of parameters, and what was made of them, by name."""


class Keeping(nn.Module):
    """A module that makes something of its parameters: once, while they do not change.

    To write one: ask `kept(name, make)` for it. In evaluation mode and without gradients, the
    result is kept for as long as the parameters keep their values. The values themselves are
    compared: a tensor's version would be cheaper, but torch's fused optimisers do not raise it. In
    training they change with every step, and what is kept would only take memory.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept: Kept = ([], {})

    def keeps(self) -> bool:
        """Whether results are kept now."""
        return not (self.training or torch.is_grad_enabled())

    def kept(self, name: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` returns, or returned before the parameters had other values."""
        if not self.keeps():
            return make()
        values, made = self._kept
        now = list(_parameters(self))
        if not _same(values, now):
            # Both at once: another thread may be asking.
            self._kept = _, made = [tensor.detach().clone() for tensor in now], {}
        if name not in made:
            made[name] = make()
        return made[name]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_kept": ([], {})}


def _parameters(module: nn.Module) -> Iterator[Tensor]:
    # `module.parameters()` makes up names on the way, which takes longer than the comparison.
    yield from (p for p in module._parameters.values() if p is not None)
    for child in module._modules.values():
        if child is not None:
            yield from _parameters(child)


def _same(before: list[Tensor], now: list[Tensor]) -> bool:
    return len(before) == len(now) and all(
        a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
        for a, b in zip(before, now, strict=True)
    )
