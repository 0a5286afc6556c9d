"""Memory modes: how a chain keeps, or does not keep, the activations its gradient needs."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.checkpoint import checkpoint

from glowkit.core.bijection import Bijection, compose
from glowkit.core.rebuilding import rebuilt
from glowkit.core.standing import places, standing_in, untransformed

Runner = Callable[[Iterable[Bijection], Tensor, Tensor | None], tuple[Tensor, Tensor]]


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
        with untransformed(), standing_in(slots, tensors):
            return bijection(x, context)

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


def _keeps_nothing() -> bool:
    """Whether no gradient will be asked for, or a transform of `torch.func` keeps what it needs."""
    # As `glowkit.nets.kernel.transformed`: folders of one floor do not know each other.
    transformed = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    return transformed or not torch.is_grad_enabled()


MEMORY_MODES: dict[str, Runner] = {
    "store": compose,
    "checkpoint": run_checkpointed,
    "reversible": run_reversible,
}
