"""openai/glow: TensorFlow variables under their own names, in an .npz."""

import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.models.importers.assemble import factored
from glowkit.models.importers.contents import Contents
from glowkit.models.importers.parts import Factors, Indices, Level, Scaled, Step, Weights

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
