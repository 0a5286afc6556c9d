"""AUROC and its like beside scikit-learn's, intervals that cover, and complexity beside files."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from glowkit.system.errors import GlowkitError
from glowkit.tasks.anomalies import complexity, detection_figures, group_typicality
from glowkit.tasks.anomalies.complexity import codecs, complexities


def noise(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("levels", [3, 10**6], ids=["many ties", "few"])
def test_figures_are_those_of_scikit_learn(levels: int) -> None:
    inside = torch.randint(0, levels, (150,), generator=noise(0)) / levels
    outside = torch.randint(0, levels, (90,), generator=noise(1)) / levels + 0.2
    outside[:30] = inside[:30]
    figures = detection_figures(inside, outside, resamples=50)
    truth, scores = np.r_[np.zeros(150), np.ones(90)], torch.cat([inside, outside]).numpy()
    assert figures.auroc == pytest.approx(roc_auc_score(truth, scores))
    assert figures.average_precision == pytest.approx(average_precision_score(truth, scores))
    above = min(
        float((inside >= t).double().mean())
        for t in outside
        if float((outside >= t).double().mean()) >= 0.95
    )
    assert figures.fpr95 == pytest.approx(above)


def test_what_is_not_finite_is_found_first() -> None:
    broken = torch.tensor([float("nan"), float("inf"), float("-inf")])
    assert detection_figures(torch.zeros(5), broken).auroc == 1
    assert detection_figures(broken, torch.zeros(5)).auroc == 0
    with pytest.raises(GlowkitError, match="at least one of either"):
        detection_figures(torch.zeros(0), broken)


def test_intervals_cover_the_truth_and_repeat() -> None:
    # Of N(0, 1) and N(1, 1) the exact AUROC is Φ(1 / √2).
    exact = torch.special.ndtr(torch.tensor(0.5**0.5)).item()
    covered = 0
    for seed in range(60):
        draws = torch.randn(2, 100, generator=noise(seed))
        figures = detection_figures(draws[0], draws[1] + 1, resamples=200)
        low, high = figures.auroc_interval
        assert low < figures.auroc < high
        covered += low < exact < high
    assert 51 <= covered <= 60
    assert detection_figures(draws[0], draws[1], 200) == detection_figures(draws[0], draws[1], 200)


def test_groups_are_typical_as_often_as_they_should_be() -> None:
    typical = []
    for seed in range(60):
        draws = torch.randn(300, generator=noise(seed))
        typical.append(group_typicality(draws[:100], draws[100:], resamples=200).typical)
        # No single one of these is odd.
        assert not group_typicality(draws[:100] + 0.7, draws[100:], resamples=200).typical
    assert sum(typical) >= 56
    with pytest.raises(GlowkitError, match="takes examples"):
        group_typicality(torch.zeros(0), draws)


def test_a_reference_that_is_not_finite_says_nothing_of_groups() -> None:
    draws = torch.randn(300, generator=noise(0))
    holed = torch.cat([draws[100:], torch.tensor([float("nan"), float("inf")])])
    assert group_typicality(draws[:100], holed) == group_typicality(draws[:100], draws[100:])
    with pytest.raises(GlowkitError, match="none of the 2 reference examples has a finite"):
        group_typicality(draws, holed[-2:])


def written(pixels: np.ndarray, kind: str, **settings: object) -> int:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **settings)
    return len(file.getvalue())


def test_complexity_is_what_the_shortest_file_takes_beyond_its_header(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(complexity, "codecs", lambda: {"PNG": codecs()["PNG"]})
    image = torch.randint(0, 256, (1, 3, 20, 10), generator=noise(0)).to(torch.uint8)
    pixels, empty = image[0].permute(1, 2, 0).numpy(), np.zeros((20, 10, 3), np.uint8)
    more = written(pixels, "PNG", optimize=True) - written(empty, "PNG", optimize=True)
    bits, format = complexities(image, 256)
    assert bits.item() == 8 * more / 600
    assert format.tolist() == [0]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("levels", [2, 17, 256, 65536])
def test_plain_images_are_simple_and_noise_is_not(channels: int, levels: int) -> None:
    plain = torch.full((1, channels, 16, 16), levels - 1, dtype=torch.int32)
    noisy = torch.randint(0, levels, plain.shape, generator=noise(0), dtype=torch.int32)
    bits, format = complexities(torch.cat([plain, noisy]), levels)
    entropy = np.log2(levels)
    assert abs(bits[0].item()) < 0.3
    # PNG and WebP alone take some bits more of so few values.
    assert 0.9 * entropy < bits[1].item() < 1.6 * entropy + 0.3
    assert set(format.tolist()) <= set(range(len(codecs())))


def test_jpeg_xl_counts_where_it_is_installed() -> None:
    pytest.importorskip("imagecodecs")
    assert list(codecs()) == ["PNG", "WebP", "JPEG XL"]


def test_without_it_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert list(codecs.__wrapped__()) == ["PNG", "WebP"]


def test_vectors_have_none() -> None:
    with pytest.raises(GlowkitError, match="that of images"):
        complexities(torch.zeros(3, 4), 256)
