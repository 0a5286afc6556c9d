"""Classification: an exact likelihood under every class makes a classifier, by Bayes' rule."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from glowkit.core import Density, GlowkitError, frozen
from glowkit.tasks.likelihood import check_counts, head_logits, mean_and_error, to_bits_per_dim


@dataclass(frozen=True)
class Classification:
    """How well a class-conditional model tells the classes of a set of images.

    accuracy: share of the images whose own class is the one that makes them likeliest; an image
        with a NaN among its log p is told wrong.
    marginal_bits_per_dim: without labels, of P(x) = the mean over classes of P(x | class).
    accuracy_standard_error, marginal_standard_error: of these two means over images.
    head_accuracy: the same share for the classifier head, or None for a model without one.
    """

    accuracy: float
    accuracy_standard_error: float
    marginal_bits_per_dim: float
    marginal_standard_error: float
    head_accuracy: float | None


@torch.no_grad()
def class_log_probs(model: Density, images: Tensor, seed: int = 0) -> Tensor:
    """log P(x | class) under every class, (N, classes), nats, all at the same dequantization noise.

    Each is the one-sample bound that `log_prob` gives. Their softmax over classes is the class
    probability by Bayes' rule, if all classes are equally frequent; their logsumexp − ln classes is
    a bound on log P(x). Cost: that of `log_prob` for every class.

    Raises:
        GlowkitError: for a model without classes.
    """
    classes = model.classes
    if not classes:
        raise GlowkitError("this model has no classes to tell apart; train one with --conditional")
    columns = []
    for number in range(classes):
        generator = torch.Generator(images.device).manual_seed(seed)
        labels = torch.full((len(images),), number, device=images.device)
        columns.append(model.log_prob(images, labels, generator).double())
    return torch.stack(columns, dim=1)


@torch.no_grad()
def classify(
    model: Density, batches: Iterable[tuple[Tensor, Tensor | None]], seed: int = 0
) -> Classification:
    """Compare the classes that a model gives to images with their labels; batches (images, labels).

    Raises:
        GlowkitError: for a model without classes, images without labels, or no image at all.
    """
    check_counts(model)
    right, bits, head_right = [], [], []
    with frozen(model):
        for number, (images, labels) in enumerate(batches):
            if labels is None:
                raise GlowkitError("to count right answers, every image needs its label")
            log_p = class_log_probs(model, images, seed + number)
            right.append(_told(log_p, labels))
            marginal = log_p.logsumexp(1) - math.log(log_p.shape[1])
            bits.append(to_bits_per_dim(marginal, images).cpu())
            # Under label 0 for every image: nothing of the right one can reach the head.
            zeros = torch.zeros(len(images), dtype=torch.int64, device=images.device)
            generator = torch.Generator(images.device).manual_seed(seed + number)
            logits = head_logits(model, model.encode(images, zeros, generator)[0], zeros)
            if logits is not None:
                head_right.append(_told(logits, labels))
    if not right:
        raise GlowkitError("there are no images to classify")
    accuracy, accuracy_error = mean_and_error(torch.cat(right).double())
    without_labels, marginal_error = mean_and_error(torch.cat(bits))
    return Classification(
        accuracy=accuracy,
        accuracy_standard_error=accuracy_error,
        marginal_bits_per_dim=without_labels,
        marginal_standard_error=marginal_error,
        head_accuracy=torch.cat(head_right).double().mean().item() if head_right else None,
    )


def _told(scores: Tensor, labels: Tensor) -> Tensor:
    """Whether the highest score of a row, (N, classes), is its label's; not where one is NaN."""
    return (scores.argmax(1).eq(labels) & ~scores.isnan().any(1)).cpu()
