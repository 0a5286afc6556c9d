"""The arithmetic limit: the convolutions' operations at the rate that the processor has."""

import ctypes
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch

from benchmarks.case import Case
from glowkit.nets import PRECISIONS
from glowkit.nets.kernels import compiling, library

NAME = "arithmetic"

SIDE = 1536
"""Of the matrices: large enough to run at the processor's rate, small enough to be quick."""

OPERATIONS = 2 * SIDE**3
"""Of each round, in either precision."""

BACKWARD = 2
"""A convolution's two gradients cost as many operations each as its forward pass."""


def arithmetic(precision: str, threads: int) -> "Product | Fused":
    """What is timed among the subjects, round by round.

    In float32 fused multiply-adds of registers alone, which no product of matrices can pass. In
    bfloat16, and where there is no compiler, a large product of the library's.
    """
    if precision == "float32" and library.loaded() is not None:
        return Fused(threads)
    return Product(precision)


class Product:
    """One large matrix product in a precision."""

    def __init__(self, precision: str) -> None:
        dtype = PRECISIONS[precision]
        self.a, self.b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
        self.out = torch.empty_like(self.a)

    def __call__(self) -> None:
        torch.matmul(self.a, self.b, out=self.out)


class Fused:
    """As many operations by fused multiply-adds, in equal parts on every thread."""

    def __init__(self, threads: int) -> None:
        self.rounds = OPERATIONS // (_fused().fused_operations() * threads)
        self.pool = ThreadPoolExecutor(threads)
        self.threads = threads

    def __call__(self) -> None:
        parts = [ctypes.c_long(self.rounds)] * self.threads
        list(self.pool.map(_fused().fused, parts))


@cache
def _fused() -> ctypes.CDLL:
    compiler = compiling.find_compiler()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "fused.so"
        source = Path(__file__).with_name("fused.c")
        compiling.compile_library(compiler, library.chosen(), target, [source])
        found = ctypes.CDLL(str(target))
    found.fused.restype = ctypes.c_float
    return found


def rounds_of(case: Case, task: str) -> float:
    """How many such rounds have the operations of the case's convolutions."""
    passes = 1 + BACKWARD if task == "training" else 1
    return passes * case.forward_operations() / OPERATIONS
