"""What is odd about inputs, modules or the moment changes nothing that kernels give."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from kernel_cases import Draw
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from glowkit.bijections import (
    Actnorm,
    ActnormConv1x1,
    Additive,
    Affine,
    Conv1x1,
    Coupling,
    LogisticMixture,
    LUMatrix,
    Transformer,
)
from glowkit.bijections.step import GlowStep
from glowkit.nets import GlowNet
from glowkit.nets.kernels.library import SWITCH

pytestmark = pytest.mark.usefixtures("kernels")


def step_of_flow(transformer: Transformer) -> GlowStep:
    """Of images (4, 5, 3) and a context of 3 numbers."""
    torch.manual_seed(0)
    net = GlowNet(2, 2 * transformer.parameters_per_channel, 6, context_features=3)
    mixing = ActnormConv1x1(Actnorm(4), Conv1x1(LUMatrix(4)))
    step = GlowStep(mixing, Coupling(2, net, transformer))
    for module in step.modules():
        if hasattr(module, "initialized"):
            module.initialized.fill_(True)
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return step


TRANSFORMERS = {"affine": Affine(), "additive": Additive(), "mixture": LogisticMixture(3)}
every = pytest.mark.parametrize("transformer", TRANSFORMERS.values(), ids=TRANSFORMERS)


def inputs(n: int = 6) -> tuple[Tensor, Tensor]:
    draw = Draw(1)
    return draw(n, 4, 5, 3), draw(n, 3)


def gradients(step: nn.Module, x: Tensor, context: Tensor, **more: Any) -> list[Tensor]:
    """y, ladj, and the gradients of weighted sums of both by all that wants one."""
    return gradients_of(step, *step(x, context), x, context, **more)


def gradients_of(
    step: nn.Module, y: Tensor, ladj: Tensor, x: Tensor, context: Tensor, **more: Any
) -> list[Tensor]:
    draw = Draw(2)
    loss = (y * draw(*y.shape)).sum() + (ladj * draw(*ladj.shape)).sum()
    wanted = [t for t in (x, context, *step.parameters()) if t.requires_grad]
    return [y, ladj, *(torch.autograd.grad(loss, wanted, **more) if wanted else [])]


def both(
    function: Callable[[], list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Tensor], list[Tensor]]:
    """With kernels and without."""
    found = function()
    with monkeypatch.context() as without:
        without.setenv(SWITCH, "0")
        return found, function()


def close(one: list[Tensor], other: list[Tensor], tolerance: float = 2e-5) -> bool:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
    return all(
        float((a - b).detach().abs().max()) <= tolerance * (1 + float(b.detach().abs().max()))
        for a, b in zip(one, other, strict=True)
        if a.numel()
    )


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "every second": lambda x: x.repeat_interleave(2, 0)[::2],
    "part of a larger one": lambda x: nn.functional.pad(x, (1, 2, 3, 1, 1, 0))[:, 1:, 3:-1, 1:-2],
    "not aligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    "expanded": lambda x: x[:1].expand_as(x),
    "one number": lambda x: x.new_full((1, 1, 1, 1), 0.3).expand_as(x),
    "negative": lambda x: torch._neg_view(-x),
}


@every
@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_in_any_layout(
    layout: str, transformer: Transformer, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, (x, context) = step_of_flow(transformer), inputs()
    x = LAYOUTS[layout](x)
    assert close(*both(lambda: gradients(step, x, context), monkeypatch))
    with torch.no_grad():
        assert close(*both(lambda: list(step.inverse(x, context)), monkeypatch))
    x.requires_grad_()
    assert close(*both(lambda: gradients(step, x, context.requires_grad_()), monkeypatch))
    assert calls


@every
def test_weights_in_another_layout(
    transformer: Transformer, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = step_of_flow(transformer).to(memory_format=torch.channels_last)
    with torch.no_grad():
        matrix = step.bijections[0].conv.matrix.packed
        matrix.set_(matrix.t().contiguous().t())
    assert close(*both(lambda: gradients(step, *inputs()), monkeypatch))
    assert calls


@every
def test_gradients_in_any_layout(
    transformer: Transformer, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, (x, context) = step_of_flow(transformer), inputs()

    def found(loss: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        return list(torch.autograd.grad(loss(*step(x, context)), list(step.parameters())))

    losses: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda y, ladj: y.sum() + ladj.sum(),
        lambda y, ladj: y.sum() + 0 * ladj.sum(),
        lambda y, ladj: (y.transpose(1, 3).contiguous() * ladj[:, None, None, None]).sum(),
        lambda y, ladj: y[:, ::2].square().sum() + ladj[0],
        lambda y, ladj: (y.mT.flatten()[::3] ** 2).sum() + ladj.sum() * 2,
    ]
    for loss in losses:
        assert close(*both(lambda loss=loss: found(loss), monkeypatch))
    assert calls


@every
def test_whatever_wants_a_gradient(
    transformer: Transformer, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, given = step_of_flow(transformer), inputs()
    every_one = [*given, *step.parameters()]
    for wanted in (None, *every_one):
        for one in every_one:
            one.requires_grad_(one is wanted)
        made = both(lambda: gradients(step, *given, allow_unused=True)[:2], monkeypatch)
        assert close(*made)
        if wanted is not None and made[0][0].requires_grad:
            assert close(*both(lambda: gradients(step, *given), monkeypatch))
    assert calls


@every
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["bare", "inference"])
def test_without_gradients(
    transformer: Transformer, mode: Any, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, given = step_of_flow(transformer), inputs()
    with mode():
        assert close(*both(lambda: [*step(*given), *step.inverse(*given)], monkeypatch))
    assert calls


@every
def test_no_images(transformer: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    step, (x, context) = step_of_flow(transformer), inputs(0)
    found, expected = both(lambda: gradients(step, x, context), monkeypatch)
    assert close(found, expected)
    assert not any(t.any() for t in found)
    with torch.no_grad():
        assert close(*both(lambda: list(step.inverse(x, context)), monkeypatch))


@every
@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16], ids=str)
def test_defaults_of_torch(
    transformer: Transformer, default: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, given = step_of_flow(transformer), inputs()

    def all_ways() -> list[Tensor]:
        with torch.no_grad():
            bare = [*step(*given), *step.inverse(*given)]
        return [*bare, *gradients(step, *given)]

    expected = both(all_ways, monkeypatch)[0]
    torch.set_default_dtype(default)
    try:
        with torch.device("meta"):
            y, ladj = step(*given)
            found = torch.autograd.grad([y, ladj], list(step.parameters()), [y, ladj])
            with torch.no_grad():
                bare = [*step(*given), *step.inverse(*given)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert close(bare, expected[:4])
    assert all(t.isfinite().all() for t in found)


# ---- derivatives and transforms ----


def functions(step: nn.Module) -> dict[str, Callable[[Tensor, Tensor], list[Tensor]]]:
    """What torch can do with a module beside calling it."""
    names, values = zip(*step.named_parameters(), strict=True)

    def loss(x: Tensor, context: Tensor, *parameters: Tensor) -> Tensor:
        state = dict(zip(names, parameters or values, strict=True))
        y, ladj = functional_call(step, state, (x, context))
        return y.sin().sum() + ladj.sum()

    def one(x: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        return step(x[None], context[None])

    def dual(x: Tensor, context: Tensor) -> list[Tensor]:
        with forward_ad.dual_level():
            made = step(forward_ad.make_dual(x, x.cos()), context)
            parts = [t for m in made for t in forward_ad.unpack_dual(m)]
            return [t for t in parts if t is not None]

    def batched(x: Tensor, context: Tensor) -> list[Tensor]:
        y, _ = step(x, context)
        directions = torch.stack([y.detach().sin(), y.detach().cos()])
        return list(torch.autograd.grad(y, values, directions, is_grads_batched=True))

    def twice(x: Tensor, context: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        made = torch.autograd.grad(loss(x, context), [x, *values], create_graph=True)
        return list(torch.autograd.grad(sum(g.square().sum() for g in made), [x, *values]))

    def traced(x: Tensor, context: Tensor) -> list[Tensor]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(torch.jit.trace(step, (x, context), check_trace=False)(x, context))

    return {
        "vmap": lambda x, c: [t.squeeze(1) for t in torch.vmap(one)(x, c)],
        "grad": lambda x, c: list(torch.func.grad(loss, (0, 1))(x, c)),
        "grad by parameters": lambda x, c: list(torch.func.grad(loss, (2,))(x, c, *values)),
        "jvp": lambda x, c: list(torch.func.jvp(loss, (x, c), (x.cos(), c.cos()))),
        "dual": dual,
        "batched": batched,
        "twice": twice,
        "traced": traced,
    }


@every
@pytest.mark.parametrize("name", functions(step_of_flow(Affine())))
def test_transforms(name: str, transformer: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    function = functions(step_of_flow(transformer))[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
        assert close(*both(lambda: function(*inputs()), monkeypatch), tolerance=1e-3)


def test_a_compiler_sees_plain_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    step = step_of_flow(Affine())
    fast = torch.compile(step, backend="eager")
    expected = both(lambda: list(step(*inputs())), monkeypatch)[1]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(fast(*inputs()))
    assert close(found, [t.detach() for t in expected])


# ---- modules ----


def test_hooks_inside_see_every_layer(calls: list[str]) -> None:
    step, given = step_of_flow(Affine()), inputs()
    inner = ["bijections.1.net.first", "bijections.1.net.second", "bijections.1.net.last"]
    seen: list[str] = []
    for name in inner:
        handle = step.get_submodule(name).register_forward_hook(lambda *_, n=name: seen.append(n))
        step(*given)
        handle.remove()
    assert seen == inner
    handle = nn.modules.module.register_module_forward_hook(lambda m, *_: seen.append(type(m)))
    try:
        step(*given)
    finally:
        handle.remove()
    assert {type(step.get_submodule(name)) for name in inner} <= set(seen[3:])
    assert "glow_forward" not in calls


def test_layers_replaced_or_overwritten_are_asked(calls: list[str]) -> None:
    class Double(type(GlowNet(2, 4, 6).second)):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    step, given = step_of_flow(Affine()), inputs()
    before = step(*given)[0]
    assert "glow_forward" in calls
    calls.clear()
    net = step.bijections[1].net
    other = Double(6, 6, 1)
    other.load_state_dict(net.second.state_dict())
    net.second, kept = other, net.second
    assert not torch.equal(step(*given)[0], before)
    net.second = kept
    forward = kept.forward
    kept.forward = lambda x: 2 * forward(x)
    assert not torch.equal(step(*given)[0], before)
    assert "glow_forward" not in calls


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_other_dtypes_are_plain(
    transformer: Transformer, dtype: torch.dtype, calls: list[str]
) -> None:
    step = copy.deepcopy(step_of_flow(transformer)).to(dtype)
    y, ladj = step(*(t.to(dtype) for t in inputs()))
    assert y.dtype == dtype
    assert ladj.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert not calls


@every
def test_under_autocast(
    transformer: Transformer, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, given = step_of_flow(transformer), inputs()

    def found() -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            made = step(*given)
        return gradients_of(step, *made, *given)

    assert close(*both(found, monkeypatch))
    assert calls
