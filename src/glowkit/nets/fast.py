"""How networks compute: in which precision, and by fast kernels, behind one door."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from glowkit.core.bijection import transformed
from glowkit.nets.kernels.library import loaded

PRECISIONS: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""What a config can ask for, by name; "float32" stands for the parameters' own dtype."""


def computing_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Run a network's convolutions and matrix products in `dtype`; float32 changes nothing.

    Parameters stay as they are. Only conditioners run in low precision, and they hand their output
    back in the flow's dtype: the flow's own arithmetic, every `exp` and every log-det, stays in
    float32 or wider. Pays where the processor multiplies bfloat16 natively; where compiled kernels
    in float32 are faster still, networks use those.
    """
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype)


def multiply_exactly() -> None:
    """Let convolutions on a GPU multiply float32 as it is, in this process from now on.

    Left to itself torch lets them round it to 10 bits (TF32), which conditioners turn into errors
    of 1e-4 where images come back from their latents. `precision="bfloat16"` is what is fast.
    """
    torch.backends.cudnn.allow_tf32 = False


class PrecisionNet(nn.Module):
    """A network that computes in `dtype`, whatever the dtype of its parameters.

    Args:
        precision: one of `PRECISIONS`.
    """

    dtype: torch.dtype

    def __init__(self, precision: str) -> None:
        super().__init__()
        self.dtype = PRECISIONS[precision]


def precision_nets(model: nn.Module) -> list[PrecisionNet]:
    """The conditioners of a model whose precision can be chosen.

    >>> from glowkit.nets import GlowNet
    >>> len(precision_nets(GlowNet(2, 4, width=8)))
    1
    """
    return [module for module in model.modules() if isinstance(module, PrecisionNet)]


def set_precision(model: nn.Module, precision: str) -> None:
    """Let all those conditioners compute in a precision."""
    for net in precision_nets(model):
        net.dtype = PRECISIONS[precision]


def compiled(x: Tensor, *modules: nn.Module) -> bool:
    """Whether compiled kernels can do for images x what these modules do, each with all its parts.

    They are for float32 on the CPU. Where a hook, a transform or a tracer wants to see the modules
    at work, and where there is no library, plain operations are used; and where there are more than
    two threads for each image, since kernels give every thread images of its own.
    """
    return (
        type(x) is Tensor
        and x.dtype == torch.float32
        and x.is_cpu
        and x.dim() == 4
        and x.numel() > 0
        and 2 * x.shape[0] >= torch.get_num_threads()
        and compiled_parameters(*modules)
    )


_stepping_aside = ContextVar("stepping aside", default=False)


@contextmanager
def plain_operations() -> Iterator[None]:
    """Within, kernels step aside: networks compute by torch's operations, as a tracer sees them."""
    token = _stepping_aside.set(True)
    try:
        yield
    finally:
        _stepping_aside.reset(token)


def compiled_parameters(*modules: nn.Module) -> bool:
    """The same of maps of their parameters alone."""
    return (
        not transformed()
        and not _stepping_aside.get()
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
        and not torch._C._len_torch_dispatch_stack()
        and not _has_any_global_hook()
        and loaded() is not None
        and not any(map(_watched, modules))
    )


def _watched(module: nn.Module) -> bool:
    """Whether a module has hooks, or parameters of another kind, or a part of it."""
    parts = [module]
    for part in parts:
        if (
            "forward" in vars(part)
            or part._forward_hooks
            or part._forward_pre_hooks
            or part._backward_hooks
            or part._backward_pre_hooks
        ):
            return True
        for p in part._parameters.values():
            if p is not None and not (p.dtype is torch.float32 and p.is_cpu and type(p) in _USUAL):
                return True
        for inner in part._modules.values():
            if inner is not None:
                parts.append(inner)
    return False


_USUAL = (nn.Parameter, Tensor)


class Kernel(torch.autograd.Function):
    """A function of tensors with a fast gradient, and derivatives of any order by plain operations.

    To write one: implement `plain`, the definition in operations that torch can differentiate
    any number of times and under every transform; `quick`, the same values by the fastest means;
    and `gradients`, from what `quick` keeps. Call it by `of`. Neither `quick` nor `gradients` is
    differentiated, nor called under a transform: both may work in place on what they made.

    A gradient that is itself to be differentiated (`create_graph=True`), or that is taken for many
    directions at once, is that of `plain` at the same inputs.
    """

    @staticmethod
    def plain(*inputs: Any) -> Any:
        """The outputs: a tensor or a tuple of tensors."""
        raise NotImplementedError

    @staticmethod
    def quick(*inputs: Any) -> tuple[Any, Sequence[Tensor]]:
        """The outputs, and the tensors that `gradients` needs beside the inputs."""
        raise NotImplementedError

    @staticmethod
    def gradients(
        inputs: Sequence[Any], kept: Sequence[Tensor], *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        """The gradients of the inputs from those of the outputs, one for each input."""
        raise NotImplementedError

    @classmethod
    def of(cls, *inputs: Any) -> Any:
        """The outputs for these inputs, by the way that the moment asks for."""
        return cls.plain(*inputs) if transformed() else cls.apply(*inputs)

    @classmethod
    def forward(cls, ctx: Any, *inputs: Any) -> Any:
        outputs, kept = cls.quick(*inputs)
        tensors = (value if isinstance(value, Tensor) else None for value in inputs)
        ctx.save_for_backward(*tensors, *kept)
        ctx.others = [None if isinstance(value, Tensor) else value for value in inputs]
        return outputs

    @classmethod
    def backward(cls, ctx: Any, *grads: Tensor) -> Any:
        saved, count = ctx.saved_tensors, len(ctx.others)
        inputs = [
            other if tensor is None else tensor
            for tensor, other in zip(saved[:count], ctx.others, strict=True)
        ]
        if torch.is_grad_enabled() or transformed() or not all(map(torch._C._has_storage, grads)):
            # A gradient without storage is one of `is_grads_batched`, for many directions at once.
            return plain_gradients(cls._definition, inputs, ctx.needs_input_grad, grads)
        return cls.gradients(inputs, saved[count:], *grads)

    @classmethod
    def _definition(cls, *inputs: Any) -> Any:
        return cls.plain(*inputs)


class Native(Kernel):
    """A function of torch's own, with a gradient that cannot be differentiated, or not rightly.

    To write one: implement `native`, and `plain`. The node stands behind torch's, and hands the
    gradient on to it, or past it where it is to be differentiated itself.
    """

    @staticmethod
    def native(*inputs: Any) -> Any:
        """The output, by the function of torch's."""
        raise NotImplementedError

    @classmethod
    def of(cls, *inputs: Any) -> Any:
        if transformed():
            return cls.plain(*inputs)
        result = cls.native(*inputs)
        return cls.apply(result, *inputs) if result.requires_grad else result

    @staticmethod
    def quick(*inputs: Any) -> tuple[Any, Sequence[Tensor]]:
        return inputs[0], ()

    @staticmethod
    def gradients(
        inputs: Sequence[Any], kept: Sequence[Tensor], *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        return (*grads, *[None] * (len(inputs) - 1))

    @classmethod
    def _definition(cls, *inputs: Any) -> Any:
        return cls.plain(*inputs[1:])


def plain_gradients(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    wanted: Sequence[bool],
    grads: Sequence[Tensor],
) -> tuple[Tensor | None, ...]:
    """The gradients of the inputs wanted, as functions of the inputs if gradients are enabled."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Each a node of its own: the same tensor may be given twice.
        own = [
            value.view_as(value) if want else value
            for value, want in zip(inputs, wanted, strict=True)
        ]
        outputs = function(*own)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [pair for pair in zip(outputs, grads, strict=True) if pair[0].requires_grad]
        roots, directions = zip(*pairs, strict=True)
        leaves = [value for value, want in zip(own, wanted, strict=True) if want]
        found = iter(
            torch.autograd.grad(roots, leaves, directions, create_graph=again, allow_unused=True)
        )
    return tuple(next(found) if want else None for want in wanted)
