"""Flows of points: what each preset is made of, figures in nats, refusals."""

import math

import pytest
import torch

import glowkit
from glowkit.bijections import (
    Actnorm,
    Affine,
    Autoregressive,
    BoundedAffine,
    Conv1x1,
    Coupling,
    ElementwiseScale,
    MaskedBatchNorm,
    standardize,
)
from glowkit.core.chain import fall_back
from glowkit.models import PointsConfig, from_settings, to_settings
from glowkit.tasks import evaluate_points, share_between_modes

PRESETS = [name for name in glowkit.PRESETS if name.endswith("-points")]


def test_there_is_a_preset_for_every_family() -> None:
    assert {"glow-points", "realnvp-points", "nice-points"} < set(PRESETS)
    assert {"spline-points", "mixture-points", "maf-points", "nsf-points"} < set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_inverts_and_saves(name: str, tmp_path) -> None:
    torch.manual_seed(0)
    model = glowkit.build(name)
    x = torch.randn(64, 2)
    glowkit.initialize(model, x)
    noises, log_p = model.encode(x, generator=glowkit.MIDPOINT)
    assert (model.decode(noises)[0] - x).abs().max() < 1e-3
    glowkit.save(model, tmp_path / "model")
    again = glowkit.load(tmp_path / "model")
    assert torch.equal(again.log_prob(x, generator=glowkit.MIDPOINT), log_p)
    assert model.sample(3).shape == (3, 2)


def layers(name: str) -> list[type]:
    return [type(layer) for layer in glowkit.build(name).bijection.bijections]


def test_what_the_presets_are_made_of() -> None:
    assert layers("glow-points")[:2] == [Actnorm, Conv1x1]
    assert layers("realnvp-points")[0] == MaskedBatchNorm
    assert any(isinstance(m, BoundedAffine) for m in glowkit.build("realnvp-points").modules())
    nice = layers("nice-points")
    assert nice[-1] == ElementwiseScale
    assert ElementwiseScale not in nice[:-1]
    assert Actnorm not in nice


def test_nice_on_vectors_preserves_volume_but_for_its_scaling() -> None:
    torch.manual_seed(0)
    config = PointsConfig(
        5, steps=4, width=8, coupling="additive", permutation="reverse", normalization="diagonal"
    )
    model = glowkit.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    _, ladj = model.bijection(torch.randn(6, 5))
    assert torch.allclose(ladj, model.bijection.bijections[-1].log_scale.sum())


def test_bits_per_dim_is_refused() -> None:
    model = glowkit.build("nice-points")
    with pytest.raises(glowkit.GlowkitError, match="log_prob"):
        glowkit.bits_per_dim(model, torch.zeros(2, 2))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"coupling": "quadratic"}, "spline"),
        ({"normalization": "layer"}, "batch-norm"),
        ({"permutation": "rotate"}, "conv1x1"),
        ({"prior": "uniform"}, "logistic"),
        ({"dimensions": 1}, "at least 2 for structure 'coupling'.*'autoregressive'"),
        ({"dimensions": 0, "structure": "autoregressive"}, "at least 1"),
        ({"preprocessing": "whiten"}, "standardize"),
        ({"structure": "causal"}, "autoregressive"),
        ({"steps": 0}, "at least 1"),
        ({"bins": 600}, "at most 500"),
        ({"coupling": "affine", "bins": 4}, "coupling 'spline'"),
        ({"components": 4}, "coupling 'mixture'"),
        ({"classes": 3}, "classes to 0"),
        ({"context_features": -1}, "at least 0"),
        ({"memory": "disk"}, "checkpoint"),
        ({"coupling": "planar", "permutation": "reverse"}, "only a coupling with a network"),
        ({"coupling": "radial", "context_features": 2}, "only a coupling with a network"),
        ({"augmented_features": -1}, "at least 0"),
        ({"augmentation": "variational"}, "a model with augmented_features"),
        ({"augmented_features": 1, "augmentation": "more"}, "indexed"),
        (
            {"augmented_features": 1, "augmentation": "indexed", "normalization": "diagonal"},
            "needs a normalization in each step",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(setting: dict, words: str) -> None:
    with pytest.raises(glowkit.GlowkitError, match=words):
        PointsConfig(**setting)


def test_settings_survive_a_file() -> None:
    config = PointsConfig(steps=3, coupling="mixture", components=5)
    assert from_settings(to_settings(config)) == config


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (None, "each example a context of 2 number"),
        (torch.zeros(6, 3), r"6 example\(s\), not \(6, 3\)"),
        (torch.zeros(5, 2), r"not \(5, 2\)"),
        (torch.full((6, 2), math.nan), "NaN"),
    ],
)
def test_a_context_that_is_missing_or_of_another_size_is_refused(
    context: torch.Tensor | None, words: str
) -> None:
    model = glowkit.build(PointsConfig(3, steps=2, width=4, context_features=2))
    x = torch.randn(6, 3)
    glowkit.initialize(model, x, torch.randn(6, 2))
    with pytest.raises(glowkit.GlowkitError, match=words):
        model.log_prob(x, context)
    with pytest.raises(glowkit.GlowkitError, match=words):
        model.sample(6, context=context)


@pytest.mark.parametrize("context", [0, 2])
def test_one_dimension_is_learned_by_an_autoregressive_flow(context: int) -> None:
    """Two modes of one number, whose density is known."""
    torch.manual_seed(0)
    config = PointsConfig(1, steps=1, structure="autoregressive", context_features=context)
    model = glowkit.build(config)
    sign = torch.randint(2, (1024, 1)) * 2.0 - 1
    x = sign + 0.1 * torch.randn(1024, 1)
    given = torch.cat([sign, sign], dim=1) if context else None
    glowkit.initialize(model, x, given)
    optimizer = torch.optim.Adam(model.parameters(), 3e-2)
    for _ in range(100):
        loss = -model.log_prob(x, given).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.01) + (0 if context else math.log(2))
    assert entropy - 0.1 < loss.item() < entropy + 0.15
    drawn = model.sample(1024, context=given)
    assert drawn.shape == (1024, 1)
    assert 0.9 < drawn.abs().median() < 1.1
    if given is not None:
        assert (drawn.sign() == sign).float().mean() > 0.98


def test_the_units_of_the_data_do_not_matter_to_a_standardised_model(tmp_path) -> None:
    """log p(a x + b | c d) is log p(x | c) less ln a, whatever the units."""
    torch.manual_seed(0)
    config = PointsConfig(2, steps=2, width=4, preprocessing="standardize", context_features=1)
    x, context = torch.randn(64, 2), torch.randn(64, 1)
    scale, shift = torch.tensor([1e-5, 300.0]), torch.tensor([1e-3, -4000.0])
    one, other = glowkit.build(config), glowkit.build(config)
    other.load_state_dict(one.state_dict())
    glowkit.initialize(one, x, context)
    standardize(other, scale * x + shift, 1e6 * context)
    glowkit.initialize(other, (scale * x + shift)[:64], 1e6 * context)
    with torch.no_grad():
        difference = one.log_prob(x, context) - other.log_prob(scale * x + shift, 1e6 * context)
    assert torch.allclose(difference, scale.log().sum(), atol=5e-3)
    drawn = other.sample(500, context=torch.zeros(500, 1))
    assert torch.allclose(drawn.mean(0), shift, atol=float(scale.max()) / 3)
    glowkit.save(other, tmp_path / "model")
    again = glowkit.load(tmp_path / "model").sample(5, 0.0, torch.zeros(5, 1))
    assert torch.equal(again, other.sample(5, 0.0, torch.zeros(5, 1)))


def test_a_density_that_has_moments_keeps_them() -> None:
    """Going on with a trained density on other rows must not begin with another density."""
    config = PointsConfig(2, steps=1, width=4, preprocessing="standardize", context_features=1)
    model, x, context = glowkit.build(config), torch.randn(64, 2), torch.randn(64, 1)
    standardize(model, x, context)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    standardize(model, 5 * x + 1, context - 3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Steep(torch.nn.Module):
    """Of two coordinates; the second is scaled by nearly nothing where the first is 0."""

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        none = torch.zeros_like(x[:, 0])
        return torch.stack([none, none, none, 100 * (x[:, 0] - 3)], dim=1)


def test_coordinates_that_are_not_final_yet_leave_gradients_finite() -> None:
    layer = Autoregressive(Steep(), Affine())
    x = torch.tensor([[3.0, 1.0]])
    y = layer(x)[0].requires_grad_()
    again, ladj = layer.inverse(y)
    assert torch.allclose(again, x, atol=1e-4)
    (gradient,) = torch.autograd.grad(again.sum() + ladj.sum(), y)
    assert gradient.isfinite().all()


def test_what_cannot_be_rebuilt_is_checkpointed() -> None:
    config = PointsConfig(3, steps=2, structure="autoregressive", memory="reversible")
    (reason,) = fall_back(glowkit.build(config).train())
    assert "as many evaluations of its network" in reason


def test_the_context_reaches_every_coupling_and_survives_saving(tmp_path) -> None:
    torch.manual_seed(0)
    model = glowkit.build(PointsConfig(2, steps=3, width=4, context_features=2))
    x, context = torch.randn(16, 2), torch.randn(16, 2)
    glowkit.initialize(model, x, context)
    with torch.no_grad():  # else the last layers, which start as zero, let no gradient through
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.log_prob(x, context).sum().backward()
    firsts = [m.net.layers[0] for m in model.modules() if isinstance(m, Coupling)]
    assert len(firsts) == 3
    for first in firsts:
        assert first.weight.grad[:, 1:].abs().sum(0).min() > 0
    glowkit.save(model, tmp_path / "model")
    again = glowkit.load(tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(again.log_prob(x, context), model.log_prob(x, context))
    assert again.sample(16, context=context).shape == (16, 2)


def test_a_conditional_density_is_learned() -> None:
    """N(c, 0.5²) for each c: in the mean log p, and in the mean of samples for two contexts."""
    torch.manual_seed(0)
    config = PointsConfig(2, steps=2, width=16, coupling="affine", context_features=1)
    model = glowkit.build(config)
    context = torch.rand(512, 1) * 2 - 1
    x = context + 0.5 * torch.randn(512, 2)
    glowkit.initialize(model, x, context)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        loss = -model.log_prob(x, context).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    truth = 1 + math.log(2 * math.pi * 0.25)
    assert abs(loss.item() - truth) < 0.12
    for value in (-0.8, 0.8):
        drawn = model.sample(2000, context=torch.full((2000, 1), value))
        assert (drawn.mean(0) - value).abs().max() < 0.15


def test_the_figures_of_a_model_that_is_known() -> None:
    """N(0, 1) points under a fresh NICE with a normal prior, which is N(0, 1) itself."""
    config = PointsConfig(
        steps=2, coupling="additive", permutation="reverse", normalization="diagonal"
    )
    model = glowkit.build(config)
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    entropy = 1 + math.log(2 * math.pi)

    def log_p(points: torch.Tensor) -> torch.Tensor:
        return -0.5 * points.double().square().sum(1) - math.log(2 * math.pi)

    batches = [(part, None) for part in x.split(1500)]
    figures = evaluate_points(model, batches, entropy, log_p)
    assert figures.points == 4000
    assert figures.kl_nats == figures.nll_nats - entropy
    assert abs(figures.kl_nats) < 4 * figures.standard_error
    assert figures.standard_error == pytest.approx(1 / math.sqrt(4000), rel=0.1)
    assert abs(figures.paired_kl_nats) < 1e-5  # equal densities: no noise at all
    assert figures.largest_error == 0
    wider = evaluate_points(
        model, [(2 * x, None)], entropy + math.log(4), lambda p: log_p(p / 2) - math.log(4)
    )
    kl = 0.5 * 2 * (4 - 1 - math.log(4))  # of N(0, 4) from N(0, 1), twice
    assert abs(wider.kl_nats - kl) < 4 * wider.standard_error
    assert abs(wider.paired_kl_nats - kl) < 4 * wider.paired_standard_error


def test_a_point_that_does_not_come_back_is_seen() -> None:
    model = glowkit.build(
        PointsConfig(steps=1, coupling="additive", permutation="reverse", normalization="diagonal")
    )
    lost = torch.tensor([[0.0, 1.0], [torch.nan, 0.0]])
    batches = [(torch.zeros(2, 2), None), (lost, None), (torch.zeros(2, 2), None)]
    figures = evaluate_points(model, batches, 0.0, lambda points: points.double().sum(1))
    assert math.isnan(figures.largest_error)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(4, 3), torch.zeros(4, 2, dtype=torch.int64), torch.zeros(4, 2, 1)]
)
def test_points_of_another_kind_are_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(glowkit.GlowkitError, match=r"\(N, 2\), as floats"):
        evaluate_points(glowkit.build("nice-points"), [(wrong, None)], 0.0, lambda x: x[:, 0])


def test_too_few_points_are_refused() -> None:
    with pytest.raises(glowkit.GlowkitError, match="at least 2"):
        evaluate_points(glowkit.build("nice-points"), [], 0.0, lambda x: x[:, 0])


def test_the_share_between_modes_is_a_binomials() -> None:
    points = torch.cat([torch.zeros(900, 2), torch.full((100, 2), 5.0)])
    centres = torch.tensor([[0.0, 0.1], [-9.0, 0.0]])
    share, error = share_between_modes(points, centres, 0.4)
    assert share == pytest.approx(0.1)
    assert error == pytest.approx(math.sqrt(0.1 * 0.9 / 1000))
