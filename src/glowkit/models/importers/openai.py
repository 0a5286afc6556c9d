"""Checkpoints of openai/glow, and what their shapes say of the model."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from glowkit.bijections import LUMatrix, swap_halves
from glowkit.core import Density, GlowkitError
from glowkit.models.families import build
from glowkit.models.glow import GlowConfig
from glowkit.models.importers.files import Contents
from glowkit.models.importers.parts import Factors, Indices, Level, Scaled, Step, Weights

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
            yield from _set_step(
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


def _set_step(here: str, step: Step, config: GlowConfig) -> Iterator[tuple[str, Tensor]]:
    seen = {"initialized": torch.tensor(True)}
    first, second, last = step.net
    # The names follow the two forms of a step in models/glow.py.
    folded = config.permutation.startswith("conv1x1")
    actnorm, mix, coupling = ("0.actnorm", "0.conv", "1") if folded else ("0", "1", "2")
    yield from _under(f"{here}.{actnorm}", {"bias": step.bias, "logs": step.logs, **seen})
    yield from _under(f"{here}.{mix}", _set_mix(step.mix, len(step.bias), config.permutation))
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


def _set_mix(
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


MARK = r"model/\d+/\d+/"
"""How the names of this format begin."""


def read(file: Contents) -> Weights:
    """Map the variables of openai/glow onto ours.

    It is the architecture that ours follows, so that tensors only change places: filters from
    (height, width, in, out) to (out, in, height, width), their last input being the edge channel;
    1x1 convolutions from row vectors times W to Wᵀ times column vectors. A transposed P·L·U is not
    one, and is factored anew.
    """
    steps = max(file.numbers(r"model/\d+/(\d+)/")) + 1
    count = max(file.numbers(r"model/(\d+)/\d+/")) + 1
    channels = file.size("model/0/0/actnorm_center/b", 3)
    width = file.size("model/0/0/f1/l_1/W", 3)
    affine = file.size("model/0/0/f1/l_last/W", 3) == channels
    levels = []
    for level in range(count):
        top = level == count - 1
        out = channels if affine else channels // 2
        names = [f"model/{level}/{k}" for k in range(steps)]
        pool = f"model/pool{level}/conv"
        prior = None if top else _zero_conv(file, pool, channels // 2, channels)
        levels.append(Level([_step(file, name, channels, width, out) for name in names], prior))
        channels = channels if top else 2 * channels
    return Weights(levels, *_top(file, channels))


def _step(file: Contents, name: str, channels: int, width: int, out: int) -> Step:
    return Step(
        *_actnorm(file, name, channels),
        _mix(file, name, channels),
        (
            _normalised(file, f"{name}/f1/l_1", channels // 2, width, 3),
            _normalised(file, f"{name}/f1/l_2", width, width, 1),
            _zero_conv(file, f"{name}/f1/l_last", width, out),
        ),
    )


def _mix(file: Contents, name: str, channels: int) -> Tensor | Factors | Indices | None:
    square = (channels, channels)
    # Asked of the whole file: a step that lacks what others have is a damaged one.
    if file.has(r"model/\d+/\d+/shuffle/"):
        indices = file.take(f"{name}/shuffle/indices", channels).long()
        inverse = file.take(f"{name}/shuffle/indices_inverse", channels).long()
        if not torch.equal(indices.argsort(), inverse) or set(indices.tolist()) != set(
            range(channels)
        ):
            raise GlowkitError(f"{file.path}: {name}/shuffle/indices is damaged: no permutation")
        return Indices(indices)
    if file.has(r"model/\d+/\d+/invconv/W"):
        return file.take(f"{name}/invconv/W", *square).T
    if not file.has(r"model/\d+/\d+/invconv/"):
        return None
    factors = Factors(
        file.take(f"{name}/invconv/P", *square),
        file.take(f"{name}/invconv/L", *square),
        file.take(f"{name}/invconv/U", *square),
        file.take(f"{name}/invconv/log_S", channels),
        file.take(f"{name}/invconv/sign_S", channels),
    )
    return factored(factors.check(f"{file.path}: {name}/invconv").matrix().T)


def _actnorm(file: Contents, name: str, channels: int) -> tuple[Tensor, Tensor]:
    return (
        file.flat(f"{name}/actnorm_center/b", 1, 1, 1, channels),
        file.flat(f"{name}/actnorm_scale/logs", 1, 1, 1, channels),
    )


def _normalised(file: Contents, name: str, inside: int, width: int, kernel: int) -> Scaled:
    """A convolution followed by actnorm."""
    weight, edge = _filters(file, f"{name}/W", inside, width, kernel)
    return Scaled(weight, *_actnorm(file, name, width), edge)


def _zero_conv(file: Contents, name: str, inside: int, out: int) -> Scaled:
    weight, edge = _filters(file, f"{name}/W", inside, out, 3)
    bias = file.flat(f"{name}/b", 1, 1, 1, out)
    return Scaled(weight, bias, file.flat(f"{name}/logs", 1, out), edge)


def _filters(
    file: Contents, name: str, inside: int, out: int, kernel: int
) -> tuple[Tensor, Tensor | None]:
    """Filters, and those of the edge channel, which only 3x3 convolutions have."""
    edged = kernel == 3
    weight = file.take(name, kernel, kernel, inside + edged, out).permute(3, 2, 0, 1)
    return weight[:, :inside], weight[:, inside] if edged else None


def _top(file: Contents, channels: int) -> tuple[Scaled | None, Scaled | None, Scaled | None]:
    """The learned top prior, the embedding of the classes and the classifier, where there are."""
    twice = 2 * channels
    prior = "model/prior"
    top = _zero_conv(file, f"{prior}/p", twice, twice) if file.has(f"{prior}/p/") else None
    if not file.has(f"{prior}/y_emb/"):
        return top, None, None
    classes = file.size(f"{prior}/y_emb/W", 0)
    embedding = _linear(file, f"{prior}/y_emb", classes, twice)
    if not file.has("model/classifier/"):
        return top, embedding, None
    return top, embedding, _linear(file, "model/classifier", channels, classes)


def _linear(file: Contents, name: str, inside: int, out: int) -> Scaled:
    return Scaled(
        file.take(f"{name}/W", inside, out).T,
        file.flat(f"{name}/b", 1, out),
        file.flat(f"{name}/logs", 1, out),
    )
