"""Likelihood: the one place where nats become bits/dim, for training and evaluation alike."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from glowkit.bijections import integrates
from glowkit.core import Density, Generator, GlowkitError, LogPKind
from glowkit.core.checking import check_count
from glowkit.densities import Classified, noise_of


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


SIGNS: dict[LogPKind, str] = {"exact": "=", "bound": "≤", "estimate": "≈"}
"""What stands before a model's nats or bits/dim, of which a bound on log p is an upper bound."""

IN_WORDS: dict[LogPKind, str] = {
    "exact": "exact",
    "bound": "an upper bound",
    "estimate": "an estimate",
}
"""Without "unbiased": what is estimated may be a bound."""


def sign_of(model: Density) -> str:
    """What stands before figures of a model: of one that integrates ≈, whatever its kind."""
    return "≈" if integrates(model) else SIGNS[model.log_p_kind]


ONE_DRAW: dict[LogPKind, str] = {
    "exact": "",
    "bound": ", from one draw of the bound",
    "estimate": ", from one draw of the estimate",
}
"""What is said after a figure of a single example."""


def mean_of_draws(batches: Sequence[Tensor]) -> tuple[float, float]:
    """The mean of values (K, N) drawn K times of each example, and its standard error.

    Of one draw, or of figures without any chance, that of `mean_and_error`. Of more it counts the
    examples and the draws apart, since examples of a batch may share what is drawn: the variance of
    the examples' means, less what draws add to it, over N, and that of the batches' means over K.

    >>> one, other = torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    >>> [[round(number, 6) for number in mean_of_draws([drawn])] for drawn in (one, other)]
    [[2.0, 1.0], [2.0, 1.0]]
    """
    each = torch.cat([batch.mean(0) for batch in batches])
    mean, error = mean_and_error(each)
    draws = len(batches[0])
    if draws == 1 or len(each) == 1:
        return mean, error
    within = torch.cat([batch.var(0) for batch in batches]).mean() / draws
    of_examples = (each.var() - within).clamp(min=0) / len(each)
    shares = [(batch.shape[1] / len(each)) ** 2 * batch.mean(1).var() for batch in batches]
    return mean, math.sqrt(of_examples + torch.stack(shares).sum() / draws)


def check_draws(model: Density, importance_samples: int, draws: int) -> None:
    """Refuse more than one importance sample where log p is no bound, or draw where no estimate."""
    check_count(importance_samples, "importance_samples")
    check_count(draws, "draws")
    kind = model.log_p_kind
    if importance_samples > 1 and kind == "exact":
        raise GlowkitError(
            "importance samples tighten a bound, and this model's log p is exact, so that they"
            " would be useless: leave out --importance, or importance_samples"
        )
    if importance_samples > 1 and kind == "estimate":
        raise GlowkitError(
            "importance samples would make this model's unbiased estimate of log p biased, upwards"
            " by half its variance: average draws of it instead, with --draws, or draws"
        )
    if draws > 1 and kind != "estimate":
        raise GlowkitError(
            f"draws average an estimate of log p, and this model's is {_NOT_ESTIMATES[kind]}"
        )


_NOT_ESTIMATES: dict[LogPKind, str] = {
    "exact": "exact: leave out --draws, or draws",
    "bound": "a bound, which importance samples tighten: use --importance, or importance_samples",
}


def drawn_log_p(
    model: Density,
    x: Tensor,
    context: Tensor | None = None,
    generator: Generator = None,
    importance_samples: int = 1,
    draws: int = 1,
) -> Tensor:
    """log p of examples x, (draws, N) nats, each the bound of so many importance samples.

    The bound is log (1/K) Σₖ p̂ₖ(x), accumulated in float64 (Burda et al. 2016).

    Raises:
        GlowkitError: for importance samples of what is no bound, or draws of what is no estimate.
    """
    check_draws(model, importance_samples, draws)
    if importance_samples == 1:
        each = [model.log_prob(x, context, generator) for _ in range(draws)]
        return torch.stack(each)
    samples = torch.stack(
        [model.log_prob(x, context, generator).double() for _ in range(importance_samples)]
    )
    return (samples.logsumexp(0) - math.log(importance_samples))[None]


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


def unit_of(model: Density) -> str:
    """Bits/dim of images, or the nats that a density of noisy images has instead."""
    return "nats" if noise_of(model) else "bits/dim"


def in_its_unit(model: Density, log_p: Tensor, images: Tensor) -> Tensor:
    """−log p of images, (N,), in the unit that `unit_of` names."""
    return -log_p if noise_of(model) else to_bits_per_dim(log_p, images)


def check_counts(model: Density) -> None:
    """Refuse to make bits/dim of a log p that is of noisy images, and counts none.

    Raises:
        GlowkitError: for a model trained with normal noise on its images.
    """
    if deviation := noise_of(model):
        raise GlowkitError(
            f"log p of this model is of images with noise of deviation {deviation:g}, a density in"
            " nats, and bits/dim count whole numbers, so that none can be made of it; glowkit"
            " evaluate and model.log_prob(x) give the nats, and dequantization 'uniform' a model"
            " that has bits/dim"
        )


def bits_per_dim(
    model: Density,
    images: Tensor,
    context: Tensor | None = None,
    generator: Generator = None,
    importance_samples: int = 1,
    draws: int = 1,
) -> Tensor:
    """Bits per dimension of each example, (N,): exact, a bound or an estimate, by `log_p_kind`.

    −log₂ P(x) / D, where log P of a dequantized model is bounded by
    log (1/K) Σₖ p(v_k) / q(u_k | x) with K importance samples, an upper bound of bits/dim that
    tightens with more; where log P is estimated it is the mean of so many draws. D counts every
    dimension of x. It is the code length in bits of each of the D integers, so figures compare only
    at equal pixel levels.

    Raises:
        GlowkitError: for fewer than one importance sample or draw, more than one where they are
            useless or wrong, images the model does not take, or a density of continuous values or
            of noisy images.

    >>> from glowkit.densities import Dequantize, StandardNormal, Uniform
    >>> model = Dequantize(Uniform((1, 1, 1)), StandardNormal((1, 1, 1)), levels=256)
    >>> bits_per_dim(model, torch.zeros(2, 1, 1, 1, dtype=torch.uint8)).shape
    torch.Size([2])
    """
    levels_of(model)
    check_counts(model)
    log_p = drawn_log_p(model, images, context, generator, importance_samples, draws)
    return to_bits_per_dim(log_p.mean(0), images)


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
    check_counts(model)
    head = _head(model)
    if head is None or context is None:
        mean = to_bits_per_dim(model.log_prob(images, context, generator), images).mean()
        return mean, mean
    noises, log_p = model.encode(images, context, generator)
    mean = to_bits_per_dim(log_p, images).mean()
    logits = _logits(head, noises, context)
    bits = F.cross_entropy(logits, context.long()) / math.log(2)
    return mean + head.weight * bits, mean
