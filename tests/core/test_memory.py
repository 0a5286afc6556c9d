"""Whatever a chain keeps of its activations, its values and gradients are the same."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor, nn

from glowkit import bijections as b
from glowkit.core import Chain
from glowkit.core.chain import MEMORY_MODES, fall_back
from glowkit.models.realnvp import RealNVPConfig, build_realnvp
from glowkit.nets import MLP, GlowNet, ResidualNet, SignPairs
from laws.table import BIJECTIONS, Row, example, make

every = pytest.mark.parametrize("row", BIJECTIONS, ids=str)
SHAPE = (8, 4, 4, 6)


def outcome(
    chain: Chain, x: Tensor, context: Tensor | None = None, dtype: torch.dtype | None = None
) -> list[Tensor | None]:
    """y, ladj, and the gradients of both by x, context and parameters; forward under autocast."""
    inputs = [t.clone().requires_grad_() for t in (x, context) if t is not None]
    place: AbstractContextManager[object] = nullcontext()
    if dtype is not None:
        place = torch.autocast("cpu", dtype)
    with place:
        y, ladj = chain(*inputs)
    generator = torch.Generator().manual_seed(2)
    draws = [torch.randn(t.shape, dtype=t.dtype, generator=generator) for t in (y, ladj)]
    loss = (y * draws[0]).sum() + (ladj * draws[1]).sum()
    wanted = [*inputs, *chain.parameters()]
    return [y, ladj, *torch.autograd.grad(loss, wanted, allow_unused=True)]


def assert_same(one: list[Tensor | None], other: list[Tensor | None], tolerance: float) -> None:
    for a, c in zip(one, other, strict=True):
        assert (a is None) == (c is None)
        if a is not None and c is not None:
            assert a.shape == c.shape
            assert (a - c).abs().max() <= tolerance * (1 + a.abs().max())


def apart(width: int) -> Chain:
    """A step of flow, layer by layer."""
    coupling = b.Coupling(2, GlowNet(2, 4, width), b.Affine())
    return Chain([b.Actnorm(4), b.Conv1x1(b.LUMatrix(4)), coupling])


def fused(width: int) -> Chain:
    """The same in one piece."""
    mixing = b.ActnormConv1x1(b.Actnorm(4), b.Conv1x1(b.LUMatrix(4)))
    return b.GlowStep(mixing, b.Coupling(2, GlowNet(2, 4, width), b.Affine()))


def deep(
    steps: int = 3,
    memory: str = "reversible",
    width: int = 8,
    step: Callable[[int], Chain] = apart,
) -> Chain:
    """Steps of flow of images (4, 4, 6), chains in a chain."""
    torch.manual_seed(0)
    chain = Chain([step(width) for _ in range(steps)], memory)
    for module in chain.modules():
        if hasattr(module, "initialized"):
            module.initialized.fill_(True)
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return chain


def with_memory(chain: Chain, memory: str) -> Chain:
    other = copy.deepcopy(chain)
    other.memory = memory
    return other


@every
@pytest.mark.parametrize("memory", [mode for mode in MEMORY_MODES if mode != "store"])
def test_gradients_are_those_of_stored_activations(row: Row, memory: str) -> None:
    one, other = make(row), make(row, seed=3)
    # Twice the same one, with parameters shared; where shapes allow, another one between.
    x, context = example(row)
    again = [other, one] if one(x, context)[0].shape == x.shape and not row.unit_interval else []
    stored, rebuilt = (Chain([one, *again], mode) for mode in ("store", memory))
    assert_same(outcome(stored, x, context), outcome(rebuilt, x, context), row.law)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_deep_chain_in_training(dtype: torch.dtype) -> None:
    chain = deep(steps=16).to(dtype).train()
    x = torch.randn(SHAPE, dtype=dtype)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    assert_same(outcome(with_memory(chain, "store"), x), outcome(chain, x), tolerance)


def held_bytes(chain: Chain, x: Tensor) -> int:
    """Of the tensors that the graph of a forward pass keeps, parameters left out."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = chain(x, None)
    own = {p.untyped_storage().data_ptr() for p in chain.parameters()}
    assert outputs[0].requires_grad
    return sum(size for address, size in kept.items() if address not in own)


def test_what_is_kept_does_not_grow_with_depth() -> None:
    x = torch.randn(SHAPE)
    image = x.untyped_storage().nbytes()
    assert [held_bytes(deep(steps), x) for steps in (1, 4, 16)] == [image] * 3
    stored = [held_bytes(deep(steps, "store"), x) for steps in (1, 4)]
    assert stored[1] > 3 * stored[0] > 3 * image


paths = pytest.mark.parametrize("path", ["plain", "kernels"])


@paths
@pytest.mark.parametrize("step", [apart, fused])
def test_recomputing_keeps_no_hidden_activations(
    path: str, step: Callable[[int], Chain], request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(path)
    x = torch.randn(SHAPE)
    stored, recomputed = (held_bytes(deep(8, mode, 64, step), x) for mode in ("store", "recompute"))
    assert recomputed <= stored / 4
    hidden = 64 * x.untyped_storage().nbytes() / 4  # of one layer of one step
    assert recomputed < 8 * hidden


@paths
@pytest.mark.parametrize("step", [apart, fused])
def test_recomputed_gradients_are_those_of_stored_activations(
    path: str, step: Callable[[int], Chain], request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(path)
    chain, x = deep(4, "recompute", 20, step).train(), torch.randn(SHAPE)
    assert_same(outcome(with_memory(chain, "store"), x), outcome(chain, x), 1e-5)


class Counting(nn.Module):
    """A conditioner that counts how often it is asked."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.calls = 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        self.calls += 1
        return self.net(x, context)


def test_each_conditioner_is_evaluated_once_in_each_direction() -> None:
    chain = deep()
    counters = []
    for module in chain.modules():
        if isinstance(module, b.Coupling):
            module.net = Counting(module.net)
            counters.append(module.net)
    y, ladj = chain(torch.randn(SHAPE))
    assert [counter.calls for counter in counters] == [1, 1, 1]
    (y.sum() + ladj.sum()).backward()
    assert [counter.calls for counter in counters] == [2, 2, 2]


@pytest.mark.parametrize("memory", ["store", "reversible"])
def test_nothing_is_recorded_without_gradients(memory: str) -> None:
    with torch.no_grad():
        y, ladj = deep(memory=memory)(torch.randn(SHAPE))
    assert y.grad_fn is None
    assert ladj.grad_fn is None


def test_autocast_is_entered_again_and_nowhere_else() -> None:
    torch.manual_seed(0)
    layers = [b.Coupling(3, MLP(3, 3, width=16), b.Additive()), b.reverse(6)]
    chain, x = Chain(layers, "reversible"), torch.randn(4, 6)
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    seen: list[tuple[torch.dtype, bool]] = []
    layers[0].net.register_forward_hook(  # type: ignore[union-attr]
        lambda net, inputs, h: seen.append((h.dtype, torch.is_grad_enabled()))
    )
    stored = with_memory(chain, "store")
    assert_same(
        outcome(stored, x, dtype=torch.bfloat16), outcome(chain, x, dtype=torch.bfloat16), 1e-6
    )
    assert seen[-2:] == [(torch.bfloat16, False), (torch.bfloat16, True)]
    loss = chain(x)[0].square().sum()
    with torch.autocast("cpu", torch.bfloat16):
        loss.backward()
    assert seen[-2:] == [(torch.float32, False), (torch.float32, True)]


def test_only_conditioners_give_way_to_autocast() -> None:
    chain, x = deep(), torch.randn(SHAPE)
    with torch.autocast("cpu", torch.bfloat16):
        y, ladj = chain(x)
        back, _ = chain.inverse(y)
    assert y.dtype == ladj.dtype == torch.float32
    assert (back - x).abs().max() < 1e-5
    stored = outcome(with_memory(chain, "store"), x, dtype=torch.bfloat16)
    assert_same(stored, outcome(chain, x, dtype=torch.bfloat16), 1e-2)


def test_the_same_weights_twice_in_one_autocast() -> None:
    """Autocast keeps the weights it casts, and would keep those cast outside of the graph."""
    torch.manual_seed(0)
    net = MLP(3, 3, width=16)
    nn.init.normal_(net.layers[-1].weight)  # type: ignore[arg-type]
    chain, x = Chain([b.Coupling(3, net, b.Additive())], "reversible"), torch.randn(4, 6)

    def gradients(chain: Chain) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            y, _ = chain(x)
            loss = y.sum() + net(x[:, :3]).float().square().sum()
            return list(torch.autograd.grad(loss, list(net.parameters())))

    with_store = Chain(list(chain), "store")
    for a, c in zip(gradients(with_store), gradients(chain), strict=True):
        assert torch.allclose(a, c, rtol=1e-2)


def test_gradients_accumulate_and_hooks_see_each_once() -> None:
    chain, stored = deep(), deep(memory="store")
    seen = []
    first = next(chain.parameters())
    first.register_hook(lambda gradient: seen.append(gradient.clone()))
    for _ in range(2):
        x = torch.randn(SHAPE)
        for each in (chain, stored):
            y, ladj = each(x)
            (y.square().sum() - ladj.sum()).backward()
    assert len(seen) == 2
    assert torch.equal(seen[0] + seen[1], first.grad)
    for a, c in zip(stored.parameters(), chain.parameters(), strict=True):
        assert torch.allclose(a.grad, c.grad, rtol=1e-3, atol=1e-4)


def test_frozen_parameters_get_no_gradient() -> None:
    chain = deep()
    frozen = list(chain)[1]
    frozen.requires_grad_(False)
    y, ladj = chain(torch.randn(SHAPE))
    (y.sum() + ladj.sum()).backward()
    assert {p.grad is None for p in frozen.parameters()} == {True}
    assert all(p.grad is not None for p in next(iter(chain)).parameters())


def test_backward_twice_where_the_graph_is_kept() -> None:
    chain = deep().double()
    y, ladj = chain(torch.randn(SHAPE, dtype=torch.float64))
    loss, parameters = y.sum() + ladj.sum(), list(chain.parameters())
    one = torch.autograd.grad(loss, parameters, retain_graph=True)
    other = torch.autograd.grad(loss, parameters)
    assert all(torch.equal(a, c) for a, c in zip(one, other, strict=True))


def test_parameters_changed_in_between_are_noticed() -> None:
    chain = deep()
    y, _ = chain(torch.randn(SHAPE))
    with torch.no_grad():
        next(chain.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def residual(memory: str = "reversible") -> Chain:
    net = ResidualNet(SignPairs(2), 4, width=5, blocks=1)
    return Chain([b.Coupling(2, net, b.TanhAffine(1)), b.swap_halves(4)], memory)


class Dropping(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.Dropout(p), nn.Linear(8, 4))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.layers(x)


def dropping(p: float) -> Chain:
    return Chain([b.Coupling(2, Dropping(p), b.Affine())], "reversible")


def test_conditioners_may_normalise_by_their_batch() -> None:
    chain, x = residual().double().train(), torch.randn(4, 4, 4, 4, dtype=torch.float64)
    assert_same(outcome(with_memory(chain, "store"), x), outcome(chain, x), 1e-9)


@pytest.mark.parametrize(
    ("chain", "name"),
    [
        (Chain([b.MaskedBatchNorm(4, torch.ones(4, 1, 1))], "reversible"), "MaskedBatchNorm"),
        (dropping(0.3), "Dropout"),
    ],
    ids=["batch norm", "dropout"],
)
def test_what_cannot_be_rebuilt_is_checkpointed_with_a_message(chain: Chain, name: str) -> None:
    chain, x = chain.double(), torch.randn(5, 4, dtype=torch.float64)
    x = x[..., None, None] if name == "MaskedBatchNorm" else x
    torch.manual_seed(1)
    stored = outcome(with_memory(chain, "store"), x)
    torch.manual_seed(1)
    with pytest.warns(UserWarning, match=f"inputs of {name}, which in training .* 'checkpoint'"):
        assert_same(stored, outcome(chain, x), 1e-9)
    chain.eval()
    assert fall_back(chain) == []
    assert_same(outcome(with_memory(chain, "store"), x), outcome(chain, x), 1e-9)
    (reason,) = fall_back(chain.train())
    assert name in reason
    assert chain.memory == "checkpoint"
    outcome(chain, x)  # and no warning any more, which would be an error here


def test_dropout_of_nothing_is_no_obstacle() -> None:
    assert fall_back(dropping(0.0).train()) == []


def test_realnvp_says_which_layer_of_it_cannot_be_rebuilt() -> None:
    config = RealNVPConfig((1, 4, 8), levels=2, blocks=1, width=4, memory="reversible")
    (reason,) = fall_back(build_realnvp(config).train())
    assert "MaskedBatchNorm" in reason
