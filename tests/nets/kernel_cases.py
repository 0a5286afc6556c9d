"""Calls of the compiled kernels, random ones too, and what they give by both definitions."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from glowkit.bijections.linear import FoldedLU
from glowkit.bijections.mixture import MixtureLogit, MixtureRoot
from glowkit.bijections.step import FlowKernel
from glowkit.nets.fast import Kernel
from glowkit.nets.glow import ConditionerKernel
from glowkit.nets.kernels.step import ADDITIVE, AFFINE, NONE, Step

PARAMETERS = ("w1", "e1", "b1", "l1", "w2", "b2", "l2", "w3", "e3", "b3", "l3")
STEP = ("step", "x", "added", "matrix", "shift", *PARAMETERS)
FOLD = ("packed", "permutation", "signs", "bias", "logs")
MIXTURE = ("x", "groups")
CONTEXTS = ("none", "vector", "map")


@dataclass(frozen=True)
class Case:
    """A kernel and its inputs by name, tensors in float32."""

    kernel: type[Kernel]
    inputs: dict[str, Any]
    tolerance: float = 1e-5  # relative to the largest number of a tensor

    def given(self, **changes: Any) -> "Case":
        assert changes.keys() <= self.inputs.keys()
        return replace(self, inputs={**self.inputs, **changes})

    def floats(self) -> list[str]:
        """The inputs that have gradients; signs are fixed."""
        return [
            name
            for name, value in self.inputs.items()
            if isinstance(value, Tensor) and value.is_floating_point() and name != "signs"
        ]


@dataclass(frozen=True)
class Outcome:
    """Results, and the gradients of a weighted sum of them by the inputs of those names."""

    results: list[Tensor]
    gradients: dict[str, Tensor]

    def all(self) -> dict[str, Tensor]:
        named = {f"result {i}": result for i, result in enumerate(self.results)}
        return {**named, **{f"by {name}": grad for name, grad in self.gradients.items()}}


def outcome(
    case: Case,
    function: Callable[..., Any] | None = None,
    dtype: torch.dtype = torch.float32,
    weights: Callable[[int, Tensor], Tensor] = lambda number, draw: draw,
) -> Outcome:
    """Of the kernel, or of another function, in a dtype; `weights` may change those of results."""
    inputs, names = dict(case.inputs), case.floats()
    for name in (*names, *(["signs"] if "signs" in inputs else [])):
        inputs[name] = inputs[name].detach().to(dtype).requires_grad_(name in names)
    made = (function or case.kernel.of)(*inputs.values())
    made = made if isinstance(made, tuple) else (made,)
    generator = torch.Generator().manual_seed(5)
    draws = [weights(i, torch.randn(t.shape, generator=generator)) for i, t in enumerate(made)]
    pairs = [(t, d.to(t.dtype)) for t, d in zip(made, draws, strict=True) if t.requires_grad]
    found = torch.autograd.grad(
        [t for t, _ in pairs],
        [inputs[name] for name in names],
        [d for _, d in pairs],
        allow_unused=True,
        materialize_grads=True,
    )
    return Outcome([t.detach() for t in made], dict(zip(names, found, strict=True)))


def plain(case: Case, dtype: torch.dtype = torch.float64, **more: Any) -> Outcome:
    """By the definition, in operations of torch's."""
    return outcome(case, case.kernel.plain, dtype, **more)


def error(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest number of `other`."""
    assert one.shape == other.shape
    if not one.numel():
        return 0.0
    return float((one.double() - other).abs().max() / (other.abs().max() + 1e-3))


def errors(case: Case, found: Outcome, expected: Outcome) -> dict[str, float]:
    """Those above the case's tolerance; NaN is one."""
    off = {name: error(found.all()[name], other) for name, other in expected.all().items()}
    return {name: size for name, size in off.items() if not size <= case.tolerance}


# ---- cases ----


def assert_seen(found: Outcome, expected: list[Outcome]) -> None:
    """Not finite where plain torch's are, which differ where one does not multiply by padding.

    In gradients more may be lost than there: what is beyond the border is 0, and 0 · NaN is NaN.
    """
    for name, tensor in found.all().items():
        finite = tensor.isfinite()
        patterns = [other.all()[name].isfinite() for other in expected]
        if name.startswith("result"):
            assert any(torch.equal(finite, pattern) for pattern in patterns), name
        else:
            assert not (finite & ~torch.stack(patterns).any(0)).any(), name
            assert any(finite.all() == pattern.all() for pattern in patterns), name


class Draw:
    """Random numbers of one seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def between(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def one_of(self, *choices: Any) -> Any:
        return choices[self.between(0, len(choices) - 1)]


def step_case(
    draw: Draw,
    images: int,
    channels: int,
    size: tuple[int, int],
    width: int,
    last: int = 3,
    context: str = "none",
    transform: int = NONE,
    mixes: bool = False,
    outputs: int = 4,
    recompute: bool = False,
    low: bool = False,
) -> Case:
    """A step of flow, or a conditioner alone; weights of a size that keeps activations near 1."""
    kept = channels // 2 if mixes else channels
    outputs = {ADDITIVE: channels - kept, AFFINE: 2 * (channels - kept)}.get(transform, outputs)
    edge3 = 0.1 * draw(outputs, 3, 3) if last == 3 else None
    parameters = (
        *(0.3 / kept**0.5 * draw(width, kept, 3, 3), 0.1 * draw(width, 3, 3)),
        *(0.2 * draw(width), 0.1 * draw(width)),
        *(draw(width, width, 1, 1) / width**0.5, 0.2 * draw(width), 0.1 * draw(width)),
        *(draw(outputs, width, last, last) / (width * last) ** 0.5, edge3),
        *(0.1 * draw(outputs), 0.1 * draw(outputs)),
    )
    added = {"none": None, "vector": draw(images, width), "map": draw(images, *size, width)}
    matrix = torch.linalg.qr(draw(channels, channels))[0].contiguous() if mixes else None
    inputs = (
        *(Step(kept, transform, recompute=recompute, low=low), draw(images, channels, *size)),
        *(added[context], matrix, draw(channels) if mixes else None, *parameters),
    )
    kernel = FlowKernel if mixes else ConditionerKernel
    return Case(kernel, dict(zip(STEP, inputs, strict=True)))


def random_step(draw: Draw) -> Case:
    longest = 70 if draw.between(0, 9) == 0 else 20
    mixes = draw.between(0, 2) > 0
    return step_case(
        draw,
        draw.between(1, 9),
        draw.between(2, 40) if mixes else draw.between(1, 20),
        (draw.between(1, longest), draw.between(1, longest)),
        draw.between(1, 150),
        draw.one_of(1, 3),
        draw.one_of(*CONTEXTS),
        draw.one_of(NONE, ADDITIVE, AFFINE) if mixes else NONE,
        mixes,
        draw.between(1, 60),
        draw.between(0, 4) == 0,
    )


def fold_case(draw: Draw, channels: int) -> Case:
    inputs = (
        *(draw(channels, channels) / channels, torch.randperm(channels, generator=draw.generator)),
        *(draw(channels).sign(), draw(channels), 0.1 * draw(channels)),
    )
    return Case(FoldedLU, dict(zip(FOLD, inputs, strict=True)), 3e-7)


def mixture_case(draw: Draw, shape: tuple[int, ...], components: int, root: bool) -> Case:
    n, channels, *space = shape
    groups = draw(n, channels, 2 + 3 * components, *space)
    inputs = (draw.one_of(1.0, 8.0) * draw(*shape), groups)
    kernel = MixtureRoot if root else MixtureLogit
    return Case(kernel, dict(zip(MIXTURE, inputs, strict=True)))


def random_mixture(draw: Draw) -> Case:
    space = [draw.between(1, 20) for _ in range(draw.between(0, 2))]
    shape = (draw.between(1, 5), draw.between(1, 9), *space)
    return mixture_case(draw, shape, draw.between(1, 32), draw.between(0, 1) == 0)


def random_case(seed: int) -> Case:
    draw = Draw(seed)
    kind = draw.between(0, 9)
    if kind == 0:
        return fold_case(draw, draw.between(1, 48))
    return random_mixture(draw) if kind <= 3 else random_step(draw)


SIZES = ((1, 1), (2, 2), (1, 9), (7, 7), (300, 2), (256, 256))
WIDTHS = (1, 3, 16, 17, 64, 65, 130)


def chosen_cases() -> dict[str, Case]:
    """Sizes of images and widths that are corners, in turn with all kinds of steps."""
    kinds = [(NONE, False), (NONE, True), (ADDITIVE, True), (AFFINE, True)]
    cases = {}
    for i, size in enumerate(SIZES):
        for transform, mixes in kinds:
            if size == (256, 256) and transform != AFFINE:
                continue
            case = step_case(
                *(Draw(i), 1 if size == (256, 256) else 3, 5, size, 9),
                *((3, 1)[(i + transform) % 2], CONTEXTS[(i + transform) % 3], transform, mixes),
            )
            cases[f"size {size[0]}x{size[1]}, {transform}, {mixes}"] = case
    for i, width in enumerate(WIDTHS):
        for transform, mixes in kinds:
            case = step_case(
                *(Draw(i), 4, 7, (5, 6), width, (3, 1)[(i + transform) % 2]),
                *(CONTEXTS[i % 3], transform, mixes, 35, transform == NONE),
            )
            cases[f"width {width}, {transform}, {mixes}"] = case
    for channels in (1, 2, 17, 128):
        cases[f"fold {channels}"] = fold_case(Draw(channels), channels)
    for components in (1, 4, 32):
        for root in (False, True):
            case = mixture_case(Draw(components), (2, 3, 7, 11), components, root)
            cases[f"mixture {components}, {root}"] = case
    return cases


def same(one: Outcome, other: Outcome) -> bool:
    return all(torch.equal(one.all()[name], t) for name, t in other.all().items())


def on_threads(case: Case, number: int) -> Case:
    """Described anew, since a step says for how many threads it is."""
    torch.set_num_threads(number)
    if "step" not in case.inputs:
        return case
    return case.given(step=replace(case.inputs["step"], jobs=number))


def wrong_at_once(case: "Case", expected: "Outcome", times: int) -> list[object]:
    """Which of so many calls on two threads came out otherwise, or failed, in three at once."""
    wrong: list[object] = []

    def run() -> None:
        try:
            wrong.extend(
                i for i in range(times) if not same(outcome(on_threads(case, 2)), expected)
            )
        except Exception as failed:
            wrong.append(failed)

    team = [threading.Thread(target=run) for _ in range(3)]
    for one in team:
        one.start()
    for one in team:
        one.join()
    return wrong
