"""Autoregressive models of images: kinds of log p, steps that are counted, refusals."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import glowkit
from glowkit.densities import FEATURES, Dequantize, Ordinal
from glowkit.models import AutoregressiveConfig, count_parameters, from_settings, to_settings
from glowkit.nets import CausalNet, TransformerLayer

TINY = AutoregressiveConfig((1, 4, 4), layers=1, width=8, heads=2, inner=4, pixel_levels=17)
FLOW = {"head": "affine", "blocks": 2, "inner": 0}


def images(config: AutoregressiveConfig, n: int = 8) -> Tensor:
    size = (n, *config.image_shape)
    return torch.randint(0, config.pixel_levels, size, dtype=torch.uint8)


def shaken(config: AutoregressiveConfig) -> glowkit.Density:
    torch.manual_seed(0)
    model = glowkit.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"classes": 3},
        {"image_shape": (3, 2, 6), "patch": 2, "neighbours": "previous"},
        {"patch": 1, "inner": 0},
        FLOW,
        FLOW | {"classes": 3},
        {"head": "mixture", "components": 3},
        FLOW | {"dequantization": "variational"},
    ],
)
def test_round_trip(settings: dict[str, Any]) -> None:
    config = replace(TINY, **settings)
    model, x = shaken(config), images(config)
    labels = torch.arange(8) % config.classes if config.classes else None
    glowkit.initialize(model, x, labels)  # the noise of variational dequantization, if any
    noises, log_p = model.encode(x, labels)
    assert torch.equal(model.decode(noises, labels)[0], x)
    assert log_p.isfinite().all()
    exact = isinstance(model, Ordinal) or config.head == "ordinal"
    assert model.log_p_kind == ("exact" if exact else "bound")
    assert from_settings(to_settings(config)) == config


@pytest.mark.parametrize("inner", [0, 3])
@pytest.mark.parametrize("columns", [0, 3])
def test_steps_are_the_whole_pass_token_for_token(inner: int, columns: int) -> None:
    torch.manual_seed(0)
    net = CausalNet(4, 12, 3, 8, 2, 2, 5, inner, 2, columns).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.3)
    x, context = torch.randn(2, 8, 12).double(), torch.randn(2, 5).double()
    whole, state = net(x, context), net.start(2, context)
    for t in range(12):
        known = range(4) if inner else range(1)
        parts = [net.outputs(state, x[:, : 2 * j, t]) for j in known]
        assert (torch.cat(parts, 1).flatten(1) - whole[:, :, t]).abs().max() < 1e-12
        state = net.step(state, x[:, :, t])


@pytest.mark.parametrize("inner", [0, 3])
def test_no_output_sees_its_own_dimension_or_later_ones(inner: int) -> None:
    torch.manual_seed(0)
    net = CausalNet(3, 6, 2, 8, 2, 2, inner=inner, columns=3).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.3)
    x = torch.randn(1, 3, 6).double()
    seen = torch.autograd.functional.jacobian(net, x)[0, :, :, 0].abs()  # (d·P, T, d, T)
    seen = seen.unflatten(0, (3, 2)).sum(1).permute(1, 0, 3, 2).reshape(18, 18)  # in order
    assert seen.triu().max() == 0
    within = torch.block_diag(*[torch.ones(3, 3)] * 6).bool() & torch.ones(18, 18).tril(-1).bool()
    assert bool(seen[within].any()) == bool(inner)


@pytest.mark.parametrize("settings", [{}, {"head": "affine", "inner": 0}])
def test_decoding_takes_one_evaluation_of_one_token_for_each(settings: dict[str, Any]) -> None:
    model = shaken(replace(TINY, **settings))
    noises, _ = model.encode(images(TINY))
    tokens: list[int] = []

    def count(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, TransformerLayer):
            tokens.append(inputs[0].shape[1])

    # In the class, since an ordinal model decodes with a copy in float64.
    handle = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        model.decode(noises)
    finally:
        handle.remove()
    assert tokens.count(1) == 4
    assert len(tokens) - tokens.count(1) <= 1  # the pass that says log p


def test_all_probabilities_are_those_of_each_value() -> None:
    model = shaken(TINY).double()
    assert isinstance(model, Ordinal)
    values = model._tokens(images(TINY).double())
    h = model._heads(model.net, values, None)
    of_all = model._log_p_of_all(h)
    each = of_all.gather(-1, values.long().unsqueeze(-1)).squeeze(-1)
    assert (each - model._log_p(values, h)).abs().max() < 1e-9
    assert (of_all.exp().sum(-1) - 1).abs().max() < 1e-9


def test_noise_is_made_in_parts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = shaken(TINY), images(TINY)
    whole = model.encode(x, generator=glowkit.MIDPOINT)[0][0]
    monkeypatch.setattr("glowkit.densities.ordinal._HELD", 3 * 16 * 17)
    assert torch.equal(model.encode(x, generator=glowkit.MIDPOINT)[0][0], whole)


def test_noise_that_is_not_a_number_is_told() -> None:
    model = shaken(TINY)
    (noise,) = model.draw_noises(2)
    noise[0, 0, 1, 1] = torch.nan
    assert model.decode([noise])[1].isnan().tolist() == [True, False]


def test_a_fresh_flow_is_the_identity_and_its_families_have_their_densities() -> None:
    model = glowkit.build(replace(TINY, **FLOW))
    assert isinstance(model, Dequantize)
    v = torch.rand(2, 1, 4, 4)
    (z,), _ = model.density.encode(v)
    assert torch.allclose(z.flatten().sort()[0], (2 * v - 1).flatten().sort()[0])
    assert count_parameters("ar-tiny") == 166_076


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"pixel_levels": 257}, "an ordinal head takes at most 256"),
        ({"blocks": 2}, "set blocks to 1"),
        ({"inner": 0}, "an ordinal head needs inner"),
        ({"patch": 3}, "not divisible by patch"),
        ({"heads": 3}, "must divide width"),
        ({"dropout": 1.0}, "below 1"),
        ({"head": "affine", "components": 3}, "only head"),
        ({"dequantization": "variational"}, "only head 'affine' or 'mixture'"),
        ({"head": "softmax"}, "does not exist"),
        ({"neighbours": "below"}, "does not exist"),
    ],
)
def test_refusals(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(glowkit.GlowkitError, match=sentence):
        replace(TINY, **settings)


def test_an_ordinal_density_refuses_more_levels_than_noise_can_tell() -> None:
    net = CausalNet(1, 4, 6, 8, 1, 1, features=FEATURES)
    with pytest.raises(glowkit.GlowkitError, match="from 2 to 256"):
        Ordinal((1, 2, 2), 1000, net, 2)
