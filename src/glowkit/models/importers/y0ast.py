"""y0ast/Glow-PyTorch: a bare state dict."""

from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.models.importers.files import Contents
from glowkit.models.importers.parts import Factors, Level, Scaled, Step, Weights, no_edge
from glowkit.nets.glow import LOG_SCALE_FACTOR

MARK = r"flow\.layers\.\d+\."
"""How the names of this format begin."""


def read(file: Contents) -> Weights:
    """Map the tensors of y0ast/Glow-PyTorch onto ours.

    Level l is a squeeze at layer l(K+2), K steps and a split. Differences from openai/glow, and how
    they are absorbed: the logs of actnorm, in the net too, lack the factor 3 (divided by it); 3x3
    convolutions pad with zeros alone (edge weights 0), so that the learned top prior is the same
    everywhere. The image's sides follow from `prior_h`.
    """
    splits = file.numbers(r"flow\.layers\.(\d+)\.conv\.")
    steps = file.numbers(r"flow\.layers\.(\d+)\.(?:actnorm|invconv|block)\.")
    count = min(splits, default=max(steps, default=0) + 1) - 1
    if not file.has(r"flow\.layers\.\d+\.invconv\."):
        raise GlowkitError(
            f"{file.path} has no 1x1 convolutions; y0ast/Glow-PyTorch does not save what order of"
            " the channels stood in their place, so that such a model cannot be imported"
        )
    channels = file.size("flow.layers.1.actnorm.bias", 1)
    width = file.size("flow.layers.1.block.0.conv.weight", 0)
    affine = file.size("flow.layers.1.block.4.conv.weight", 0) == channels
    levels = []
    for level in range(len(splits) + 1):
        start = level * (count + 2)
        top = level == len(splits)
        out = channels if affine else channels // 2
        names = [f"flow.layers.{start + 1 + k}" for k in range(count)]
        split = f"flow.layers.{start + 1 + count}.conv"
        prior = None if top else _zero_conv(file, split, channels // 2, channels)
        levels.append(Level([_step(file, name, channels, width, out) for name in names], prior))
        channels = channels if top else 2 * channels
    height, width = file.size("prior_h", 2), file.size("prior_h", 3)
    file.take("prior_h", 1, 2 * channels, height, width)
    return Weights(
        levels, *_top(file, channels), sides=(height << len(levels), width << len(levels))
    )


def _step(file: Contents, name: str, channels: int, width: int, out: int) -> Step:
    return Step(
        file.flat(f"{name}.actnorm.bias", 1, channels, 1, 1),
        file.flat(f"{name}.actnorm.logs", 1, channels, 1, 1) / LOG_SCALE_FACTOR,
        _mix(file, f"{name}.invconv", channels),
        (
            _normalised(file, f"{name}.block.0", channels // 2, width, 3),
            _normalised(file, f"{name}.block.2", width, width, 1),
            _zero_conv(file, f"{name}.block.4", width, out),
        ),
    )


def _mix(file: Contents, name: str, channels: int) -> Tensor | Factors:
    square = (channels, channels)
    if file.has(rf"{name}\.weight"):
        return file.take(f"{name}.weight", *square)
    return Factors(
        file.take(f"{name}.p", *square),
        file.take(f"{name}.lower", *square),
        file.take(f"{name}.upper", *square),
        file.take(f"{name}.log_s", channels),
        file.take(f"{name}.sign_s", channels),
    ).check(f"{file.path}: {name}")


def _normalised(file: Contents, name: str, inside: int, width: int, kernel: int) -> Scaled:
    """A convolution followed by actnorm."""
    return Scaled(
        file.take(f"{name}.conv.weight", width, inside, kernel, kernel),
        file.flat(f"{name}.actnorm.bias", 1, width, 1, 1),
        file.flat(f"{name}.actnorm.logs", 1, width, 1, 1) / LOG_SCALE_FACTOR,
        no_edge(width) if kernel == 3 else None,
    )


def _zero_conv(file: Contents, name: str, inside: int, out: int) -> Scaled:
    return Scaled(
        file.take(f"{name}.conv.weight", out, inside, 3, 3),
        file.take(f"{name}.conv.bias", out),
        file.flat(f"{name}.logs", out, 1, 1),
        no_edge(out),
    )


def _top(file: Contents, channels: int) -> tuple[Scaled | None, Scaled | None, Scaled | None]:
    """The learned top prior, the embedding of the classes and the classifier, where there are."""
    twice = 2 * channels
    top = _zero_conv(file, "learn_top_fn", twice, twice) if file.has(r"learn_top_fn\.") else None
    if not file.has(r"project_ycond\."):
        return top, None, None
    classes = file.size("project_ycond.linear.weight", 1)
    embedding = _linear(file, "project_ycond", classes, twice)
    return top, embedding, _linear(file, "project_class", channels, classes)


def _linear(file: Contents, name: str, inside: int, out: int) -> Scaled:
    return Scaled(
        file.take(f"{name}.linear.weight", out, inside),
        file.take(f"{name}.linear.bias", out),
        file.flat(f"{name}.logs", out),
    )
