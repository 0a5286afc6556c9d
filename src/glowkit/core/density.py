"""Density: log p(x | context), x written as standard noise, and what it may be given."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import torch
from torch import Tensor, nn

from glowkit.core.finite import broken_examples, warn_of_broken
from glowkit.system.errors import GlowkitError


class Midpoint(Enum):
    """Stands in for a generator where the median of the noise is wanted instead of a draw."""

    MIDPOINT = "midpoint"


MIDPOINT = Midpoint.MIDPOINT


@dataclass(frozen=True)
class Portion:
    """A generator that draws for `size` examples and keeps what belongs to some `rows` of them.

    So noise belongs to an example's place in a batch, however many processes share the batch.
    """

    generator: torch.Generator
    rows: slice
    size: int


@dataclass(frozen=True)
class OfEach:
    """A generator for each example: noise belongs to an example, whatever its batch."""

    generators: tuple[torch.Generator, ...]


Generator = torch.Generator | Portion | OfEach | Literal[Midpoint.MIDPOINT] | None
"""Where randomness comes from: a `torch.Generator`, a `Portion` of what one draws, one `OfEach`
example, torch's global one (None), or `MIDPOINT`."""


@dataclass(frozen=True)
class NoiseSpec:
    """One tensor of whitened noise: its shape without the batch, and its standard distribution."""

    shape: tuple[int, ...]
    distribution: Literal["normal", "logistic"] = "normal"


def draw(
    spec: NoiseSpec,
    n: int,
    like: Tensor,
    temperature: float | Tensor = 1.0,
    generator: Generator = None,
) -> Tensor:
    """Draw (n, *spec.shape) standard noise, times the temperature (a number, or one per example).

    Temperature 0 gives the median, 0, and so does `MIDPOINT`.

    >>> draw(NoiseSpec((2,)), 3, torch.zeros(()), generator=MIDPOINT).tolist()
    [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    >>> generators = [torch.Generator().manual_seed(0) for _ in "ab"]
    >>> whole = draw(NoiseSpec((2,)), 3, torch.zeros(()), generator=generators[0])
    >>> second = Portion(generators[1], slice(1, 2), size=3)
    >>> torch.equal(draw(NoiseSpec((2,)), 1, torch.zeros(()), generator=second), whole[1:2])
    True
    >>> each = OfEach(tuple(torch.Generator().manual_seed(seed) for seed in (7, 0)))
    >>> torch.equal(draw(NoiseSpec((2,)), 2, torch.zeros(()), generator=each)[1], whole[0])
    True
    """
    noise = _standard(spec, n, like, generator).to(like.device)
    if not isinstance(temperature, int | float):  # which a copy to a GPU would make wait
        scale = torch.as_tensor(temperature, dtype=like.dtype, device=like.device)
        temperature = scale.reshape(-1, *[1] * len(spec.shape))
    return noise * temperature


def _standard(spec: NoiseSpec, n: int, like: Tensor, generator: Generator) -> Tensor:
    if isinstance(generator, Portion):
        noise = _standard(spec, generator.size, like, generator.generator)[generator.rows]
        if len(noise) != n:
            raise ValueError(f"noise for {len(noise)} examples where there are {n}")
        return noise
    if isinstance(generator, OfEach):
        if len(generator.generators) != n:
            raise ValueError(f"{len(generator.generators)} generators for {n} examples")
        return torch.cat([_standard(spec, 1, like, each) for each in generator.generators])
    shape = (n, *spec.shape)
    if generator is MIDPOINT:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
    source = like.device if generator is None else generator.device
    if spec.distribution == "normal":
        return torch.randn(shape, dtype=like.dtype, device=source, generator=generator)
    uniform = torch.rand(shape, dtype=like.dtype, device=source, generator=generator)
    return torch.logit(uniform, eps=torch.finfo(like.dtype).tiny)


class Density(nn.Module, ABC):
    """A distribution that can write every x as independent standard noise, and back.

    To write one: implement `encode`, `decode` and `noise_specs`. The noises are *whitened*: under
    the density they are independent standard draws, so temperature, seeded sampling,
    interpolation and reconstruction are all `decode(f(encode(x)))`.

    `generator` says where randomness comes from. Only dequantization draws any; every other
    density is deterministic and merely hands the generator on.
    """

    config: Any = None
    """The settings that rebuild this density, when it was made by `glowkit.build`."""

    shape: tuple[int, ...] | None = None
    """Of one example x, where it is known."""

    levels: int | None = None
    """How many integers, from 0 on, a value of x can be; None where x is continuous."""

    classes: int = 0
    """How many class labels, from 0 on, the context can be; 0 where it is none."""

    anchor: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Follows `.to()`, so that even a density without parameters knows its dtype and device.
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    @property
    def reads_context(self) -> bool:
        """Whether log p may depend on the context; where it cannot, a context is refused."""
        return True

    @abstractmethod
    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        """Write x as noise. Returns the noises in the order they leave, and log p(x), (N,) nats."""

    @abstractmethod
    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Turn noises back into x. Returns x and log p(x), (N,) nats, not finite where x is not."""

    @abstractmethod
    def noise_specs(self) -> list[NoiseSpec]:
        """Shape and distribution of each noise, in the order `encode` returns them."""

    def log_prob(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> Tensor:
        """log p(x | context) in nats, shape (N,). A lower bound where x is dequantized."""
        return self.encode(x, context, generator)[1]

    def forward(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> Tensor:
        """`log_prob`: what a wrapper calls, `DistributedDataParallel` and the like."""
        return self.log_prob(x, context, generator)

    def draw_noises(
        self, n: int, temperature: float | Tensor = 1.0, generator: Generator = None
    ) -> list[Tensor]:
        """Draw the noises of n examples; `temperature` is a number or a tensor of n numbers."""
        n = check_count(n, "the number of samples")
        check_model(self.anchor)
        check_temperature(temperature, n)
        check_generator(generator)
        return [draw(spec, n, self.anchor, temperature, generator) for spec in self.noise_specs()]

    @torch.no_grad()
    def sample(
        self,
        n: int,
        temperature: float | Tensor = 1.0,
        context: Tensor | None = None,
        generator: Generator = None,
    ) -> Tensor:
        """Draw n examples. Costs one inverse pass of the flow.

        Warns (GlowkitWarning) of examples that could not be computed, which hold NaN or infinity,
        or zeros in images; `decode` tells which they are.
        """
        x, log_p = self.decode(self.draw_noises(n, temperature, generator), context)
        warn_of_broken(x, broken_examples(x, log_p))
        return x


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
    if len(x) == 0:
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
        if noise.shape != (len(noises[0]), *spec.shape) or noise.dtype != anchor.dtype:
            raise GlowkitError(
                f"noise {i} must be (N, {', '.join(map(str, spec.shape))}) of"
                f" {_name(anchor.dtype)}, for the same N as the others, and is"
                f" {tuple(noise.shape)} of {_name(noise.dtype)}"
            )
        check_device(noise, anchor)


def check_context(density: Density, context: object) -> None:
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
        or isinstance(generator, torch.Generator | Portion | OfEach)
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
