"""Glow's conditioner and its convolutions, with a network that describes an image to others."""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from glowkit.core.bijection import transformed
from glowkit.core.chain import recomputing
from glowkit.core.freezing import is_frozen, made_once
from glowkit.core.initialization import channel_statistics
from glowkit.nets.fast import PrecisionNet, compiled
from glowkit.nets.kernels.library import tiles
from glowkit.nets.kernels.step import NONE, Step, StepKernel, in_reach, packs

NARROWEST = 16
"""Width up to which compiled kernels in float32 are as fast as those in bfloat16."""

LOG_SCALE_FACTOR = 3.0
"""openai/glow multiplies its learned log-scales by 3, so that they learn three times as fast."""


@cache
def narrow() -> int:
    """Width up to which compiled kernels in float32 are faster than torch's bfloat16 convolutions.

    Less where the processor multiplies matrices of bfloat16 at once (AMX).
    """
    return 96 if torch.cpu._is_amx_tile_supported() else 128


class ScaledConv2d(nn.Module):
    """Convolution with a bias and a per-channel log-scale: y = (W * x + b) · exp(3 · logs).

    3x3 kernels pad with zeros and add one input channel that is 1 on the padding ring and 0 inside
    ("edge bias"), so that the network knows where the border is; 1x1 kernels have no border. The
    scale is multiplied into W and b, which are smaller than activations, and all is computed in
    x's dtype. Shapes: (N, C_in, H, W) to (N, C_out, H, W). Source: openai/glow `tfops.py`,
    `conv2d`, `conv2d_zeros`, `add_edge_padding`.
    """

    edge: nn.Parameter | None

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        if kernel not in (1, 3):
            raise ValueError(f"kernel must be 1 or 3, not {kernel}")
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, kernel, kernel))
        self.edge = nn.Parameter(torch.zeros(out_channels, 3, 3)) if kernel == 3 else None
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.logs = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, *self.scaled(x.dtype, *x.shape[2:]))

    @made_once
    def scaled(self, dtype: torch.dtype, height: int, width: int) -> tuple[Tensor, Tensor]:
        """W and b for images of that size, times the scale; b is (C_out,) or (C_out, H, W)."""
        weight, shift = scaled(self.weight, self.edge, self.bias, self.logs, height, width)
        return weight.to(dtype), shift.to(dtype)

    def extra_repr(self) -> str:
        out, inputs, kernel, _ = self.weight.shape
        return f"{inputs} -> {out}, {kernel}x{kernel}"


def scaled(
    weight: Tensor, edge: Tensor | None, bias: Tensor, logs: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """W and b, times the scale.

    Where y is wide, a ring of its size would be a pass over it, and the ring is seen instead as
    what a channel of ones, the last that W reads, lacks on the padding.
    """
    shift = bias
    if edge is not None and weight.shape[1] < weight.shape[0]:
        weight = torch.cat([weight, -edge[:, None]], 1)
        shift = shift + edge.sum((1, 2))
    elif edge is not None:
        ring = F.pad(edge.new_zeros(1, 1, height, width), (1, 1, 1, 1), value=1.0)
        shift = F.conv2d(ring, edge[:, None], bias)[0]
    scale = torch.exp(LOG_SCALE_FACTOR * logs)
    return weight * scale[:, None, None, None], shift * scale.view(-1, *[1] * (shift.dim() - 1))


def convolve(x: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
    """Those with x."""
    padding = weight.shape[-1] // 2
    if shift.dim() > 1:
        return F.conv2d(x, weight, padding=padding) + shift
    if weight.shape[1] > x.shape[1]:
        x = F.pad(x, (0, 0, 0, 0, 0, 1), value=1.0)
    return F.conv2d(x, weight, shift, padding=padding)


class ActnormConv2d(ScaledConv2d):
    """Convolution followed by an activation normalisation, as in Glow's conditioner.

    Weights start as N(0, 0.05²); bias and scale are set by `glowkit.initialize` so that every
    output channel has mean 0 and variance 1 on the first batch.
    """

    initialized: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(in_channels, out_channels, kernel)
        nn.init.normal_(self.weight, std=0.05)
        if self.edge is not None:
            nn.init.normal_(self.edge, std=0.05)
        self.register_buffer("initialized", torch.tensor(False))

    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        self.bias.zero_()
        self.logs.zero_()
        mean, std = channel_statistics(self.forward(x))
        self.bias.copy_(-mean)
        self.logs.copy_(-std.log() / LOG_SCALE_FACTOR)
        self.initialized.fill_(True)


class ZeroConv2d(ScaledConv2d):
    """Convolution that starts as zero: a fresh coupling or prior is known in closed form."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3) -> None:
        super().__init__(in_channels, out_channels, kernel)


class ZeroLinear(nn.Module):
    """Linear map that starts as zero, with bias and log-scale: y = (W x + b) · exp(3 · logs).

    Shapes: (N, features_in) to (N, features_out). Source: openai/glow `tfops.linear_zeros`.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.logs = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias) * torch.exp(LOG_SCALE_FACTOR * self.logs)

    def extra_repr(self) -> str:
        return "{1} -> {0}".format(*self.weight.shape)


class Preactivation(nn.Module):
    """What comes before a convolution where networks begin with it: y = ReLU(s · x + b).

    s starts at 1 and b at 0, for each channel. Shapes: (N, C, H, W) to the same. Source:
    chrischute/glow `coupling.NN`, with the batch norm as the affine map that it is in evaluation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(torch.addcmul(self.bias[:, None, None], x, self.scale[:, None, None]))


class GlowNet(PrecisionNet):
    """conv3x3 → actnorm → ReLU → conv1x1 → actnorm → ReLU → zero conv3x3.

    Shapes: (N, in_channels, H, W) to (N, out_channels, H, W). A context of `context_features`
    numbers an example, (N, features), or a map of them, (N, features, H, W), is added before the
    first ReLU through a 1x1 convolution that starts as zero. Cost: 9·C_in·w + w² + 9·w·C_out
    multiplications a pixel, done in `precision`; a `last_kernel` of 1 spares the second 9, which
    counts where a transformer takes many parameters, and then runs in the flow's dtype, since
    narrow mixtures feel rounded parameters. An `entry`, such as `Preactivation`, comes
    before the first convolution. Source: Glow, appendix B, and openai/glow `model.f`; the context
    and the 1x1 last convolution are ours.
    """

    context: nn.Conv2d | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        context_features: int = 0,
        precision: str = "float32",
        last_kernel: int = 3,
        entry: nn.Module | None = None,
    ) -> None:
        super().__init__(precision)
        self.entry = nn.Identity() if entry is None else entry
        self.first = ActnormConv2d(in_channels, width, kernel=3)
        self.second = ActnormConv2d(width, width, kernel=1)
        self.last = ZeroConv2d(width, out_channels, last_kernel)
        self.context = None
        if context_features:
            self.context = nn.Conv2d(context_features, width, 1, bias=False)
            nn.init.zeros_(self.context.weight)

    @property
    def reads_context(self) -> bool:
        return self.context is not None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if compiled(x, self) and self.compiles() and in_reach(x, len(self.last.bias)):
            step, added = self.step(x.shape[1]), self.added(x.dtype, context)
            return ConditionerKernel.of(
                step, self.entry(x), added, None, None, *self.convolutions()
            )
        dtype = x.dtype if self.dtype == torch.float32 else self.dtype
        with torch.autocast(x.device.type, enabled=False):  # the dtypes say it all
            h, added = self.entry(x).to(dtype), self.added(dtype, context)
            if recomputing() and torch.is_grad_enabled() and not transformed():
                # Of tensors alone: what is made again must not look for parameters in modules.
                given = h, added, *self.convolutions()
                return checkpoint(conditioned, *given, use_reentrant=False).to(x.dtype)
            # Channels last in memory, in which a CPU's convolutions take half the time.
            h = self.first(h.movedim(1, -1).contiguous().movedim(-1, 1))
            if added is not None:
                h = h + as_map(added)
            h = self.second(h.relu_()).relu_()
            if self.last.edge is None:
                h = h.to(x.dtype)
            return self.last(h).to(x.dtype)

    def compiles(self) -> bool:
        """Whether compiled kernels are what it should use, given that there are any.

        In bfloat16, narrow networks take less time in those of float32 than in torch's
        convolutions, and are more exact. Layers of another kind than the constructor's are asked
        themselves.
        """
        kinds = type(self.first), type(self.second), type(self.last)
        quicker = self.dtype == torch.float32 or len(self.second.bias) <= narrow() or self.low()
        return quicker and kinds == (ActnormConv2d, ActnormConv2d, ZeroConv2d)

    def low(self) -> bool:
        """Whether kernels are to multiply in bfloat16: they know the 3x3 last convolution only."""
        return (
            self.dtype == torch.bfloat16
            and len(self.second.bias) > NARROWEST
            and self.last.edge is not None
            and tiles()
        )

    def step(self, kept: int, transform: int = NONE) -> Step:
        """What kernels are told of it, and of the step of flow that it is a part of."""
        return Step(kept, transform, self.packed(), recomputing(), self.low())

    def added(self, dtype: torch.dtype, context: Tensor | None) -> Tensor | None:
        """What the context adds before the first ReLU, (N, width) or (N, H, W, width)."""
        if self.context is None:
            return None
        if context is None:
            raise ValueError("this conditioner needs a context and got none")
        # A product of pixels rather than a convolution, whose gradient has strides of its own.
        with torch.autocast(context.device.type, enabled=False):
            weight = self.context.weight.flatten(1).to(dtype)
            return F.linear(context.to(dtype).movedim(1, -1), weight)

    def convolutions(self) -> tuple[Tensor | None, ...]:
        """The parameters of the three convolutions, in the order that kernels take them."""
        a, b, c = self.first, self.second, self.last
        return (
            *(a.weight, a.edge, a.bias, a.logs),
            *(b.weight, b.bias, b.logs),
            *(c.weight, c.edge, c.bias, c.logs),
        )

    @made_once
    def packed(self) -> Tensor | None:
        """Those as kernels read them, where they are kept: else each call makes it itself."""
        return packs(*self.convolutions(), low=self.low()) if is_frozen(self) else None


class ConditionerKernel(StepKernel):
    """A `GlowNet` without its entry and its context's map; see `StepKernel`."""

    @staticmethod
    def plain(*inputs: Any) -> Tensor:
        step, x, added, _, _, *parameters = inputs
        return rounded(step, x, added, *parameters)


def rounded(step: Step, x: Tensor, added: Tensor | None, *parameters: Any) -> Tensor:
    """The same in the precision of a step."""
    if not step.low:
        return conditioned(x, added, *parameters)
    low = None if added is None else added.bfloat16()
    return conditioned(x.bfloat16(), low, *parameters).to(x.dtype)


def conditioned(x: Tensor, added: Tensor | None, *parameters: Any) -> Tensor:
    """What a `GlowNet` with these parameters makes of x, and of what its context adds."""

    def layer(x: Tensor, *layer: Any) -> Tensor:
        return convolve(x, *(part.to(x.dtype) for part in scaled(*layer, *x.shape[2:])))

    h = layer(x, *parameters[:4])
    h = layer(
        (h if added is None else h + as_map(added)).relu(), parameters[4], None, *parameters[5:7]
    )
    *_, edge, _, _ = parameters
    return layer(
        h.relu() if edge is not None else h.relu().to(parameters[7].dtype), *parameters[7:]
    )


def as_map(added: Tensor) -> Tensor:
    """(N, width) or (N, H, W, width) as (N, width, 1 or H, 1 or W)."""
    return added[:, :, None, None] if added.dim() == 2 else added.movedim(-1, 1)


class HalfSizeNet(PrecisionNet):
    """squeeze → conv3x3 → actnorm → ReLU → conv3x3 → actnorm → ReLU: context for couplings.

    Describes an image at half its resolution. Shapes: (N, C, H, W) to (N, features, H/2, W/2); H
    and W even. Nothing in it starts as zero, since what takes the features does: two zeros in a
    row would never learn. Cost: 9·features·(4C + features) multiplications an output pixel, done
    in `precision`.
    """

    def __init__(self, in_channels: int, features: int, precision: str = "float32") -> None:
        super().__init__(precision)
        self.first = ActnormConv2d(4 * in_channels, features, kernel=3)
        self.second = ActnormConv2d(features, features, kernel=3)

    def forward(self, image: Tensor) -> Tensor:
        dtype = image.dtype if self.dtype == torch.float32 else self.dtype
        with torch.autocast(image.device.type, enabled=False):
            h = self.first(F.pixel_unshuffle(image, 2).to(dtype)).relu_()
            return self.second(h).relu_().to(image.dtype)
