"""Chain: bijections one after another, how their activations are kept, and a map turned around."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.checkpoint import checkpoint

from glowkit.core.bijection import Bijection, transformed
from glowkit.core.reversible import places, rebuilt, standing_in, untransformed
from glowkit.system.errors import GlowkitError

Runner = Callable[[Iterable[Bijection], Tensor, Tensor | None], tuple[Tensor, Tensor]]


def compose(
    bijections: Iterable[Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]],
    x: Tensor,
    context: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Apply bijections, or what calls them, in turn. Returns y and the sum of their ladj, (N,).

    Autograd keeps everything: the fastest step, memory proportional to depth.
    """
    total: Tensor | None = None
    for number, bijection in enumerate(bijections):
        try:
            x, ladj = bijection(x, context)
        except Exception as error:
            error.add_note(f"{_name(bijection, number)} was given {tuple(x.shape)}")
            raise
        total = ladj if total is None else total + ladj
    return x, x.new_zeros(x.shape[0]) if total is None else total


def _name(step: Any, number: int) -> str:
    """Which bijection it is, given itself, its inverse, or what evaluates it anew."""
    if isinstance(step, partial):
        step = step.args[0]
    if isinstance(step, MethodType):
        return f"the inverse of {type(step.__self__).__name__}, number {number} from the end,"
    return f"{type(getattr(step, 'bijection', step)).__name__}, number {number} of its chain,"


def run_checkpointed(
    bijections: Iterable[Bijection], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Keep each bijection's input only and evaluate it again in the backward pass.

    Costs one more forward pass; memory is one tensor a bijection (openai/glow's
    `gradient_checkpointing`, on by default there).
    """
    if _keeps_nothing():
        return compose(bijections, x, context)
    evaluate = partial(checkpoint, use_reentrant=False)
    return compose((partial(evaluate, _as_now(b)) for b in bijections), x, context)


def _as_now(bijection: Bijection) -> Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]:
    """The bijection with the parameters and buffers that it has now, whenever it is called."""
    stood = places(bijection)
    slots, tensors = list(stood.values()), list(stood)

    def call(x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        # What is evaluated again makes nothing again within; the second time is as the first.
        with untransformed(), standing_in(slots, tensors), _set_recomputing(False):
            return bijection(x, context)

    call.bijection = bijection  # type: ignore[attr-defined]
    return call


def run_reversible(
    bijections: Iterable[Bijection], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Keep the output only, and rebuild each bijection's input by inversion in the backward pass.

    Memory does not grow with depth, but for the parameters and their gradients: it is a few
    tensors of x's size, and the activations of one conditioner. Conditioners are evaluated once
    more, as with "checkpoint", and bijections inverted: about 4/3 of the time of "store" where
    conditioners are wide, more where the inverse is the dear direction, as a mixture's is.
    Gradients are those at inputs that are off by the rounding of the inversions between.

    What cannot be rebuilt in training mode (`obstacle`) is checkpointed instead, with a warning.
    Source: Gomez et al. 2017, for a chain of any bijections.
    """
    if _keeps_nothing():
        return compose(bijections, x, context)
    flat = list(_flat(bijections))
    reason = obstacle(flat)
    if reason:
        warnings.warn(reason, stacklevel=3)
        return run_checkpointed(bijections, x, context)
    return rebuilt(flat, x, context)


def obstacle(modules: Iterable[nn.Module]) -> str:
    """Why chains of these modules cannot rebuild what they map, in a sentence; "" if they can.

    Dropout, and batch norm that follows its batches, would do something else the second time. A
    module says so itself by an attribute `not_rebuilt_in_training`, a reason.
    """
    for module in (part for whole in modules for part in whole.modules() if part.training):
        reason = getattr(module, "not_rebuilt_in_training", "")
        if isinstance(module, _DropoutNd) and module.p > 0:
            reason = "draws random numbers"
        if isinstance(module, _NormBase) and module.track_running_stats:
            reason = "changes its running moments"
        if reason:
            return (
                f"memory 'reversible' cannot rebuild the inputs of {type(module).__name__}, which"
                f" in training {reason}; its chain uses 'checkpoint' instead, which keeps one"
                " tensor for each step"
            )
    return ""


def _flat(bijections: Iterable[Bijection]) -> Iterator[Bijection]:
    """Chains in a chain would each keep an output; taken apart, they keep one in all."""
    for bijection in bijections:
        if isinstance(bijection, Iterable):
            yield from _flat(bijection)
        else:
            yield bijection


_recomputing = ContextVar("recomputing", default=False)


def recomputing() -> bool:
    """Whether conditioners are to make their hidden activations again for the gradients."""
    return _recomputing.get()


def run_recomputing(
    bijections: Iterable[Bijection], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Keep what is between bijections, and let conditioners make what is inside of them again.

    A conditioner's hidden activations are nearly all of what "store" keeps. Networks that can, ask
    `recomputing`; `glowkit.nets.GlowNet` does. Costs their forward pass once more: where compiled
    kernels run, a sixth of a step, since what is made again stays in the cache.
    """
    with _set_recomputing(True):
        return compose(bijections, x, context)


@contextmanager
def _set_recomputing(value: bool) -> Iterator[None]:
    token = _recomputing.set(value)
    try:
        yield
    finally:
        _recomputing.reset(token)


def _keeps_nothing() -> bool:
    """Whether no gradient will be asked for, or a transform of `torch.func` keeps what it needs."""
    return transformed() or not torch.is_grad_enabled()


MEMORY_MODES: dict[str, Runner] = {
    "store": compose,
    "recompute": run_recomputing,
    "checkpoint": run_checkpointed,
    "reversible": run_reversible,
}


class Chain(Bijection):
    """Apply bijections from left to right.

    forward: y = (f_n ∘ … ∘ f_1)(x); inverse: x = (f_1⁻¹ ∘ … ∘ f_n⁻¹)(y); ladj: the sum of theirs.

    Args:
        bijections: the maps, first applied first.
        memory: `"store"` keeps all activations; `"recompute"` makes conditioners' hidden ones again
            in the backward pass; `"checkpoint"` keeps each bijection's input and recomputes the
            rest in the backward pass; `"reversible"` keeps the chain's output and
            rebuilds every input by inversion. See `glowkit.core.chain` for what each costs.

    Raises:
        GlowkitError: for a memory mode that does not exist.

    What a bijection raises has notes of which it was, in each chain around it, and of what shape
    it was given.

    >>> import torch
    >>> from glowkit.bijections import Shift
    >>> y, ladj = Chain([Shift(1.0), Shift(2.0)])(torch.zeros(1, 2))
    >>> y.tolist(), ladj.tolist()
    ([[3.0, 3.0]], [0.0])
    """

    def __init__(self, bijections: Iterable[Bijection], memory: str = "store") -> None:
        super().__init__()
        if memory not in MEMORY_MODES:
            raise GlowkitError(f"memory {memory!r} is not one of {', '.join(MEMORY_MODES)}")
        self.bijections = nn.ModuleList(bijections)
        self.memory = memory

    def __iter__(self) -> Iterator[Bijection]:
        return iter(self.bijections)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.bijections)

    @property
    def reads_context(self) -> bool:
        return any(bijection.reads_context for bijection in self)

    def __repr__(self) -> str:
        kept = "" if self.memory == "store" else f", memory {self.memory!r}"
        return repr(self.bijections).replace("ModuleList", f"{type(self).__name__}{kept}", 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return MEMORY_MODES[self.memory](self.bijections, x, context)  # type: ignore[arg-type]

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return compose([bijection.inverse for bijection in reversed(list(self))], y, context)


def fall_back(model: nn.Module) -> list[str]:
    """Set chains from "reversible" to "checkpoint" where the model's present mode needs it.

    Returns why, a sentence for each reason. Without this, a chain says so in a warning, each time.
    """
    reasons = []
    for chain in model.modules():
        if isinstance(chain, Chain) and chain.memory == "reversible":
            reason = obstacle([chain])
            if reason:
                chain.memory = "checkpoint"
                reasons.append(reason)
    return list(dict.fromkeys(reasons))


class Inverse(Bijection):
    """The inverse of a bijection: y = f⁻¹(x), with f⁻¹'s ladj; inverse: x = f(y).

    Shapes and cost are f's, with the directions exchanged: where a density is sampled in training,
    this puts f's cheaper direction there. An f that is initialised from data sees it in `inverse`.

    >>> import torch
    >>> from glowkit.bijections import Shift
    >>> Inverse(Shift(1.0))(torch.ones(1, 1))[0].item()
    0.0
    """

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    @property
    def reads_context(self) -> bool:
        return self.bijection.reads_context

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection(y, context)
