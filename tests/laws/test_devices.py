"""What holds on the CPU holds on a GPU, and comes out the same; skipped where there is none.

torch lets convolutions on a GPU round their inputs to 10 bits (TF32) unless it is told not to:
comparisons with the CPU tell it, and what must hold however conditioners round is tested as it is.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import glowkit
from glowkit.cli import main
from glowkit.core.chain import MEMORY_MODES
from glowkit.models.presets import SETTINGS
from glowkit.nets.batchnorm import BatchShare
from glowkit.nets.fast import set_precision
from glowkit.training.batches import noise_of_step
from glowkit.training.objective import objective_of
from glowkit.training.passes import Captured, Loss, guarded
from laws.table import BIJECTIONS, DENSITIES, Row, example, make

DEVICE = "cuda"
if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device", allow_module_level=True)

PRECISIONS = {torch.float64: 1e-9, torch.float32: 2e-4}
"""What results may differ by from the CPU's, in proportion: sums have other orders."""

precise = pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
bijections = pytest.mark.parametrize("row", BIJECTIONS, ids=str)
densities = pytest.mark.parametrize("row", DENSITIES, ids=str)
every = pytest.mark.parametrize("row", [*BIJECTIONS, *DENSITIES], ids=str)
small = pytest.mark.parametrize(
    "name", [name for name in SETTINGS if name.endswith(("-tiny", "-small"))]
)


@pytest.fixture
def whole_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions multiply float32 as float32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(params=["highest", "high"])
def any_products(request: pytest.FixtureRequest) -> Iterator[None]:
    """Products of matrices as torch has them, and as a user may have asked for them, in TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield
    torch.set_float32_matmul_precision(before)


def there(value: Any) -> Any:
    """A copy of a module, a tensor or None on the device."""
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(DEVICE)
    return None if value is None else value.to(DEVICE)


def results(module: nn.Module, x: Tensor, context: Tensor | None) -> list[Tensor]:
    """Outputs of both directions, and the gradients of their sum."""
    x = x.clone().requires_grad_()
    if isinstance(module, glowkit.Density):
        noises, log_p = module.encode(x, context)
        outputs = [*noises, log_p, module.decode(noises, context)[0]]
    else:
        y, ladj = module(x, context)
        outputs = [y, ladj, *module.inverse(y, context)]
    weights = [torch.linspace(0.5, 1, t.numel(), dtype=t.dtype).view(t.shape) for t in outputs]
    loss = sum((t * w.to(t.device)).sum() for t, w in zip(outputs, weights, strict=True))
    wanted = [x, *module.parameters()]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [*outputs, *(g for g in gradients if g is not None)]


@every
@precise
@pytest.mark.usefixtures("plain", "whole_products")
def test_results_and_gradients_are_those_of_the_cpu(row: Row, dtype: torch.dtype) -> None:
    module, (x, context) = make(row, dtype), example(row, dtype)
    here = results(module, x, context)
    for mine, other in zip(results(there(module), there(x), there(context)), here, strict=True):
        assert mine.is_cuda
        assert mine.dtype == other.dtype
        error = (mine.cpu() - other).abs().max()
        assert error <= PRECISIONS[dtype] * (1 + other.abs().max())


@bijections
@pytest.mark.usefixtures("whole_products", "any_products")
def test_round_trip_of_a_bijection(row: Row) -> None:
    module, (x, context) = make(row, torch.float32), example(row, torch.float32, n=64)
    module, x, context = there(module), there(x), there(context)
    y, ladj = module(x, context)
    back, other = module.inverse(y, context)
    assert (back - x).abs().max() <= max(4 * row.tolerance, 1e-6)
    assert (ladj + other).abs().max() <= 2e-3


@densities
@pytest.mark.usefixtures("whole_products", "any_products")
def test_round_trip_of_a_density(row: Row) -> None:
    density, (x, context) = make(row, torch.float32), example(row, torch.float32, n=64)
    density, x, context = there(density), there(x), there(context)
    noises, log_p = density.encode(x, context)
    back, again = density.decode(noises, context)
    assert (back - x).abs().max() <= max(4 * row.tolerance, 1e-6)
    assert (log_p - again).abs().max() <= 2e-3


@small
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.usefixtures("whole_products")
def test_images_come_back_pixel_for_pixel(name: str, precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: Any = glowkit.build(name)
    config = SETTINGS[name]
    shape, levels = config["image_shape"], config.get("pixel_levels", 256)
    x = torch.randint(0, levels, (32, *shape), dtype=torch.uint8)
    model = model.to(DEVICE)
    glowkit.initialize(model, x.to(DEVICE))
    if precision == "bfloat16":
        set_precision(model, precision)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        loss = glowkit.bits_per_dim(model, x.to(DEVICE)).mean()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        seeded = torch.Generator().manual_seed(0)
        noises, _ = model.encode(x.to(DEVICE), generator=seeded)
        assert torch.equal(model.decode(noises)[0].cpu(), x)
        with glowkit.frozen(model):
            assert torch.equal(model.decode(noises)[0].cpu(), x)
        assert model.sample(4, temperature=0.7).shape == (4, *shape)
    glowkit.save(model, tmp_path)
    figures = []
    for place in ("cpu", DEVICE):
        generator = torch.Generator().manual_seed(0)
        loaded = glowkit.load(tmp_path).to(place)
        with torch.no_grad():
            figures.append(glowkit.bits_per_dim(loaded, x.to(place), generator=generator).mean())
    assert abs(figures[0] - figures[1].cpu()) <= 0.01


@pytest.mark.parametrize("memory", MEMORY_MODES)
@pytest.mark.usefixtures("whole_products")
def test_memory_modes_have_the_gradients_of_stored_activations(memory: str) -> None:
    found = {}
    for mode in ("store", memory):
        torch.manual_seed(0)
        config = glowkit.GlowConfig((3, 8, 8), levels=2, steps=3, width=16, memory=mode)
        model: Any = glowkit.build(config)
        x = torch.rand(8, 3, 8, 8)
        glowkit.initialize(model.density, x)
        model = model.to(DEVICE)
        (-model.density.log_prob(x.to(DEVICE)).mean()).backward()
        found[mode] = [p.grad for p in model.parameters() if p.grad is not None]
    for one, other in zip(found["store"], found[memory], strict=True):
        assert (one - other).abs().max() <= 1e-3 * (1 + one.abs().max())


@pytest.mark.parametrize("data", ["digits", "points:moons"])
def test_commands_from_training_to_samples(data: str, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    few = ["--set", "steps=2", "--set", "width=16", "--epochs", "1", "--device", DEVICE]
    for line in (
        ["train", data, *few, "--out", run],
        ["train", "--resume", "--epochs", "2", "--out", run],
        ["evaluate", run, "--device", DEVICE],
        ["sample", run, "--device", DEVICE, "--out", str(tmp_path / "samples.png")],
    ):
        with pytest.raises(SystemExit) as end:
            main(line)
        assert end.value.code == 0, line


@pytest.mark.parametrize("name", ["glow-tiny", "glow-small", "realnvp-tiny", "flowpp-tiny"])
@pytest.mark.usefixtures("whole_products")
def test_a_captured_step_is_the_step(name: str) -> None:
    """With its noise, its dropout and its moving moments, whatever the weights have become."""
    torch.manual_seed(0)
    model: Any = glowkit.build(name)
    levels = SETTINGS[name].get("pixel_levels", 256)
    images = torch.randint(0, levels, (3, 32, *model.shape), dtype=torch.uint8)
    glowkit.initialize(model, images[0])
    ours, others = there(model).train(), there(model).train()
    said: list[str] = []
    steps = {}
    for kind, flow in (("eager", others), ("captured", ours)):
        parameters = [p for p in flow.parameters() if p.requires_grad]
        loss = Loss(flow, objective_of(flow))

        def passes(x: Tensor, context: Any, noise: Any, loss: Loss = loss) -> Tensor:
            value, figure = loss(x, context, noise)
            guarded(value, 1.0).backward()
            return figure

        run = passes if kind == "eager" else Captured(passes, flow, parameters, said.append)
        optimizer = torch.optim.Adam(parameters, 1e-3)
        steps[kind] = []
        for step in range(5):
            share = BatchShare(32)
            noise = noise_of_step(7, step, torch.device(DEVICE), share)
            figure = run(images[step % 3].to(DEVICE), None, noise)
            steps[kind].append(float(figure))
            optimizer.step()
            optimizer.zero_grad()
    assert not said
    assert steps["captured"] == pytest.approx(steps["eager"], rel=2e-4)
    for one, other in zip(ours.buffers(), others.buffers(), strict=True):
        assert torch.allclose(one.double(), other.double(), rtol=1e-3, atol=1e-4)


def test_what_cannot_be_captured_runs_as_it_is() -> None:
    """And says so: here a look at a value."""
    weight, said = torch.nn.Parameter(torch.ones(2, device=DEVICE)), []

    def passes(x: Tensor, context: Any, noise: Any) -> Tensor:
        loss = (x * weight).sum()
        assert loss.detach().item() > 0
        loss.backward()
        return loss.detach()

    run = Captured(passes, torch.nn.Module(), [weight], said.append)
    for _ in range(2):
        figure = run(torch.ones(2, device=DEVICE), None, torch.Generator(DEVICE))
        assert float(figure) == 2
        assert weight.grad is not None
        assert weight.grad.tolist() == [1, 1]
        weight.grad = None
    assert len(said) == 1
