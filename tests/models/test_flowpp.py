"""Flow++ as the specification has it: counts, units, patterns, initialisation, refusals."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import glowkit
from glowkit.bijections import (
    Checkerboard,
    ElementwiseNorm,
    LogisticMixture,
    Squeeze,
    Stripes,
    block_major,
    checkerboard,
)
from glowkit.core import Chain, Density
from glowkit.models import FlowPPConfig, build, count_parameters, from_settings, to_settings
from glowkit.models.flowpp import unit
from glowkit.nets import StandardizedConv2d, StandardizedNormedConv2d
from glowkit.tasks import bits_per_dim

TINY = FlowPPConfig(
    (2, 4, 8),
    couplings=((1, 2), (2, 1)),
    width=8,
    blocks=1,
    components=3,
    heads=2,
    pixel_levels=17,
    dequantization_couplings=2,
    dequantization_blocks=1,
    dequantization_heads=2,
    context_blocks=1,
    context_width=6,
)


def images(config: FlowPPConfig = TINY, n: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    size = (n, *config.image_shape)
    return torch.randint(0, config.pixel_levels, size, dtype=torch.uint8, generator=generator)


def ready(config: FlowPPConfig = TINY, gain: float = 0.0) -> tuple[Density, Tensor]:
    torch.manual_seed(0)
    model, batch = build(config), images(config)
    glowkit.initialize(model, batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(gain * torch.randn_like(parameter))
    return model, batch


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("flowpp-cifar10", 31_443_440),
        ("flowpp-imagenet32", 168_955_724),
        ("flowpp-imagenet64", 73_489_960),
        ("flowpp-celeba128", 122_790_952),
    ],
)
def test_parameter_counts_are_the_published_ones(preset: str, count: int) -> None:
    assert count_parameters(preset) == count


def test_the_parts_of_cifar10_have_the_published_counts() -> None:
    with torch.device("meta"):
        model = build("flowpp-cifar10")
    parts = (model.density, model.noise.density, model.noise.net)
    counts = [sum(p.numel() for p in part.parameters()) for part in parts]
    assert counts == [27_976_464, 3_299_040, 167_936]


def test_tiny_is_of_the_size_of_the_other_tiny_ones() -> None:
    assert count_parameters("flowpp-tiny") == pytest.approx(count_parameters("glow-tiny"), rel=0.05)


@pytest.mark.parametrize("pattern", ["stripes", "checkerboard"])
@pytest.mark.parametrize("dequantization", ["uniform", "variational"])
def test_decoding_gives_back_the_image_and_its_log_probability(
    pattern: str, dequantization: str
) -> None:
    settings = {"pattern": pattern, "dequantization": dequantization}
    defaults = {} if dequantization == "variational" else _dequantization_defaults()
    model, batch = ready(dataclasses.replace(TINY, **settings, **defaults), gain=0.02)
    model = model.double()
    noises, log_p = model.encode(batch, None, torch.Generator().manual_seed(0))
    back, log_p_back = model.decode(noises)
    assert torch.equal(back, batch)
    assert (log_p - log_p_back).abs().max() <= 1e-6
    v = torch.rand(8, 2, 4, 8, dtype=torch.float64)
    noises, _ = model.density.encode(v)
    assert (model.density.decode(noises)[0] - v).abs().max() <= 1e-9


def _dequantization_defaults() -> dict[str, Any]:
    every = {field.name: field.default for field in dataclasses.fields(FlowPPConfig)}
    return {k: v for k, v in every.items() if k.startswith(("dequantization_", "context_"))}


def test_nothing_is_factored_out_and_space_goes_to_channels_block_by_block() -> None:
    model, _ = ready()
    assert [spec.shape for spec in model.noise_specs()] == [(8, 2, 4)]
    x = torch.arange(2.0 * 4 * 8).reshape(1, 2, 4, 8)
    y, _ = Chain([Squeeze(), block_major(8)])(x)
    for channel, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        cells = x[:, :, row::2, column::2]
        assert torch.equal(y[:, 2 * channel : 2 * channel + 2], cells)


def test_stripes_pair_columns_and_the_checkerboard_pairs_colours() -> None:
    cells = torch.arange(4.0 * 6).reshape(1, 1, 4, 6)
    even, odd = Stripes()(cells)[0].unbind(1)
    assert torch.equal(even[0], cells[0, 0, :, 0::2])
    assert torch.equal(odd[0], cells[0, 0, :, 1::2])
    black = checkerboard(4, 6, 1).bool()
    first, second = Checkerboard()(cells)[0].unbind(1)
    assert torch.equal(first.flatten(), cells[0, 0][black])
    assert torch.equal(second.flatten(), cells[0, 0][~black])


def test_a_unit_has_the_references_formulas() -> None:
    """Norm, pointwise, coupling and exchange of (a, b), written out as the specification does."""
    config = dataclasses.replace(TINY, image_shape=(4, 4, 8))
    torch.manual_seed(0)
    layer = unit(config, (4, 4, 8), blocks=1, heads=2).double().eval()
    norm, mix, coupling, _ = layer
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        norm.gain[0, 0, 0] = -1  # below the floor
        norm.bias[0, 0, 0] = 0
    x = torch.randn(3, 4, 4, 8, dtype=torch.float64)
    gain = norm.gain.clamp_min(1e-10)
    a, b = (x * gain + norm.bias).chunk(2, dim=1)
    mixers = (mix.first.matrix.weight, mix.second.matrix.weight)
    a, b = (torch.einsum("oc,nchw->nohw", w, h) for w, h in zip(mixers, (a, b), strict=True))
    expected = gain.log().sum() + 32 * sum(w.det().abs().log() for w in mixers)

    h = plain_conditioner(coupling.net, a).movedim(1, -1).reshape(3, 4, 8, 2, 2 + 3 * 3)
    s, t = h[..., 0].tanh().movedim(-1, 1), h[..., 1].movedim(-1, 1)
    logits, means, log_scales = (part.movedim(3, 1) for part in h[..., 2:].split(3, dim=-1))
    log_scales = log_scales.clamp_min(-7)
    z = (b.unsqueeze(-1) - means) * (-log_scales).exp()
    below = (logits.softmax(-1) * z.sigmoid()).sum(-1)
    density = (logits.softmax(-1) * z.sigmoid() * (-z).sigmoid() / log_scales.exp()).sum(-1)
    changed = (below / (1 - below)).log() * s.exp() + t
    slope = density.log() - below.log() - (1 - below).log() + s
    y, ladj = layer(x)
    assert torch.allclose(y, torch.cat([changed, a], dim=1), atol=1e-10)
    assert torch.allclose(ladj, expected + slope.sum((1, 2, 3)), atol=1e-8)


def plain_conditioner(net: Any, x: Tensor) -> Tensor:
    """The specification's conditioner, one pixel vector at a time where it is pointwise."""

    def celu(h: Tensor) -> Tensor:
        return F.elu(torch.cat([h, -h], dim=1))

    def convolve(layer: Any, h: Tensor) -> Tensor:
        return F.conv2d(h, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)

    def norm(layer: Any, h: Tensor) -> Tensor:
        mean, variance = h.mean(1, keepdim=True), h.var(1, keepdim=True, correction=0)
        scale, shift = (p[:, None, None] for p in (layer.norm.weight, layer.norm.bias))
        return (h - mean) / (variance + 1e-5).sqrt() * scale + shift

    def gate(h: Tensor) -> Tensor:
        p, q = h.chunk(2, dim=1)
        return p * q.sigmoid()

    conv, first_norm, attention, second_norm = net.layers
    h = convolve(net.entry, x)
    inner = celu(convolve(conv.first, celu(h)))
    h = norm(first_norm, h + gate(convolve(conv.second, inner)))
    n, width, height, columns = h.shape
    vectors = convolve(attention.first, h + net.positions.embedding).flatten(2).movedim(1, 2)
    q, k, v = vectors.reshape(n, height * columns, 3, 2, width // 2).unbind(2)
    weights = torch.einsum("nthd,nshd->nhts", q, k) / math.sqrt(width // 2)
    attended = torch.einsum("nhts,nshd->nthd", weights.softmax(-1), v)
    attended = attended.reshape(n, height, columns, width).movedim(-1, 1)
    h = norm(second_norm, h + gate(convolve(attention.second, attended)))
    return convolve(net.head, h)


@pytest.mark.parametrize("conv", [StandardizedConv2d, StandardizedNormedConv2d])
def test_initialisation_standardises_convolutions(conv: type[StandardizedConv2d]) -> None:
    torch.manual_seed(0)
    layer, x = conv(3, 5, 3, deviation=0.1), 2 + 3 * torch.randn(64, 3, 4, 4)
    layer.initialize_from(x)
    y = layer(x)
    assert y.mean((0, 2, 3)).abs().max() < 1e-5
    assert torch.allclose(y.std((0, 2, 3), correction=0), torch.tensor(0.1), rtol=1e-4)


def test_initialisation_standardises_every_element_of_the_units() -> None:
    model = build(TINY)
    seen: list[Tensor] = []
    for norm in (m for m in model.density.modules() if isinstance(m, ElementwiseNorm)):
        norm.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    glowkit.initialize(model, images())
    assert len(seen) == 6
    for y in seen:
        assert y.mean(0).abs().max() < 1e-5
        assert (y.std(0, correction=0) - 1).abs().max() < 1e-3


def test_dropout_is_on_in_initialisation_and_training_and_off_in_evaluation() -> None:
    model = build(TINY)
    dropped = []
    layer = next(m for m in model.modules() if isinstance(m, torch.nn.Dropout))
    layer.register_forward_hook(lambda module, inputs, output: dropped.append(module.training))
    batch = images()
    glowkit.initialize(model, batch)
    assert dropped == [True]
    assert not model.training

    def twice() -> tuple[Tensor, Tensor]:
        return tuple(model.log_prob(batch, None, torch.Generator().manual_seed(0)) for _ in "12")

    assert torch.equal(*twice())
    noises = model.draw_noises(2)
    assert torch.equal(model.decode(noises)[0], model.decode(noises)[0])
    model.train()
    assert not torch.equal(*twice())


def test_importance_weights_tighten_the_bound_in_float64() -> None:
    model, batch = ready(gain=0.02)
    model, generator = model.double(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        one = torch.stack([bits_per_dim(model, batch, None, generator) for _ in range(8)]).mean()
        many = bits_per_dim(model, batch, None, generator, importance_samples=8)
    assert many.dtype == torch.float64
    assert many.mean() < one


@pytest.mark.parametrize("components", [1, 4, 32])
def test_a_mixture_coupling_is_undone_far_out(components: int) -> None:
    h = torch.zeros(2, 2 + 3 * components)
    generator = torch.Generator().manual_seed(0)
    h[:, 2 : 2 + 2 * components] = torch.randn(2, 2 * components, generator=generator)
    h[:, 2 + 2 * components :] = -1
    x = torch.tensor([[-16.0], [16.0]])
    mixture = LogisticMixture(components)
    y, _ = mixture(x, h)
    assert (mixture.inverse(y, h)[0] - x).abs().max() <= 1e-5


@pytest.mark.parametrize("settings", [{}, {"weight_norm": True, "heads": 0, "context_heads": 3}])
@pytest.mark.parametrize("memory", ["store", "checkpoint"])
def test_every_parameter_learns(settings: dict[str, Any], memory: str) -> None:
    model, batch = ready(dataclasses.replace(TINY, memory=memory, head="concat-elu", **settings))
    bits_per_dim(model.train(), batch).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_memory_modes_give_the_same_gradients() -> None:
    gradients = []
    for memory in ("store", "checkpoint", "reversible"):
        model, batch = ready(dataclasses.replace(TINY, memory=memory, dropout=0.0))
        model.train().double()
        bits_per_dim(model, batch, None, torch.Generator().manual_seed(0)).mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.allclose(gradients[0], gradients[1], atol=1e-12)
    assert torch.allclose(gradients[0], gradients[2], atol=1e-8)


def test_bfloat16_conditioners_are_close_and_invert() -> None:
    model, batch = ready()
    low = build(dataclasses.replace(TINY, precision="bfloat16"))
    low.load_state_dict(model.state_dict())
    expected, given = (m.log_prob(batch, None, glowkit.MIDPOINT) for m in (model, low))
    assert given.dtype == torch.float32
    assert torch.allclose(given, expected, atol=0.02 * 64)
    assert not torch.equal(given, expected)
    assert torch.equal(glowkit.reconstruct(low, batch), batch)


def test_survives_save_and_load(tmp_path: Path) -> None:
    model, batch = ready(gain=0.02)
    again = glowkit.load(glowkit.save(model, tmp_path / "model"))
    assert again.config == TINY
    assert from_settings(to_settings(TINY)) == TINY
    seeded = [m.log_prob(batch, None, torch.Generator().manual_seed(1)) for m in (model, again)]
    assert torch.equal(*seeded)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"couplings": ((0, 4), (2, 3), (1, 1), (0, 1))}, "width divisible by 16"),
        ({"couplings": ((0, 1), (1, 0), (1, 0), (1, 0), (1, 0))}, "halvings"),
        ({"couplings": ((1, 1),)}, "even number of channels"),
        ({"couplings": ((0, 0), (0, 0))}, "two whole numbers"),
        ({"couplings": (3,)}, "two whole numbers"),
        ({"couplings": 4}, "two whole numbers"),
        ({"couplings": ((0, 1.5),)}, "two whole numbers"),
        ({"image_shape": (1, 8, 7), "couplings": ((0, 1),)}, "width divisible by 2"),
        ({"image_shape": (2, 8, 7), "couplings": ((1, 0),)}, "even width"),
        ({"heads": 5}, "must divide width"),
        ({"context_heads": 3}, "must divide context_width"),
        ({"dropout": 1.0}, "below 1"),
        ({"dropout": -0.1}, "at least 0"),
        ({"pointwise": "never"}, "true or false"),
        ({"width": 9.5}, "whole number"),
        ({"pattern": "spots"}, "stripes"),
        ({"head": "relu"}, "concat-elu"),
        ({"dequantization": "uniform", "context_blocks": 1}, "dequantization 'variational'"),
        ({"dequantization": "midpoint"}, "uniform"),
        ({"classes": 10}, "classes to 0"),
        ({"memory": "disk"}, "checkpoint"),
        ({"precision": "float8"}, "bfloat16"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(setting: dict[str, Any], word: str) -> None:
    with pytest.raises(glowkit.GlowkitError, match=word):
        FlowPPConfig(**{"image_shape": (1, 8, 8), **setting})
