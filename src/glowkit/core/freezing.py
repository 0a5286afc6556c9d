"""Frozen: what layers make of their parameters is made once, where nobody changes them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import nn

from glowkit.system.errors import GlowkitError

Method = TypeVar("Method", bound=Callable[..., Any])


def made_once(method: Method) -> Method:
    """Mark a method whose result depends on parameters, buffers and arguments alone."""
    method.made_once = True  # type: ignore[attr-defined]
    return method


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Within, inverses of matrices, scaled weights and the like are made at first use and kept.

    For many calls of `encode`, `decode` or `sample` without gradients. Whoever changes a parameter
    within gets results of the old one: leave it to train, or to load weights. It may be entered
    again, and by several threads. Cost: memory, once more the weights.

    Raises:
        GlowkitError: within, from a layer that is called with gradients enabled.

    >>> from glowkit.bijections import Conv1x1, LUMatrix
    >>> layer, x = Conv1x1(LUMatrix(3)), torch.randn(1, 3)
    >>> with torch.no_grad(), frozen(layer):
    ...     y, same = layer(x)[0], layer.matrix.inverse() is layer.matrix.inverse()
    >>> same, layer.matrix.inverse() is layer.matrix.inverse()
    (True, False)
    """
    held = []
    with _changing:
        for module in model.modules():
            own = vars(module)
            for name in _marked(type(module)):  # type: ignore[arg-type]
                if not isinstance(own.get(name), _Once):
                    own.pop(name, None)  # a copy of a frozen model has the method by itself
                    own[name] = _Once(getattr(module, name))
                    held.append((own, name))
    try:
        yield
    finally:
        with _changing:
            for own, name in held:
                del own[name]


@contextmanager
def gradients_of_inputs() -> Iterator[None]:
    """Within, a frozen model may be called with gradients enabled: none reach what it keeps.

    For a gradient with respect to x, such as a score, which parameters take no part in.
    """
    token = _of_inputs.set(True)
    try:
        yield
    finally:
        _of_inputs.reset(token)


_of_inputs = ContextVar("gradients of inputs alone", default=False)

_changing = threading.Lock()
"""Of threads that come or go together, each place is filled by one, who empties it."""


def is_frozen(module: nn.Module) -> bool:
    """Whether what the module makes is kept now."""
    return any(isinstance(value, _Once) for value in vars(module).values())


@cache
def _marked(kind: type[nn.Module]) -> list[str]:
    return [name for name in dir(kind) if hasattr(getattr(kind, name, None), "made_once")]


class _Once:
    """A method, in the place of itself, that keeps its results."""

    def __init__(self, method: MethodType) -> None:
        self.method = method
        self.made: dict[Any, Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        if torch.is_grad_enabled() and not _of_inputs.get():
            raise GlowkitError(
                "a frozen model gives no gradients: use torch.no_grad() within glowkit.frozen, or"
                " leave it to train"
            )
        if arguments not in self.made:
            with torch.no_grad():
                self.made[arguments] = self.method(*arguments)
        return self.made[arguments]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        # A copy of a model may be changed, converted for one: it is not frozen.
        return MethodType(self.method.__func__, memo[id(self.method.__self__)])
