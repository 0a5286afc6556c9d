"""From weights to a model: the config that their shapes imply, and a state dict that fits it."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from glowkit.bijections import LUMatrix, swap_halves
from glowkit.core import Density, GlowkitError
from glowkit.models.build import build
from glowkit.models.glow import GlowConfig
from glowkit.models.importers.parts import Factors, Indices, Step, Weights

PUBLISHED_CLASSIFIER_WEIGHT = 0.01
"""No file says how much its classifier counted in the loss; this is what openai/glow published."""


def assemble(
    weights: Weights, sides: tuple[int, int], pixel_levels: int, dtype: torch.dtype
) -> Density:
    """A model with these weights, ready to use; its config is inferred from their shapes.

    Raises:
        GlowkitError: when the sides or the pixel levels cannot be.
    """
    config = _config(weights, sides, pixel_levels)
    with torch.device("meta"):
        model = build(config)
    model = model.to(dtype).to_empty(device="cpu")
    # Strict: that every tensor of the model is set, and no other, is checked here.
    model.load_state_dict(dict(_state(weights, config)))
    return model.eval()


def _config(weights: Weights, sides: tuple[int, int], pixel_levels: int) -> GlowConfig:
    first = weights.levels[0].steps[0]
    channels = len(first.bias)
    if channels % 4:
        raise GlowkitError(
            f"the first level has {channels} channels, which a squeeze cannot make: they must be"
            " four times those of an image"
        )
    return GlowConfig(
        image_shape=(channels // 4, *sides),
        levels=len(weights.levels),
        steps=len(weights.levels[0].steps),
        width=len(first.net[0].bias),
        coupling=_coupling(first),
        kept_half=weights.kept_half,
        entry="preactivation" if first.entry else "none",
        preprocessing=weights.preprocessing,
        permutation=_permutation([step.mix for level in weights.levels for step in level.steps]),
        pixel_levels=pixel_levels,
        classes=weights.embedding.weight.shape[1] if weights.embedding else 0,
        learn_top=weights.top is not None,
        classifier_weight=PUBLISHED_CLASSIFIER_WEIGHT if weights.classifier else 0.0,
    )


def _coupling(step: Step) -> str:
    if step.gain is not None:
        return "tanh-affine"
    return "affine" if len(step.net[2].bias) == len(step.bias) else "additive"


def _permutation(mixes: list[Tensor | Factors | Indices | None]) -> str:
    # rosinality's --no_lu leaves the last block factored: then all are multiplied out.
    if any(isinstance(mix, Tensor) for mix in mixes):
        return "conv1x1-plain"
    if isinstance(mixes[0], Factors):
        return "conv1x1"
    return "reverse" if mixes[0] is None else "shuffle"


def _state(weights: Weights, config: GlowConfig) -> Iterator[tuple[str, Tensor]]:
    # The names follow the nesting of densities in models/glow.py.
    here = "density.density.density" if config.classes else "density.density"
    for level in weights.levels:
        for k, step in enumerate(level.steps):
            yield from _step(
                f"{here}.bijection.bijections.1.bijections.{k}.bijections", step, config
            )
        here += ".density"
        if level.prior:
            yield from _under(f"{here}.prior.net", level.prior.state())
            here += ".deeper"
    if weights.classifier:
        yield from _under(f"{here}.head", weights.classifier.state())
        here += ".prior"
    for name, part in (("border", weights.top), ("embedding", weights.embedding)):
        if part:
            yield from _under(f"{here}.{name}", part.state())


def _step(here: str, step: Step, config: GlowConfig) -> Iterator[tuple[str, Tensor]]:
    seen = {"initialized": torch.tensor(True)}
    first, second, last = step.net
    # The names follow the two forms of a step in models/step.py.
    folded = config.permutation.startswith("conv1x1")
    actnorm, mix, coupling = ("0.actnorm", "0.conv", "1") if folded else ("0", "1", "2")
    yield from _under(f"{here}.{actnorm}", {"bias": step.bias, "logs": step.logs, **seen})
    yield from _under(f"{here}.{mix}", _mix(step.mix, len(step.bias), config.permutation))
    coupling = f"{here}.{coupling}"
    if config.kept_half == "second":
        indices = swap_halves(len(step.bias)).state_dict()
        yield from _under(f"{coupling}.bijections.0", indices)
        yield from _under(f"{coupling}.bijections.2", indices)
        coupling += ".bijections.1"
    if step.entry:
        yield from _under(
            f"{coupling}.net.entry", dict(zip(("scale", "bias"), step.entry, strict=True))
        )
    if step.gain is not None:
        yield f"{coupling}.transformer.gain", step.gain
    yield from _under(f"{coupling}.net.first", first.state() | seen)
    yield from _under(f"{coupling}.net.second", second.state() | seen)
    yield from _under(f"{coupling}.net.last", last.state())


def _mix(
    mix: Tensor | Factors | Indices | None, channels: int, permutation: str
) -> dict[str, Tensor]:
    if mix is None:
        mix = Indices(torch.arange(channels).flip(0))
    if isinstance(mix, Indices):
        return {"indices": mix.indices, "indices_inverse": mix.indices.argsort()}
    if permutation == "conv1x1-plain":
        return {"matrix.weight": mix.matrix() if isinstance(mix, Factors) else mix}
    assert isinstance(mix, Factors)
    return {
        "matrix.packed": mix.packed(),
        "matrix.permutation": mix.permutation.argmax(1),
        "matrix.signs": mix.signs,
    }


def factored(matrix: Tensor) -> Factors:
    """P · L · U of a matrix, in float64, where a file's own factors are of another orientation."""
    layer = LUMatrix(len(matrix)).double()
    layer.assign(matrix)
    packed = layer.packed.detach()
    permutation = torch.eye(len(matrix), dtype=packed.dtype)[layer.permutation]
    return Factors(permutation, packed, packed, packed.diagonal(), layer.signs)


def _under(prefix: str, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in state.items():
        yield f"{prefix}.{name}", tensor
