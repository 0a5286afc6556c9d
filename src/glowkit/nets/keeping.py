"""Keeping what is made of parameters for as long as they keep their values."""

from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Made = TypeVar("Made")

Kept = tuple[list[Tensor], dict[Hashable, Any]]
"""Traces of parameters, and what was made of them, by name."""

FEW = 16384
"""Numbers that are compared one by one; of more, that takes longer than what is to be spared."""


class Keeping(nn.Module):
    """A module that makes something of its parameters: once, while they do not change.

    To write one: ask `kept(name, make)` for it. In evaluation mode and without gradients, the
    result is kept for as long as the parameters keep their values. The values themselves are
    looked at: a tensor's version would be cheaper, but neither torch's fused optimisers nor changes
    through `.data` raise it. In training they change with every step, and what is kept would only
    take memory.
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
        traces, made = self._kept
        now = [_trace(parameter.detach()) for parameter in _parameters(self)]
        if not _same(traces, now):
            # Both at once: another thread may be asking.
            self._kept = _, made = [trace.clone() for trace in now], {}
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


def _trace(values: Tensor) -> Tensor:
    """The values, or where they are many, sums of them that change when one of them does."""
    if values.numel() <= FEW:
        return values
    rows = values.flatten(1)
    return _factors(len(rows), values.dtype, values.device) @ rows


@lru_cache(maxsize=64)
def _factors(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers between 1 and 2, so that no change is lost and no exchange of rows goes unseen."""
    with torch.inference_mode(False):
        return 1 + torch.rand(count, generator=torch.Generator().manual_seed(0)).to(device, dtype)


def _same(before: list[Tensor], now: list[Tensor]) -> bool:
    return len(before) == len(now) and all(
        a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
        for a, b in zip(before, now, strict=True)
    )
