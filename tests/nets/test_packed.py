"""Without gradients, conditioners are what they are with them, whatever changes in between."""

import copy
import pickle

import pytest
import torch

from glowkit.nets import GlowNet, Preactivation
from glowkit.nets.precision import set_precision

TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 3e-2}


def fresh(channels: int = 3, width: int = 8, **options: object) -> GlowNet:
    torch.manual_seed(0)
    net = GlowNet(channels, 6, width, **options)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for layer in (net.first, net.second):
        layer.initialized.fill_(True)
    return net.eval()


def both(net: GlowNet, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        without = net(*inputs)
    return without, net(*inputs).detach()


def as_asked(net: GlowNet, precision: str) -> tuple[GlowNet, torch.dtype]:
    if precision == "float64":
        return net.double(), torch.float64
    set_precision(net, precision)
    return net, torch.float32


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("last_kernel", [1, 3])
@pytest.mark.parametrize(("channels", "width"), [(3, 8), (8, 3), (4, 4)])
def test_the_same(precision: str, last_kernel: int, channels: int, width: int) -> None:
    net, dtype = as_asked(fresh(channels, width, last_kernel=last_kernel), precision)
    for size in ((4, 6), (8, 8)):
        without, with_them = both(net, torch.randn(5, channels, *size, dtype=dtype))
        assert without.dtype == dtype
        assert without.is_contiguous()
        error = (without - with_them).abs().max() / with_them.abs().max()
        assert error < TOLERANCES[precision]


def test_the_same_with_a_context_and_an_entry() -> None:
    net = fresh(context_features=2, entry=Preactivation(3))
    for context in (torch.randn(5, 2), torch.randn(5, 2, 4, 6)):
        torch.testing.assert_close(*both(net, torch.randn(5, 3, 4, 6), context))


def test_parameters_that_change_are_seen() -> None:
    net, x = fresh(), torch.randn(2, 3, 4, 4)
    before, _ = both(net, x)
    for parameter in net.parameters():
        parameter.data.mul_(1.1)  # raises no version
        after, expected = both(net, x)
        torch.testing.assert_close(after, expected)
        assert not torch.equal(after, before)
        before = after


@pytest.mark.parametrize("width", [8, 200])
def test_a_single_weight_that_changes_is_seen(width: int) -> None:
    net, x = fresh(width=width), torch.randn(2, 3, 4, 4)
    before, _ = both(net, x)
    weight = net.second.weight.data
    weight[3, 5] *= 1.01
    changed, expected = both(net, x)
    assert not torch.equal(changed, before)
    assert (changed - expected).abs().max() < 1e-5 * expected.abs().max()
    weight[[1, 2]] = weight[[2, 1]]
    exchanged, expected = both(net, x)
    assert not torch.equal(exchanged, changed)
    assert (exchanged - expected).abs().max() < 1e-5 * expected.abs().max()


def test_a_precision_that_changes_is_seen() -> None:
    net, x = fresh(), torch.randn(2, 3, 4, 4)
    exact, _ = both(net, x)
    set_precision(net, "bfloat16")
    rounded, expected = both(net, x)
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, expected, atol=3e-2, rtol=3e-2)


def test_what_is_kept_is_made_once_and_not_copied() -> None:
    net, x = fresh(), torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        net(x)
        (packed,) = net._kept[1].values()
        net(torch.randn(7, 3, 4, 4))
        assert next(iter(net._kept[1].values())) is packed
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin._kept == ([], {})
        torch.testing.assert_close(*both(twin, x))


def test_no_images() -> None:
    with torch.no_grad():
        assert fresh()(torch.randn(0, 3, 4, 4)).shape == (0, 6, 4, 4)


@pytest.mark.parametrize("width", [16, 512])
def test_every_change_of_a_single_weight_is_seen(width: int) -> None:
    """By one rounding, at 500 places, through `.data`; and changes that cancel in any sum."""
    net, x = fresh(width=width), torch.randn(1, 3, 4, 4)

    def kept() -> object:
        with torch.no_grad():
            net(x)
        return net._kept

    weight = net.second.weight.data.view(width, width)
    generator = torch.Generator().manual_seed(0)
    before, seen = kept(), 0
    for place in torch.randint(0, weight.numel(), (500,), generator=generator):
        flat = weight.view(-1)
        flat[place] = torch.nextafter(flat[place], torch.tensor(torch.inf))
        after = kept()
        seen += after is not before
        before = after
    assert seen == 500
    changes = [
        lambda: weight.copy_(weight.flip(0)),
        lambda: weight.copy_(weight.T.clone()),
        lambda: weight[:2].copy_(weight[:2] + torch.tensor([[0.5], [-0.5]])),
        lambda: weight[0, :2].neg_(),
        lambda: weight.view(-1)[0].fill_(-0.0),
        lambda: weight.view(-1)[0].fill_(0.0),
        lambda: weight.view(-1)[0].fill_(float("nan")),
        lambda: torch.inference_mode()(lambda: net.last.bias.add_(1e-7))(),
    ]
    for change in changes:
        change()
        after = kept()
        assert after is not before
        before = after
        assert kept() is after


def test_a_functional_call_sees_its_own_weights() -> None:
    net, x = fresh(), torch.randn(2, 3, 4, 4)
    other = {name: 1.5 * p.detach() for name, p in net.named_parameters()}
    with torch.no_grad():
        before = net(x)
        changed = torch.func.functional_call(net, other, (x,))
        assert torch.equal(net(x), before)
    expected = torch.func.functional_call(net, other, (x,)).detach()
    torch.testing.assert_close(changed, expected, rtol=1e-5, atol=1e-4)
