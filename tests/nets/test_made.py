"""MADE: each coordinate's parameters see exactly the coordinates before it, and the context."""

import pytest
import torch

from glowkit.nets import MADE


def dependence(net: MADE, features: int, outputs: int, context: int) -> torch.Tensor:
    """Whether each output can depend on each input: (features, outputs, features + context)."""
    with torch.no_grad():  # of positive weights, no path cancels another
        for parameter in net.parameters():
            parameter.uniform_(0.1, 1.0)
    x = torch.rand(1, features, requires_grad=True)
    given = torch.rand(1, context, requires_grad=True) if context else None
    h = net(x, given)
    assert h.shape == (1, features * outputs)
    inputs = [x] if given is None else [x, given]
    rows = []
    for value in h[0]:
        parts = torch.autograd.grad(value, inputs, retain_graph=True, allow_unused=True)
        rows.append(torch.cat([torch.zeros_like(i) if g is None else g
                               for i, g in zip(inputs, parts, strict=True)], dim=1)[0])  # fmt: skip
    return torch.stack(rows).view(features, outputs, -1) != 0


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize(("features", "width"), [(1, 4), (2, 1), (5, 16), (5, 4), (7, 50)])
def test_every_output_sees_all_before_it_and_nothing_else(
    features: int, width: int, depth: int, context: int
) -> None:
    if context and width < features:
        width = features  # fewer units than degrees leave some input out of some output
    net = MADE(features, 3, width, depth, context)
    seen = dependence(net, features, 3, context)
    for i in range(features):
        wanted = torch.tensor([j < i for j in range(features)] + [True] * context)
        assert torch.equal(seen[i], wanted.expand(3, -1))


def test_few_units_still_use_every_input_but_the_last() -> None:
    seen = dependence(MADE(9, 1, width=2), 9, 1, 0)
    assert seen.any(0).any(0).tolist() == [True] * 8 + [False]


def test_the_first_coordinate_sees_the_context_through_few_units_too() -> None:
    seen = dependence(MADE(100, 1, width=64, context_features=1), 100, 1, 1)
    assert seen[0, 0, -1]


def test_a_missing_context_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs a context"):
        MADE(2, 1, 4, context_features=1)(torch.zeros(1, 2))
