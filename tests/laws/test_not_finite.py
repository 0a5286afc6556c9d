"""What is not a number is seen: by every path of a model, and only where it is."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from glowkit.bijections import (
    Affine,
    LogisticMixture,
    PiecewiseLinear,
    PiecewiseQuadratic,
    RationalQuadraticSpline,
    TanhAffine,
    Transformer,
)
from glowkit.core import Chain, Density
from glowkit.core.chain import MEMORY_MODES
from glowkit.models.families import build
from glowkit.models.glow import GlowConfig
from glowkit.nets import GlowNet
from glowkit.nets.fast import set_precision
from laws.table import BIJECTIONS, DENSITIES, Row, example, make

ROWS = [*BIJECTIONS, *DENSITIES]
every = pytest.mark.parametrize("row", ROWS, ids=str)
NAN = float("nan")


def there(module: Any, x: Tensor, context: Tensor | None) -> list[Tensor]:
    if not isinstance(module, Density):
        return list(module(x, context))
    noises, log_p = module.encode(x, context)
    return [*noises, log_p]


def back(module: Any, made: list[Tensor], context: Tensor | None) -> list[Tensor]:
    given = made[:-1]
    if isinstance(module, Density):
        return list(module.decode(given, context))
    return list(module.inverse(*given, context))


def finite(results: list[Tensor]) -> list[bool]:
    """Of each example, whether all is."""
    return [all(bool(one[i].isfinite().all()) for one in results) for i in range(len(results[0]))]


@every
@pytest.mark.parametrize("graph", [False, True], ids=["bare", "graph"])
def test_one_number_in_one_example(row: Row, graph: bool, single: torch.dtype) -> None:
    module, (x, context) = make(row, single), example(row, single, n=3)
    with torch.set_grad_enabled(graph):
        made = [one.detach().clone() for one in there(module, x, context)]
        x.view(3, -1)[1, -1] = NAN
        assert finite(there(module, x, context)) == [True, False, True]
        made[0].view(3, -1)[1, -1] = NAN
        assert finite(back(module, made, context)) == [True, False, True]


@pytest.mark.parametrize(
    "transformer",
    [
        *(Affine(), TanhAffine(1.0), LogisticMixture(2), RationalQuadraticSpline(2, 2.0)),
        *(PiecewiseLinear(2, 2.0), PiecewiseQuadratic(2, 2.0)),
    ],
    ids=lambda transformer: type(transformer).__name__,
)
def test_one_parameter_of_a_transformer(transformer: Transformer, single: torch.dtype) -> None:
    count = transformer.parameters_per_channel
    for x in (torch.tensor([[0.3]]), torch.tensor([[7.0]])):
        for place in range(count):
            h = 0.1 * torch.ones(1, count)
            h[0, place] = NAN
            assert finite(list(transformer(x, h))) == [False]
            assert finite(list(transformer.inverse(x, h))) == [False]


def paths(model: Density, x: Tensor) -> dict[str, Tensor]:
    """log p of every path that there is."""
    found = {}
    for memory in MEMORY_MODES:
        for chain in model.modules():
            if isinstance(chain, Chain):
                chain.memory = memory
        for training in (False, True):
            model.train(training)
            found[f"{memory} {training}"] = model.log_prob(x).detach()
            with torch.no_grad():
                found[f"{memory} {training}, bare"] = model.log_prob(x)
    model.eval()
    found["plain"] = torch.vmap(lambda one: model.log_prob(one[None])[0])(x)
    with torch.inference_mode():
        found["inference"] = model.log_prob(x)
        set_precision(model, "bfloat16")
        found["bfloat16"] = model.log_prob(x)
    set_precision(model, "float32")
    return found


def glow(width: int, side: int = 4) -> Density:
    torch.manual_seed(0)
    model: Any = build(GlowConfig((1, side, side), levels=1, steps=1, width=width))
    model.load_state_dict(
        {
            name: t.new_ones(()) if "initialized" in name else t
            for name, t in model.state_dict().items()
        }
    )
    return model.density


@pytest.mark.parametrize("width", [6, 200])
def test_every_path_agrees_on_every_weight(width: int, single: torch.dtype) -> None:
    model, x = glow(width, 8), torch.rand(16, 1, 8, 8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    assert all(p.isfinite().all() for p in paths(model, x).values())
    for name, parameter in model.named_parameters():
        before = parameter.detach().clone()
        for value in (NAN, float("inf")):
            with torch.no_grad():
                parameter.view(-1)[-1] = value
            results = paths(model, x)
            seen = {path: bool(p.isfinite().all()) for path, p in results.items()}
            assert len(set(seen.values())) == 1, (name, value, seen)
            if value != value and "border.weight" not in name:
                assert not any(seen.values()), (name, seen)
            with torch.no_grad():
                parameter.copy_(before)


def test_an_activation_that_overflows_is_seen(single: torch.dtype) -> None:
    """All that is given is finite, and the first convolution still ends in ∞ − ∞."""
    net = GlowNet(2, 4, 128).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    net.first.initialized.fill_(True)
    net.second.initialized.fill_(True)
    x = torch.randn(4, 2, 8, 8)
    with torch.no_grad():
        assert net(x).isfinite().all()
        net.first.weight.mul_(1e30)
        x *= 1e9
        bare = net(x)
    graph = net(x).detach()
    assert torch.equal(bare.isnan(), graph.isnan())
    assert graph.isnan().any()


def test_gradients_agree_on_nan(dtype: torch.dtype) -> None:
    net = GlowNet(2, 4, 8).to(dtype).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    net.first.initialized.fill_(True)
    net.second.initialized.fill_(True)
    with torch.no_grad():
        net.second.bias[0] = NAN
    names, values = zip(*net.named_parameters(), strict=True)
    x = torch.randn(2, 2, 4, 4, dtype=dtype)

    def loss(*parameters: Tensor) -> Tensor:
        return functional_call(net, dict(zip(names, parameters, strict=True)), (x,)).sum()

    quick = torch.autograd.grad(loss(*values), values)
    again = torch.autograd.grad(loss(*values), values, create_graph=True)
    for name, a, b in zip(names, quick, again, strict=True):
        assert torch.equal(a.isnan().any(), b.isnan().any()), name
