"""Bayes' rule with exact likelihoods, on a model whose answers are known."""

import math

import pytest
import torch

import glowkit
from glowkit.tasks import class_log_probs, classify
from glowkit.tasks.likelihood import head_logits

CONFIG = glowkit.GlowConfig(
    (1, 4, 4), levels=1, steps=1, width=4, pixel_levels=16, classes=2, learn_top=False
)


def bright_or_dark(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    noise = torch.randint(0, 4, (n, 1, 4, 4), generator=generator)
    return (noise + 10 * labels[:, None, None, None]).to(torch.uint8), labels


def knowing_model(config: glowkit.GlowConfig = CONFIG) -> glowkit.Density:
    """Its top prior expects bright images of class 1 and dark ones of class 0."""
    torch.manual_seed(0)
    model = glowkit.build(config)
    images, labels = bright_or_dark()
    glowkit.initialize(model, images, labels)
    embedding = next(m for m in model.modules() if hasattr(m, "embedding")).embedding
    # The latents of the bright images' mean, as a fresh flow makes them, are the class's means.
    noises, _ = model.encode(images, labels, glowkit.MIDPOINT)
    means = [noises[-1][labels == k].mean((0, 2, 3)) for k in (0, 1)]
    with torch.no_grad():
        embedding.weight[: len(means[0])] = torch.stack(means, dim=1)
    return model


def test_every_column_is_the_log_prob_of_its_class() -> None:
    model, (images, labels) = knowing_model(), bright_or_dark()
    log_p = class_log_probs(model, images, seed=3)
    for number in (0, 1):
        labels, noise = torch.full_like(labels, number), torch.Generator().manual_seed(3)
        with torch.no_grad():
            expected = model.log_prob(images, labels, noise)
        assert torch.equal(log_p[:, number], expected.double())


def test_a_model_that_knows_the_classes_is_right() -> None:
    model, (images, labels) = knowing_model(), bright_or_dark()
    batches = [(images[:30], labels[:30]), (images[30:], labels[30:])]
    told = classify(model, batches)
    assert told.accuracy == 1
    assert told.head_accuracy is None
    assert classify(model, [(images, 1 - labels)]).accuracy == 0
    # The labels are all but certain, so that not knowing them costs one bit an image.
    bits = [
        glowkit.bits_per_dim(model, x, y, torch.Generator().manual_seed(i))
        for i, (x, y) in enumerate(batches)
    ]
    assert told.marginal_bits_per_dim == pytest.approx(torch.cat(bits).mean().item() + 1 / 16)


def test_the_head_never_sees_the_label() -> None:
    settings = {"classifier_weight": 0.01, "learn_top": True}
    model = knowing_model(glowkit.GlowConfig(**{**vars(CONFIG), **settings}))
    images, labels = bright_or_dark()
    logits = [
        head_logits(model, model.encode(images, y, glowkit.MIDPOINT)[0], y)
        for y in (labels, 1 - labels)
    ]
    torch.testing.assert_close(*logits)
    # A fresh head says 0 of everything, whose first largest is class 0.
    assert classify(model, [(images, labels)]).head_accuracy == 0.5


def test_what_cannot_be_classified() -> None:
    images, labels = bright_or_dark()
    with pytest.raises(glowkit.GlowkitError, match="no images"):
        classify(knowing_model(), [])
    with pytest.raises(glowkit.GlowkitError, match="needs its label"):
        classify(knowing_model(), [(images, None)])
    plain = glowkit.build(glowkit.GlowConfig((1, 4, 4), levels=1, steps=1, width=4))
    with pytest.raises(glowkit.GlowkitError, match="no classes"):
        classify(plain, [(images, labels)])


def test_numbers_that_are_not_finite_are_seen() -> None:
    model, batch = knowing_model(), bright_or_dark()
    with torch.no_grad():
        next(m for m in model.modules() if hasattr(m, "embedding")).embedding.bias[0] = math.nan
    assert math.isnan(classify(model, [batch]).marginal_bits_per_dim)
