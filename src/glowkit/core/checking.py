"""What a density may be given: examples, noises, contexts and counts are refused in a sentence."""

import operator
from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from glowkit.core.noise import MIDPOINT, Handed, Kept, NoiseSpec, OfEach, Portion
from glowkit.system.errors import GlowkitError

COMPUTED_IN = (torch.float32, torch.float64)
"""The dtypes of a model; narrower ones would round likelihoods and latents."""


def check_model(anchor: Tensor) -> None:
    """Refuse to compute with a model in half precision; `anchor` follows its dtype."""
    if anchor.dtype not in COMPUTED_IN:
        raise GlowkitError(
            f"this model was converted to {anchor.dtype}, in which likelihoods and latents would"
            " not be exact; use model.float() or model.double(), and precision='bfloat16' in the"
            " config for faster conditioners"
        )


def check_tensor(x: Any, things: str) -> None:
    """Refuse what is not a batch in a tensor."""
    if not isinstance(x, Tensor):
        raise GlowkitError(
            f"{things} must be a torch tensor, not {type(x).__name__}; convert with"
            " torch.as_tensor(...)"
        )
    if x.dim() == 0:
        raise GlowkitError(f"{things} must be a batch, (N, ...), and not a single number")
    if x.shape[0] == 0:
        raise GlowkitError(f"{things}: the batch is empty; give at least one")


def check_shape(x: Any, shape: Sequence[int]) -> None:
    """Refuse what is not a batch of floating-point examples of a shape.

    Cheap enough for every call. A wrong shape would often broadcast, to a plausible figure.
    """
    check_tensor(x, "examples")
    if x.shape[1:] != tuple(shape) or not x.is_floating_point():
        raise GlowkitError(
            f"{wanted(shape)}, and got {tuple(x.shape)} of {_name(x.dtype)}; "
            + _what_to_do(x, shape)
        )


def check_examples(x: Any, shape: Sequence[int], anchor: Tensor) -> None:
    """`check_shape`, and refuse another dtype or device than the model's."""
    check_model(anchor)
    check_shape(x, shape)
    if x.dtype != anchor.dtype:
        raise GlowkitError(
            f"this model computes in {_name(anchor.dtype)} and got {_name(x.dtype)};"
            f" convert one of them, with x.to(torch.{_name(anchor.dtype)}) or"
            f" model.to(torch.{_name(x.dtype)})"
        )
    check_device(x, anchor)


def check_device(x: Tensor, anchor: Tensor) -> None:
    """Refuse a batch that is elsewhere than the model."""
    if x.device != anchor.device:
        raise GlowkitError(
            f"the model is on {anchor.device} and what it was given on {x.device}; move one of"
            " them with .to(device)"
        )


def check_noises(noises: Any, specs: Sequence[NoiseSpec], anchor: Tensor) -> None:
    """Refuse noises that `decode` cannot take: as many as `encode` returns, and of their shapes."""
    check_model(anchor)
    if isinstance(noises, Tensor) or not isinstance(noises, Sequence):
        raise GlowkitError(
            f"noises must be a list of tensors, as encode returns them, not {type(noises).__name__}"
        )
    if len(noises) != len(specs):
        raise GlowkitError(f"this model has {len(specs)} noise(s), and got {len(noises)}")
    for i, (noise, spec) in enumerate(zip(noises, specs, strict=True)):
        check_tensor(noise, f"noise {i}")
        if noise.shape != (noises[0].shape[0], *spec.shape) or noise.dtype != anchor.dtype:
            raise GlowkitError(
                f"noise {i} must be (N, {', '.join(map(str, spec.shape))}) of"
                f" {_name(anchor.dtype)}, for the same N as the others, and is"
                f" {tuple(noise.shape)} of {_name(noise.dtype)}"
            )
        check_device(noise, anchor)


class ReadsContext(Protocol):
    """What may read a context, such as a density."""

    @property
    def reads_context(self) -> bool: ...


def check_context(density: ReadsContext, context: object) -> None:
    """Refuse a context where nothing reads one; labels that change nothing would mislead."""
    if context is not None and not density.reads_context:
        raise GlowkitError(
            "this model is not conditional, so a context or class labels would change nothing;"
            " leave them out, or train a model with classes"
        )


def check_generator(generator: Any) -> None:
    """Refuse what is no source of randomness, such as a seed."""
    if (
        generator is None
        or generator is MIDPOINT
        or isinstance(generator, torch.Generator | Portion | OfEach | Kept | Handed)
    ):
        return
    raise GlowkitError(
        f"generator is {generator!r}; it must be a torch.Generator, such as"
        " torch.Generator().manual_seed(0), glowkit.MIDPOINT, or None"
    )


def check_count(n: Any, what: str, least: int = 1) -> int:
    """A whole number of things, at least so many; numpy's integers will do.

    >>> check_count(3, "samples")
    3
    """
    if isinstance(n, torch.SymInt):  # of a graph for any number
        return cast(int, n)
    try:
        number = operator.index(n)
    except TypeError:
        number = least - 1
    if isinstance(n, bool) or number < least:
        raise GlowkitError(f"{what} is {n!r}; it must be a whole number, at least {least}")
    return number


def check_temperature(temperature: Any, n: int) -> None:
    """Refuse a temperature that is not a number, or one for each of n examples, 0 or more."""
    try:
        values = torch.as_tensor(temperature)
        right = bool((values >= 0).all() and values.isfinite().all())
    except (TypeError, ValueError, RuntimeError):
        right, values = False, torch.zeros(())
    if not right or values.dtype == torch.bool:
        raise GlowkitError(f"temperature is {temperature!r}; it must be finite, and 0 or more")
    if values.shape not in ((), (1,), (n,)):
        raise GlowkitError(
            f"temperature has shape {tuple(values.shape)}; give one number, or {n}: one a sample"
        )


def wanted(shape: Sequence[int]) -> str:
    """What a model takes, as the beginning of a sentence.

    >>> wanted((2,))
    'this model takes points of shape (N, 2), as floats'
    """
    things = "points" if len(shape) == 1 else "examples"
    return f"this model takes {things} of shape (N, {', '.join(map(str, shape))}), as floats"


def _what_to_do(x: Tensor, shape: Sequence[int]) -> str:
    if tuple(x.shape[1:]) == tuple(shape):
        return "convert them with .float()"
    if tuple(x.shape) == tuple(shape):
        return "add the axis of the batch with x[None]"
    return "give them in that shape"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_log_q(noise: object, kind: str, of: str) -> None:
    """Refuse a density of noise that is `of` something where its log q, of a kind, is a bound."""
    if kind == "bound":
        raise GlowkitError(
            f"the noise of {of}, {type(noise).__name__}, knows only a lower bound on its own log q,"
            " with which the model would have none; use a density whose log p is exact"
        )
