"""Logistic mixtures by compiled kernels."""

import ctypes
from ctypes import Structure, c_float, c_int64, c_void_p

import torch
from torch import Tensor

from glowkit.nets.fast import compiled_parameters
from glowkit.nets.kernels.library import whatever_switched
from glowkit.nets.kernels.step import ELEMENTS, Threads, at, fields, jobs, laid_out

MOST_COMPONENTS = 32


class _Mixture(Structure):
    _fields_ = [
        *fields(c_int64, "rows elements components halvings jobs"),
        ("floor", c_float),
        ("threads", Threads),
        *fields(c_void_p, "x groups y log_slope by_y by_slope by_x by_groups"),
    ]


def takes(x: Tensor, groups: Tensor) -> bool:
    """Whether there is a kernel for them now: float32, on the CPU, of not too many components."""
    return (
        x.dtype == groups.dtype == torch.float32
        and x.is_cpu
        and groups.shape[2] <= 2 + 3 * MOST_COMPONENTS
        and compiled_parameters()
    )


def forward(x: Tensor, groups: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """y and ln dy/dx, of x's shape; see `glowkit.bijections.mixture`."""
    x, groups = laid_out(x), laid_out(groups)
    y, log_slope = torch.empty_like(x), torch.empty_like(x)
    call = _call(x, groups, floor)
    call.y, call.log_slope = at(y), at(log_slope)
    whatever_switched().glow_mixture_forward(ctypes.byref(call))
    return y, log_slope


def backward(
    x: Tensor, groups: Tensor, floor: float, by_y: Tensor, by_slope: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of x and groups from those of y and ln dy/dx."""
    x, groups, by_y, by_slope = map(laid_out, (x, groups, by_y, by_slope))
    by_x, by_groups = torch.empty_like(x), torch.empty_like(groups)
    call = _call(x, groups, floor, by_y, by_slope)
    call.by_y, call.by_slope, call.by_x, call.by_groups = map(at, (by_y, by_slope, by_x, by_groups))
    whatever_switched().glow_mixture_backward(ctypes.byref(call))
    return by_x, by_groups


def root(y: Tensor, groups: Tensor, floor: float, halvings: int) -> Tensor:
    """x, by that many halvings of a bracket."""
    y, groups = laid_out(y), laid_out(groups)
    x = torch.empty_like(y)
    call = _call(y, groups, floor)
    call.y, call.halvings = at(x), halvings
    whatever_switched().glow_mixture_root(ctypes.byref(call))
    return x


def _call(x: Tensor, groups: Tensor, floor: float, *grads: Tensor) -> _Mixture:
    """What is computed. Raises ValueError for what would be read or written past its end."""
    n, channels, *space = x.shape
    components, rest = divmod(groups.shape[2] - 2 if groups.dim() > 2 else 0, 3)
    if tuple(groups.shape) != (n, channels, 2 + 3 * components, *space) or rest:
        raise ValueError(f"parameters {tuple(groups.shape)} do not fit {tuple(x.shape)}")
    if not 1 <= components <= MOST_COMPONENTS:
        raise ValueError(f"there are no kernels for {components} components")
    if not all(t.shape == x.shape for t in grads):
        raise ValueError(f"gradients {[tuple(t.shape) for t in grads]} for {tuple(x.shape)}")
    if not all(t.dtype == torch.float32 and t.is_cpu for t in (x, groups, *grads)):
        raise ValueError("kernels are for float32 on the CPU")
    rows = n * channels
    sizes = (
        rows,
        x.numel() // max(rows, 1),
        components,
        0,
        jobs(x.numel() * components, ELEMENTS, torch.get_num_threads()),
    )
    return _Mixture(*sizes, floor, Threads.of_torch(), at(x), at(groups))
