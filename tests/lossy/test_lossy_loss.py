"""The loss that trains for coding: its bits, what an error is worth, and what training does."""

import math

import pytest
import torch

from coding.models import CONFIGS, digits, trained
from glowkit.core import GlowkitError
from glowkit.data.source import ImageSplit
from glowkit.densities import Dequantize, Split, StandardNormal, Uniform
from glowkit.tasks.lossy import LossySettings, rate_distortion, unit_of
from glowkit.tasks.lossy.container import compressed
from glowkit.tasks.lossy.loss import Draws, draws, round_trip
from glowkit.tasks.lossy.quantise import FLOOR, Latent, bits
from glowkit.tasks.lossy.settings import lossy_settings_from
from glowkit.training.batches import Prepare
from glowkit.training.of_lossy import LossyImages


def test_the_bits_of_all_bins_are_of_shares_that_sum_to_one() -> None:
    for std in (0.05, 1.0, 30.0):
        n = torch.arange(-400, 401, dtype=torch.float64)
        taken = bits(Latent(n, torch.tensor(std).double().log()), torch.ones(()).double())
        assert torch.exp2(-taken).sum().item() == pytest.approx(1, abs=1e-9)


def test_bits_and_their_gradients_are_finite_far_out() -> None:
    residual = torch.tensor([0.0, 1.0, 40.0, 1e4], requires_grad=True)
    taken = bits(Latent(residual, torch.tensor(-3.0)), torch.ones(()))
    (gradient,) = torch.autograd.grad(taken.sum(), residual)
    assert taken.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient[-1] > gradient[1] > 0
    std = math.hypot(math.exp(-3), FLOOR)
    assert taken[-1].item() == pytest.approx(1e4**2 / 2 / std**2 / math.log(2), rel=1e-3)


def test_the_worth_of_an_error_makes_a_latent_of_a_pixel_level() -> None:
    """Of v to z = a v with a known deviation: the best a is that of the unit, at any fine step."""
    best = {}
    for step in (0.5, 2.0):
        scales = torch.linspace(0.5, 2, 151, dtype=torch.float64)
        rate = torch.log2(50 * scales / step)
        error = step**2 / 12 / scales**2
        loss = rate + 6 / math.log(2) / step**2 * error
        best[step] = scales[loss.argmin()].item()
    assert best == {0.5: 1.0, 2.0: 1.0}


@pytest.mark.slow
def test_the_unit_is_that_of_the_jacobian() -> None:
    model, (images, _) = trained(CONFIGS["affine"]).double(), digits(4)
    v = ((images.double() + 0.5) / 17).requires_grad_()

    def latents(x: torch.Tensor) -> torch.Tensor:
        then = model.density.density  # type: ignore[union-attr]
        y = then.bijection(model.density.bijection(x)[0])[0]  # type: ignore[union-attr, operator]
        split = then.density
        return torch.cat([split.deeper.bijection(y[:, :2])[0].flatten(1), y[:, 2:].flatten(1)], 1)

    ladj = []
    for one in v:
        jacobian = torch.autograd.functional.jacobian(latents, one[None])
        ladj.append(torch.linalg.slogdet(jacobian.reshape(64, 64))[1])
    expected = math.exp(torch.stack(ladj).mean().item() / 64) / 17
    assert unit_of(model, images) == pytest.approx(expected, rel=1e-5)


def test_a_little_training_makes_a_codec() -> None:
    images, _ = digits(200)
    model = trained(CONFIGS["affine"])
    settings = LossySettings(unit_of(model, images), 0.5, 2.0)

    def loss(seed: int) -> torch.Tensor:
        drawn = draws(model, len(images), settings, torch.Generator().manual_seed(seed))
        return rate_distortion(model, images, settings.unit, drawn).mean()

    before = loss(1000).item()
    optimizer = torch.optim.Adam(model.train().parameters(), 3e-3)
    for seed in range(40):
        optimizer.zero_grad()
        loss(seed).backward()
        optimizer.step()
    model.eval()
    assert loss(1000).item() < before - 0.3
    made = compressed(model, images, settings.unit, search=False)
    error = (made.images.double() - images.double()).square().mean().item()
    assert error < 0.35  # about 1/12 of rounding to a step, and 1/12 of rounding to pixels


def test_images_at_which_the_decoder_overflows_are_left_out_of_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, (images, _) = trained(CONFIGS["affine"]), digits(4)
    settings = LossySettings(1.0, 0.5, 2.0)
    asked = []

    def some_broken(*arguments: object) -> torch.Tensor:
        asked.append(len(arguments[1]))  # type: ignore[arg-type]
        each = rate_distortion(*arguments)  # type: ignore[arg-type]
        return each + torch.tensor([0.0, torch.nan, 0.0, 0.0]) if len(asked) == 1 else each

    monkeypatch.setattr("glowkit.training.of_lossy.rate_distortion", some_broken)
    loss, _ = LossyImages(settings).loss(model, images, None, torch.Generator().manual_seed(0))
    loss.backward()
    assert asked == [4, 3]
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_of_a_split_with_fewer_images_than_columns_all_are_drawn() -> None:
    images, _ = digits(9)
    objective, model = LossyImages(LossySettings(0.05, 0.5, 2.0)), trained(CONFIGS["affine"])
    sizes = []
    for count in (3, 9):
        split = ImageSplit(images[:count].numpy())
        picture, _ = objective.draw(model, torch.device("cpu"), split, Prepare(17, 17, 0))
        sizes.append(picture.size)
    assert sizes[0][0] < sizes[1][0]
    assert sizes[0][1] == sizes[1][1]


def test_a_round_trip_counts_what_rounding_moves_in_steps() -> None:
    """Of v as its own latent: a step of 1.5 levels has values at 0, 1.5, 3, 4.5 and 6 of 0..5."""
    model = Dequantize(Uniform((1, 1, 6)), StandardNormal((1, 1, 6)), levels=6)
    drawn = Draws(torch.full((1, 1, 1, 1), 1.5), [])
    images = torch.arange(6).reshape(1, 1, 1, 6)  # their middles decode to 0, 1.5, 3, 3, 4.5, 6
    moved = torch.tensor([0.5, 0.0, 0.5, 0.5, 0.0, 0.5]) / 1.5  # the last one is clamped
    found = round_trip(model, images, 1 / 6, drawn)
    assert found.item() == pytest.approx(moved.square().mean().item(), rel=1e-4)


def test_the_loss_has_the_round_trip_with_its_weight_and_the_figure_has_not() -> None:
    model, (images, _) = trained(CONFIGS["affine"]), digits(8)

    def losses(weight: float) -> tuple[float, float]:
        settings = LossySettings(0.05, 0.5, 2.0, weight)
        generator = torch.Generator().manual_seed(0)
        loss, figure = LossyImages(settings).loss(model, images, None, generator)
        return loss.item(), figure.item()

    (none, plain), (once, same), (twice, _) = losses(0.0), losses(1.0), losses(2.0)
    assert none == plain == same
    assert once > none
    assert twice - once == pytest.approx(once - none, rel=1e-3)


@pytest.mark.slow
def test_training_against_round_trips_moves_latents_less() -> None:
    images, moved = digits(200)[0], {}
    for weight in (0.0, 8.0):
        model = trained(CONFIGS["affine"])
        settings = LossySettings(unit_of(model, images), 0.5, 2.0, weight)
        optimizer = torch.optim.Adam(model.train().parameters(), 3e-3)
        for seed in range(60):
            generator = torch.Generator().manual_seed(seed)
            loss, _ = LossyImages(settings).loss(model, images, None, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        drawn = draws(model, len(images), settings, torch.Generator().manual_seed(1000))
        each = round_trip(model.eval(), images, settings.unit, drawn)
        moved[weight] = each.mean().item()
    assert moved[8.0] < 0.9 * moved[0.0]


def test_settings_of_earlier_runs_have_no_round_trip() -> None:
    values = {"unit": 0.1, "finest": 1.0, "coarsest": 32.0}
    assert lossy_settings_from(values) == LossySettings(0.1, 1.0, 32.0, 0.0)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"unit": 1.0, "finest": 1.0, "coarsest": 2.0, "round_trip": -1.0}, "give 0 or more"),
        ({"unit": 1.0, "finest": 1.0, "coarsest": 2.0, "other": 1.0}, "it needs unit"),
        ({"unit": 1.0, "finest": 1.0}, "needs unit, finest, coarsest"),
        ("much", "needs unit, finest, coarsest"),
        ({"unit": 0.0, "finest": 1.0, "coarsest": 2.0}, "unit of lossy coding is 0.0"),
        ({"unit": 1.0, "finest": 3.0, "coarsest": 2.0}, "coarser than the coarsest"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: object, sentence: str) -> None:
    with pytest.raises(GlowkitError, match=sentence):
        lossy_settings_from(values)


def test_a_split_says_the_mean_and_deviation_of_what_it_drops() -> None:
    split = trained(CONFIGS["affine"]).density.density.density  # type: ignore[union-attr]
    kept = torch.randn(3, 2, 4, 4)
    mean, log_std = split.mean_and_log_std(kept)  # type: ignore[operator]
    assert mean.shape == log_std.shape == (3, 2, 4, 4)
    noises, _ = split.prior.encode(mean, kept)  # type: ignore[union-attr, operator]
    assert not noises[0].any()
    other = Split(1, Uniform((1, 2, 2)), StandardNormal((1, 2, 2)))
    with pytest.raises(GlowkitError, match="Uniform, which has no mean"):
        other.mean_and_log_std(torch.zeros(1, 1, 2, 2))
