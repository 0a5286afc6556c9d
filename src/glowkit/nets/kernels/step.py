"""Steps of flow and conditioners by compiled kernels: the same map, an autograd node each."""

import ctypes
from collections.abc import Sequence
from ctypes import Structure, c_int64, c_void_p
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from glowkit.core.bijection import transformed
from glowkit.nets.fast import Kernel
from glowkit.nets.kernels.library import threads, tiles, whatever_switched

NONE, ADDITIVE, AFFINE = range(3)
"""What a step does with the conditioner's output; NONE hands it back."""


def fields(kind: type, names: str) -> list[tuple[str, type]]:
    """Fields of a structure of C's, all of one kind."""
    return [(name, kind) for name in names.split()]


class _Shape(Structure):
    _fields_ = fields(
        c_int64,
        "images channels height width kept outputs hidden last mixes transform context low jobs",
    )


class _Parameters(Structure):
    _fields_ = fields(
        c_void_p,
        "weight1 edge1 bias1 logs1 weight2 bias2 logs2 weight3 edge3 bias3 logs3 matrix shift",
    )


class Threads(Structure):
    """OpenMP's functions, of the runtime that torch uses."""

    _fields_ = fields(c_void_p, "parallel number count")

    @classmethod
    def of_torch(cls) -> "Threads":
        return cls(*threads())


class _Call(Structure):
    _fields_ = [
        ("shape", _Shape),
        ("parameters", _Parameters),
        ("threads", Threads),
        *fields(c_void_p, "packs scratch x added y ladj h h1 h2 by_y by_ladj by_h by_x by_added"),
        ("gradients", _Parameters),
    ]


def at(tensor: Tensor | None) -> int | None:
    """Where its numbers stand in memory."""
    return None if tensor is None else tensor.data_ptr()


@dataclass(frozen=True)
class Step:
    """What a step is beside its tensors.

    Args:
        kept: channels that condition and stay; all of them for a conditioner alone.
        transform: NONE, ADDITIVE or AFFINE.
        packed: what `packs` made of the parameters, or None to make it in the call.
        low: whether the conditioner computes in bfloat16, where `tiles` says that it can.
        recompute: whether hidden activations are made again for the gradients instead of kept.
        jobs: how many threads the work is cut up for at most, on which depends how activations are
            kept: as many as torch has when the step is described, and the same for its gradients.
    """

    kept: int
    transform: int = NONE
    packed: Tensor | None = None
    recompute: bool = False
    low: bool = False
    jobs: int = field(default_factory=torch.get_num_threads)


class StepKernel(Kernel):
    """y = [z₁, T(z₂; h)] with z = A x + shift, h = conditioner(z₁, added); ladj that of T alone.

    Call `of(step, x, added, matrix, shift, *parameters)`: x is (N, C, H, W), `added` None,
    (N, width) or (N, H, W, width), what a context adds to the first hidden layer; matrix (C, C) and
    shift (C,), or None for z = x; the parameters are those of `GlowNet.convolutions`. All are
    float32 and on the CPU. It returns (y, ladj) for AFFINE, y for ADDITIVE, (z, h) for NONE, and h
    alone where nothing is mixed. To write one: implement `plain`.

    Cost: the conditioner's products, at most of what the processor can; hidden activations of
    2 · width numbers a pixel are kept for the gradients, or none with `recompute`, which then
    takes a third more products of a backward pass.
    """

    @classmethod
    def of(cls, *inputs: Any) -> Any:
        if transformed():
            return cls.plain(*inputs)
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs[1:]):
            return super().of(*inputs)
        return _forward(*inputs, keep=False)[0]

    @staticmethod
    def quick(*inputs: Any) -> tuple[Any, Sequence[Tensor]]:
        return _forward(*inputs, keep=True)

    @staticmethod
    def gradients(
        inputs: Sequence[Any], kept: Sequence[Tensor], *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        return _backward(inputs, kept, grads)


def packs(*parameters: Tensor | None, low: bool = False) -> Tensor:
    """A conditioner's parameters as forward and inverse read them; the caller may keep it."""
    first = parameters[0]
    kept = first.shape[1] if first is not None and first.dim() > 1 else 1
    pixel = memory(kept).view(1, kept, 1, 1)
    return _packed(_call(Step(kept, low=low), pixel, None, None, None, parameters), 1)


def inverse(
    step: Step,
    y: Tensor,
    added: Tensor | None,
    matrix: Tensor,
    shift: Tensor,
    *parameters: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """x = A z + shift with z = [y₁, T⁻¹(y₂; h)], A that of the inverse; and T⁻¹'s ladj."""
    y, added, matrix, shift, *given = contiguous(y, added, matrix, shift, *parameters)
    call = _call(step, y, added, matrix, shift, given)
    held = _packed(call, 1, step.packed), _scratch(call, 0)
    x, ladj = torch.empty_like(y), y.new_empty(len(y))
    call.y, call.ladj = at(x), at(ladj)
    whatever_switched().glow_inverse(ctypes.byref(call))
    del held
    return x, ladj


MULTIPLICATIONS, ELEMENTS = 1_000_000, 10_000
"""Of a conditioner, and of a mixture's components: about what waking a thread takes."""


def jobs(work: int, each: int, most: int) -> int:
    """How many threads so much work is for, of so many; `each` is what pays for one."""
    return max(1, min(most, work // each))


def contiguous(*tensors: Tensor | None) -> list[Any]:
    """Images and what is added first, and parameters, which are never to be negated."""
    x, added, *rest = tensors
    first = [None if t is None else laid_out(t) for t in (x, added)]
    return first + [None if t is None else t.contiguous() for t in rest]


def laid_out(tensor: Tensor) -> Tensor:
    """In memory as it is seen: one number after another, and not to be negated where it is read."""
    if tensor.is_contiguous() and not tensor.is_neg():
        return tensor
    return tensor.resolve_neg().contiguous()


def _call(
    step: Step,
    x: Tensor,
    added: Tensor | None,
    matrix: Tensor | None,
    shift: Tensor | None,
    parameters: Sequence[Tensor | None],
    checked: bool = False,
) -> _Call:
    """What is computed; see `_check`, which what was called once need not pass again."""
    if not checked:
        _check(step, x, added, matrix, shift, *parameters)
    first, last = cast(Tensor, parameters[0]), cast(Tensor, parameters[7])
    hidden = first.shape[0]
    apart = hidden if added is not None and added.dim() == 4 else 0
    outputs, taps = last.shape[0], last.shape[2]
    products = hidden * (9 * step.kept + hidden + taps**2 * outputs)
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    pays = jobs(pixels * products, MULTIPLICATIONS, step.jobs)
    shape = (*x.shape, step.kept, outputs, hidden, taps)
    return _Call(
        _Shape(*shape, matrix is not None, step.transform, apart, step.low, pays),
        _Parameters(*map(at, (*parameters, matrix, shift))),
        Threads.of_torch(),
        x=at(x),
        added=at(added),
    )


def _check(step: Step, *given: Tensor | None) -> None:
    """Raises ValueError for what would be read or written past its end."""
    x, added, matrix, _, first, *_ = given
    last = given[11]
    if x is None or first is None or last is None or not first.dim() == last.dim() == x.dim() == 4:
        raise ValueError("images and the weights of convolutions have four dimensions")
    (n, channels, height, width), (hidden, kept) = x.shape, first.shape[:2]
    outputs, taps, moved = last.shape[0], last.shape[2], channels - kept
    wanted = [
        x.shape,
        None if added is None else (n, hidden) if added.dim() == 2 else (n, height, width, hidden),
        *((None, None) if matrix is None else ((channels, channels), (channels,))),
        *((hidden, kept, 3, 3), (hidden, 3, 3), (hidden,), (hidden,)),
        *((hidden, hidden, 1, 1), (hidden,), (hidden,)),
        *((outputs, hidden, taps, taps), (outputs, 3, 3) if taps == 3 else None),
        *((outputs,), (outputs,)),
    ]
    shapes = [None if t is None else t.shape for t in given]
    if shapes != wanted:
        raise ValueError(f"sizes that do not fit: {shapes} where {wanted} is wanted")
    if not all([t is None or (t.dtype is torch.float32 and t.is_cpu) for t in given]):  # noqa: C419
        raise ValueError("kernels are for float32 on the CPU")
    changes = {NONE: outputs, ADDITIVE: moved, AFFINE: 2 * moved}.get(step.transform)
    if kept != step.kept or outputs != changes or taps not in (1, 3) or moved < 0:
        raise ValueError(f"{outputs} parameters for {channels} channels do not fit {step}")
    if step.low and (taps != 3 or not tiles()):
        raise ValueError("there are no kernels in bfloat16 here, or for a last convolution of 1x1")
    if (moved or step.transform) and matrix is None:
        raise ValueError("a conditioner alone reads all channels")
    if not (x.numel() and hidden and outputs and step.jobs > 0 and in_reach(x, outputs)):
        raise ValueError(f"there are no kernels for sizes such as {shapes}")


def in_reach(x: Tensor, outputs: int) -> bool:
    """Whether offsets in images, and in as many channels as a conditioner gives, fit into 32 bits.

    >>> in_reach(torch.empty(1, 3, 256, 256), 1000)
    True
    """
    _, channels, height, width = x.shape
    return max(channels, outputs) * (height + 2) * (width + 2) < 2**31


def _packed(call: _Call, part: int, packed: Tensor | None = None) -> Tensor:
    floats = whatever_switched().glow_packs(ctypes.byref(call.shape))
    if packed is None:
        packed = memory(floats)
        call.packs = at(packed)
        whatever_switched().glow_pack(ctypes.byref(call), c_int64(part))
    elif packed.shape != (floats,) or packed.dtype != torch.float32:
        raise ValueError(f"packs of {tuple(packed.shape)} numbers where {floats} are read")
    call.packs = at(packed)
    return packed


def _scratch(call: _Call, backward: int) -> Tensor:
    floats = whatever_switched().glow_scratch(ctypes.byref(call.shape), c_int64(backward))
    scratch = memory(floats)
    call.scratch = at(scratch)
    return scratch


def memory(numbers: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Whatever the default dtype and device are."""
    return torch.empty(numbers, dtype=dtype, device="cpu")


def _forward(step: Step, *inputs: Tensor | None, keep: bool) -> Any:
    """The results, and what the gradients need beside the inputs."""
    x, added, matrix, shift, *parameters = contiguous(*inputs)
    call = _call(step, x, added, matrix, shift, parameters)
    held = _packed(call, 1, step.packed), _scratch(call, 0)
    n, channels, *space = x.shape
    moved = channels - step.kept
    y = torch.empty_like(x) if matrix is not None else None
    ladj, h = None, None
    hidden: tuple[Tensor, ...] = ()
    if step.transform == NONE:
        h = x.new_empty(n, len(parameters[7]), *space)
    else:
        ladj = x.new_empty(n)
        if step.transform == AFFINE and keep:
            h = x.new_empty(n, moved, *space)
    if keep and not step.recompute:
        floats = whatever_switched().glow_hidden(ctypes.byref(call.shape))
        hidden = x.new_empty(floats), x.new_empty(floats)
        call.h1, call.h2 = map(at, hidden)
    call.y, call.ladj, call.h = at(y), at(ladj), at(h)
    whatever_switched().glow_forward(ctypes.byref(call))
    del held
    if step.transform == NONE:
        return (h if y is None else (y, h)), (*([] if y is None else [y]), *hidden)
    if step.transform == ADDITIVE:
        return y, (y, *hidden)
    return (y, ladj), (y, *([] if h is None else [h]), *hidden)


def _backward(
    inputs: Sequence[Any], kept: Sequence[Tensor], grads: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    step, *tensors = inputs
    x, added, matrix, shift, *parameters = contiguous(*tensors)
    call = _call(step, x, added, matrix, shift, parameters, checked=True)
    kept = list(kept)
    if matrix is not None:
        call.y = at(kept.pop(0))
    if step.transform == AFFINE:
        call.h = at(kept.pop(0))
    if not step.recompute:
        call.h1, call.h2 = map(at, kept)
    given = list(map(laid_out, grads))
    if step.transform == NONE:
        *_, by_h = given
        call.by_h = at(by_h)
        call.by_y = at(given[0]) if matrix is not None else None
    else:
        call.by_y = at(given[0])
        call.by_ladj = at(given[1]) if step.transform == AFFINE else None
    found = [
        None if t is None else torch.empty_like(t) for t in (x, added, matrix, shift, *parameters)
    ]
    by_x, by_added, by_matrix, by_shift, *by_parameters = found
    call.by_x, call.by_added = at(by_x), at(by_added)
    call.gradients = _Parameters(*map(at, (*by_parameters, by_matrix, by_shift)))
    held = _packed(call, 3 if step.recompute else 2), _scratch(call, 1)
    whatever_switched().glow_backward(ctypes.byref(call))
    del held
    return None, *found
