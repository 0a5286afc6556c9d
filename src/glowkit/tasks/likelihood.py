"""Likelihood: the one place where nats become bits/dim, for training and evaluation alike."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.core import Density, Generator, GlowkitError
from glowkit.core.checking import check_count
from glowkit.densities import Classified


def to_bits_per_dim(log_p: Tensor, images: Tensor) -> Tensor:
    """−log₂ P / D, from log P in nats, (N,), and the images, whose every dimension counts."""
    return -log_p / (math.prod(images.shape[1:]) * math.log(2))


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean of values (N,) and its standard error, NaN for a single one.

    >>> mean_and_error(torch.tensor([1.0, 3.0], dtype=torch.float64))
    (2.0, 1.0)
    """
    spread = values.std().item() if len(values) > 1 else math.nan
    return values.mean().item(), spread / math.sqrt(len(values))


def levels_of(model: Density) -> int:
    """How many whole numbers a value can be, without which bits/dim mean nothing.

    Raises:
        GlowkitError: for a density of continuous values, points or the inside of an image model.
    """
    levels = getattr(model, "levels", None)
    if levels is None:
        raise GlowkitError(
            "bits/dim counts whole numbers, such as pixels, and this is a density of continuous"
            " values, such as a model of points; use model.log_prob(x), in nats"
        )
    return levels


def bits_per_dim(
    model: Density,
    images: Tensor,
    context: Tensor | None = None,
    generator: Generator = None,
    importance_samples: int = 1,
) -> Tensor:
    """Bits per dimension of each example, (N,), an upper bound that tightens with more samples.

    −log₂ P(x) / D, where log P is bounded by log (1/K) Σₖ p(v_k) / q(u_k | x) with K dequantization
    draws, accumulated in float64 (Burda et al. 2016). D counts every dimension of x. It is the code
    length in bits of each of the D integers, so figures compare only at equal pixel levels.

    Raises:
        GlowkitError: for fewer than one importance sample, images the model does not take, or a
            density of continuous values.

    >>> from glowkit.densities import Dequantize, StandardNormal, Uniform
    >>> model = Dequantize(Uniform((1, 1, 1)), StandardNormal((1, 1, 1)), levels=256)
    >>> bits_per_dim(model, torch.zeros(2, 1, 1, 1, dtype=torch.uint8)).shape
    torch.Size([2])
    """
    levels_of(model)
    check_count(importance_samples, "importance_samples")
    if importance_samples == 1:
        return to_bits_per_dim(model.log_prob(images, context, generator), images)
    draws = torch.stack(
        [model.log_prob(images, context, generator).double() for _ in range(importance_samples)]
    )
    return to_bits_per_dim(draws.logsumexp(0) - math.log(importance_samples), images)


def _head(model: Density) -> Classified | None:
    return next((module for module in model.modules() if isinstance(module, Classified)), None)


def _logits(head: Classified, noises: Sequence[Tensor], labels: Tensor) -> Tensor:
    one_hot = F.one_hot(labels.long(), len(head.head.bias)).to(noises[-1].dtype)
    return head.class_logits(noises[-1:], one_hot)


def head_logits(model: Density, noises: Sequence[Tensor], labels: Tensor) -> Tensor | None:
    """What a model's classifier head says, (N, classes), or None for a model without one.

    The noises are those of `model.encode(images, labels)`.
    """
    head = _head(model)
    return None if head is None else _logits(head, noises, labels)


def training_loss(
    model: Density,
    images: Tensor,
    context: Tensor | None = None,
    generator: Generator = None,
) -> tuple[Tensor, Tensor]:
    """What training minimises, and its bits/dim alone: two scalars.

    The mean bits/dim, plus, for a model with a classifier head, its weight times the
    mean cross-entropy in bits an image (openai/glow's weight_y).
    """
    head = _head(model)
    if head is None or context is None:
        mean = to_bits_per_dim(model.log_prob(images, context, generator), images).mean()
        return mean, mean
    noises, log_p = model.encode(images, context, generator)
    mean = to_bits_per_dim(log_p, images).mean()
    logits = _logits(head, noises, context)
    bits = F.cross_entropy(logits, context.long()) / math.log(2)
    return mean + head.weight * bits, mean
