"""The laws of densities that draw: bounds on log p, estimates of it, and exact ones of choices.

Statistical laws have fixed seeds, so that they never fail by chance, and tell σ from the draws
themselves. What is random is drawn anew from the same seed where a law compares two calls.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from glowkit.core import MIDPOINT, Density, Generator
from glowkit.core.noise import Portion
from glowkit.densities import Dequantize
from laws.table import BATCH, DRAWN, Row, example, make
from laws.test_densities import check_shapes, gradients_are_differences, log_standard

SIGMAS = 4.5
MOST_IMAGES = 10_000  # whose probabilities a law sums
SAMPLES = 20_000
DRAWS = 16
GRID = 160
LIMIT = 9.0  # beyond it, densities of fresh, random weights have no mass


def is_small(row: Row) -> bool:
    """Whether all x can be summed over; of an estimate, E[p̂] says nothing."""
    size = math.prod(row.shape)
    if row.kind == "estimate":
        return False
    return row.discrete**size <= MOST_IMAGES if row.discrete else size <= 2


every = pytest.mark.parametrize("row", DRAWN, ids=str)
summable = pytest.mark.parametrize("row", [r for r in DRAWN if is_small(r)], ids=str)
conditional = pytest.mark.parametrize("row", [r for r in DRAWN if r.context], ids=str)
bounds = pytest.mark.parametrize("row", [r for r in DRAWN if r.kind == "bound"], ids=str)
lines = pytest.mark.parametrize(
    "row", [r for r in DRAWN if r.kind == "bound" and r.shape == (1,)], ids=str
)
estimates = pytest.mark.parametrize("row", [r for r in DRAWN if r.kind == "estimate"], ids=str)
# A bound's q is not the posterior of its noise: its whitening has weights, in the law below.
whitened = pytest.mark.parametrize("row", [r for r in DRAWN if r.kind != "bound"], ids=str)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def settled(row: Row) -> Callable[[], Generator]:
    """What makes log p of a row the same whenever it is computed: of estimates, no seed does."""
    return (lambda: MIDPOINT) if row.kind == "estimate" else seeded


@every
def test_what_is_said(row: Row) -> None:
    density = make(row)
    assert density.log_p_kind == row.kind
    assert (density.levels or 0) == row.discrete
    assert density.reads_context == (row.context is not None)


@every
def test_round_trip_in_float64(row: Row) -> None:
    density, (x, context) = make(row), example(row)
    noises, log_p = density.encode(x, context, settled(row)())
    back, log_p_back = density.decode(noises, context)
    assert torch.equal(back, x) if row.discrete else (back - x).abs().max() <= row.law
    assert (log_p_back - log_p).abs().max() <= row.law


@every
def test_round_trip_in_float32(row: Row, single: torch.dtype) -> None:
    density, (x, context) = make(row, single), example(row, single, n=64)
    for graph in (True, False):
        with torch.set_grad_enabled(graph):
            noises, log_p = density.encode(x, context, settled(row)())
            back, log_p_back = density.decode(noises, context)
        assert torch.equal(back, x) if row.discrete else (back - x).abs().max() <= row.tolerance
        # Of integers u is found from v, to the roundings of v, and near a border log q is steep.
        off = (log_p_back - log_p).abs()
        assert (off.median() if row.discrete else off.max()) <= 1e-3


@every
def test_shapes(row: Row, dtype: torch.dtype) -> None:
    check_shapes(row, dtype, seeded)


@every
def test_seeded_and_pure(row: Row, dtype: torch.dtype) -> None:
    """Equal generators, equal results; nothing that is given or kept changes."""
    density, (x, context) = make(row, dtype), example(row, dtype)
    before, state = x.clone(), {name: t.clone() for name, t in density.state_dict().items()}
    noises, log_p = density.encode(x, context, seeded())
    kept = [noise.clone() for noise in noises]
    density.decode(noises, context)
    again, log_p_again = density.encode(x, context, seeded())
    assert torch.equal(log_p, log_p_again)
    assert torch.equal(log_p, density.log_prob(x, context, seeded()))
    for one, other, copy in zip(noises, again, kept, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, copy)
    assert torch.equal(x, before)
    assert all(torch.equal(t, state[name]) for name, t in density.state_dict().items())


@every
def test_temperature_scales_the_noise(row: Row) -> None:
    density, (_, context) = make(row), example(row)
    warm = [0.7 * noise for noise in density.draw_noises(BATCH, 1.0, seeded())]
    mild = density.sample(BATCH, 0.7, context, seeded())
    assert torch.allclose(mild, density.decode(warm, context)[0], atol=1e-8)
    mixed = density.sample(BATCH, torch.tensor([0.7, 1.0, 0.0]), context, seeded())
    assert torch.allclose(mixed[0], mild[0], atol=1e-8)


@every
def test_survives_save_and_load(row: Row, dtype: torch.dtype) -> None:
    density, (x, context) = make(row, dtype), example(row, dtype)
    other = make(row, dtype, seed=7)
    other.load_state_dict(density.state_dict())
    with torch.no_grad():
        one, two = (each.log_prob(x, context, seeded()) for each in (other, density))
    assert torch.equal(one, two)


@every
def test_independent_of_batch_mates(row: Row) -> None:
    """Noise belongs to an example's place; of an estimate the noises alone are compared."""
    density, (x, context) = make(row), example(row)
    own = None if context is None else context[1:2]
    if row.kind == "estimate":
        alone, whole = density.encode(x[1:2], own, MIDPOINT), density.encode(x, context, MIDPOINT)
    else:
        portion = Portion(seeded(), slice(1, 2), size=BATCH)
        alone, whole = density.encode(x[1:2], own, portion), density.encode(x, context, seeded())
        assert torch.allclose(alone[1][0], whole[1][1], atol=1e-12)
    for one, other in zip(alone[0], whole[0], strict=True):
        assert torch.allclose(one[0], other[1], atol=1e-12)


@conditional
def test_context_matters_and_stays_with_its_example(row: Row, dtype: torch.dtype) -> None:
    density, (x, context) = make(row, dtype), example(row, dtype)
    assert context is not None
    changed = context.clone()
    changed[0] += 1
    before, after = (density.log_prob(x, given, seeded()) for given in (context, changed))
    assert before[0] != after[0]
    assert torch.equal(before[1:], after[1:])


@every
def test_gradients_against_finite_differences(row: Row) -> None:
    """Of an estimate, whose gradient may be drawn as well, where its draw is settled."""
    assert gradients_are_differences(make(row), *example(row), settled(row))


@every
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30], ids=str)
def test_what_is_not_finite_is_seen_in_log_p(row: Row, value: float) -> None:
    """Whatever the noises, and with no effect on the other examples."""
    density, (x, context) = make(row), example(row)
    noises, _ = density.encode(x, context, settled(row)())
    whole, log_p_whole = density.decode(noises, context)
    for number in range(len(noises)):
        damaged = [noise.clone() for noise in noises]
        damaged[number].view(BATCH, -1)[1, 0] = value
        decoded, log_p = density.decode(damaged, context)
        finite = decoded.isfinite().flatten(1).all(1)
        assert not (log_p.isfinite() & ~finite).any()
        assert not (math.isnan(value) and log_p[1].isfinite())
        others = [0, 2]
        assert torch.allclose(decoded[others], whole[others], atol=1e-12)
        assert torch.allclose(log_p[others], log_p_whole[others], atol=row.law)
    if not row.discrete:
        x[1].view(-1)[-1] = math.nan
        assert density.log_prob(x, context, seeded()).isfinite().tolist() == [True, False, True]


def all_x(row: Row) -> tuple[Tensor, Tensor]:
    """Every image, or a grid, (N, *shape), and the volume that each stands for, (N,).

    The grid of the line is fine near 0, where densities of |x| have a kink between two points, and
    not much coarser where those of sorted numbers fall to 0 at equal ones: x = sinh(t) / 2.
    """
    size = math.prod(row.shape)
    middles = torch.arange(GRID, dtype=torch.float64) + 0.5
    if row.discrete:
        values = torch.arange(row.discrete, dtype=torch.uint8)
        widths = torch.ones(len(values), dtype=torch.float64)
    elif row.unit_interval:
        values, widths = middles / GRID, torch.full_like(middles, 1 / GRID)
    else:
        step = 2 * math.asinh(2 * LIMIT) / GRID
        t = (middles - GRID / 2) * step
        values, widths = t.sinh() / 2, t.cosh() / 2 * step
    points = torch.cartesian_prod(*[values] * size).reshape(-1, *row.shape)
    return points, torch.cartesian_prod(*[widths] * size).reshape(len(points), -1).prod(1)


def standardised(density: Density, noises: list[Tensor]) -> Tensor:
    """All noises of each example, (N, E), with the variance 1."""
    each = []
    for noise, spec in zip(noises, density.noise_specs(), strict=True):
        scale = 1.0 if spec.distribution == "normal" else math.pi / math.sqrt(3)
        each.append(noise.flatten(1) / scale)
    return torch.cat(each, 1).double()


def moments(noise: Tensor) -> Tensor:
    """Of noise (N, E): 1, each number, each square less 1, and each product of two: (N, M)."""
    pairs = torch.combinations(torch.arange(noise.shape[1]), 2)
    products = noise[:, pairs[:, 0]] * noise[:, pairs[:, 1]] if len(pairs) else noise[:, :0]
    return torch.cat([torch.ones_like(noise[:, :1]), noise, noise**2 - 1, products], 1)


@summable
@torch.no_grad()
def test_total_probability_is_one_and_noise_is_white_under_it(row: Row) -> None:
    """Σₓ E[p̂(x) f(ε)] is the mean of f under standard noise, for f = 1, ε, ε² − 1 and εε'.

    Of any q: p̂ holds 1/q. With f = 1 it says that all probabilities come to 1.
    """
    density = make(row)
    x, volume = all_x(row)
    context, generator, each = example(row, n=1)[1], seeded(), []
    for part in x.repeat(DRAWS, *[1] * len(row.shape)).split(2**15):
        given = None if context is None else context.expand(len(part), *context.shape[1:])
        noises, log_p = density.encode(part, given, generator)
        each.append(log_p.exp()[:, None] * moments(standardised(density, noises)))
    values = torch.cat(each).view(DRAWS, len(x), -1).mul(volume[:, None]).sum(1)
    wanted = torch.zeros_like(values[0])
    wanted[0] = 1
    sigma = values.std(0) / math.sqrt(DRAWS)
    quadrature = 1e-9 if row.discrete else 4e-3
    assert ((values.mean(0) - wanted).abs() <= SIGMAS * sigma + quadrature).all()
    if row.kind == "exact":
        assert (values[:, 0] - 1).abs().max() <= quadrature


@whitened
@torch.no_grad()
def test_noises_of_samples_are_white(row: Row) -> None:
    density, (_, context) = make(row), example(row, n=SAMPLES)
    x = density.sample(SAMPLES, context=context, generator=seeded(5))
    values = moments(standardised(density, density.encode(x, context, seeded(6))[0]))[:, 1:]
    sigma = values.std(0) / math.sqrt(SAMPLES)
    assert (values.mean(0).abs() <= SIGMAS * sigma).all()


def joint_of(density: Density) -> Density | None:
    """The exact density inside a bound, of what it draws beside x."""
    while density.log_p_kind != "exact":
        deeper = getattr(density, "density", None) or getattr(density, "deeper", None)
        if not isinstance(deeper, Density):
            return None
        density = deeper
    return density


@bounds
def test_log_p_of_the_joint_density_is_that_of_noise_times_the_jacobian(row: Row) -> None:
    density = joint_of(make(row))
    if density is None:
        pytest.skip("its joint density is not a density of its own")
    context = example(row)[1] if density.reads_context else None
    v = density.decode(density.draw_noises(BATCH, generator=seeded()), context)[0].detach()
    noises, log_p = density.encode(v, context)

    def noise(t: Tensor) -> Tensor:
        each = density.encode(t, context)[0]
        return torch.cat([one.flatten(1) for one in each], 1).sum(0)

    log_det = torch.linalg.slogdet(jacobian(noise, v).flatten(2).transpose(0, 1)).logabsdet
    assert (log_p - log_standard(density, noises) - log_det).abs().max() <= row.law


@lines
@torch.no_grad()
def test_the_mean_of_p_is_the_integral_of_the_joint(row: Row) -> None:
    """E[p̂(x)] = p(x), of one number with one more; by quadrature over that."""
    density = make(row)
    joint = density.density
    x = all_x(row)[0]
    x = x if row.discrete else x[:: max(1, len(x) // 9)]
    if isinstance(density, Dequantize):
        nodes = 2000
        u = (torch.arange(nodes, dtype=torch.float64) + 0.5) / nodes
        v = (x.double()[:, None] + u[:, None]) / density.levels
        wanted = joint.log_prob(v.flatten(0, 1)).exp().view(len(x), nodes).mean(1) / density.levels
    else:  # augmented by one number
        step = 0.05
        e = torch.arange(-20, 20, step, dtype=torch.float64)
        v = torch.stack(torch.broadcast_tensors(x, e), -1)
        wanted = joint.log_prob(v.flatten(0, 1)).exp().view(len(x), len(e)).sum(1) * step
    draws = density.log_prob(x.repeat(1000, 1), None, seeded()).exp().view(1000, len(x))
    sigma = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - wanted).abs() <= SIGMAS * sigma + 1e-9).all()


@estimates
def test_the_mean_of_an_estimate_is_log_p(row: Row) -> None:
    """Of 4,000 draws, within 4 σ of the noise's density times the Jacobian.

    In batches, because what is drawn once a batch is one draw.
    """
    density, (x, context) = make(row), example(row, n=1)
    noises, _ = density.encode(x, context, MIDPOINT)

    def noise(t: Tensor) -> Tensor:
        each = density.encode(t[None], context, MIDPOINT)[0]
        return torch.cat([one.flatten() for one in each])

    log_det = torch.linalg.slogdet(jacobian(noise, x[0]).flatten(1)).logabsdet
    exact = log_standard(density, noises) + log_det
    batches, size = 200, 20
    many = x.expand(size, *x.shape[1:])
    given = None if context is None else context.expand(size, *context.shape[1:])
    generator = seeded()
    with torch.no_grad():
        means = torch.stack(
            [density.log_prob(many, given, generator).mean() for _ in range(batches)]
        )
    assert (means.mean() - exact).abs() <= 4 * means.std() / math.sqrt(batches)
