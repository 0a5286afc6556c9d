"""Glow's conditioner."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.nets.convolution import ActnormConv2d, ZeroConv2d
from glowkit.nets.fused import Dtypes, ThreeConvolutions
from glowkit.nets.keeping import Keeping
from glowkit.nets.packed import Packed, three_packed
from glowkit.nets.precision import PrecisionNet, computing_in
from glowkit.nets.scaled import Scaled


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


class GlowNet(Keeping, PrecisionNet):
    """conv3x3 → actnorm → ReLU → conv1x1 → actnorm → ReLU → zero conv3x3.

    Shapes: (N, in_channels, H, W) to (N, out_channels, H, W). A context of `context_features`
    numbers an example, (N, features), or a map of them, (N, features, H, W), is added before the
    first ReLU through a 1x1 convolution that starts as zero. Cost: 9·C_in·w + w² + 9·w·C_out
    multiplications a pixel, done in `precision`; a `last_kernel` of 1 spares the second 9, which
    counts where a transformer takes many parameters, and then runs in the flow's dtype, since
    narrow mixtures feel rounded parameters. An `entry`, such as `Preactivation`, comes
    before the first convolution. Source: Glow, appendix B, and openai/glow `model.f`; the context
    and the 1x1 last convolution are ours.

    On a CPU, evaluation without gradients keeps its scaled weights from one call to the next
    (`Keeping`), which takes their memory once more, and differs from that with gradients by
    rounding.
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
        added = self._added(context)
        x = self.entry(x)
        if not (self.first.ready() and self.second.ready()):
            return self._apart(x, added)
        dtypes = self._dtypes(x)
        if self.keeps() and x.is_cpu:  # Elsewhere the look at the weights would stall the device.
            height, width = x.shape[2:]
            packed = self.kept(
                (dtypes, height, width),
                lambda: [
                    Packed.of(layer, dtype, (height, width))
                    for layer, dtype in zip(self._layers(), dtypes, strict=True)
                ],
            )
            return three_packed(x, added, packed)
        parameters = (tensor for layer in self._layers() for tensor in layer)
        return ThreeConvolutions.of(dtypes, x, added, *parameters)

    def _layers(self) -> list[Scaled]:
        return [layer.parameters_here() for layer in (self.first, self.second, self.last)]

    def _dtypes(self, x: Tensor) -> Dtypes:
        """Of each convolution; a 1x1 last one is cheap, and leaves its output unrounded."""
        dtype = x.dtype if self.dtype == torch.float32 else self.dtype
        return dtype, dtype, x.dtype if self.last.edge is None else dtype

    def _added(self, context: Tensor | None) -> Tensor | None:
        if self.context is None:
            return None
        if context is None:
            raise ValueError("this conditioner needs a context and got none")
        with computing_in(self.dtype, context.device):
            context = context if context.dim() == 4 else context[:, :, None, None]
            # A product of pixels rather than a convolution, whose gradient has strides of its own.
            added = F.linear(context.movedim(1, -1), self.context.weight.flatten(1))
            return added.movedim(-1, 1)

    def _apart(self, x: Tensor, added: Tensor | None) -> Tensor:
        """Layer by layer, so that each is initialised from what the one before makes."""
        h = self.first(x)
        h = self.second(F.relu(h if added is None else h + added))
        return self.last(F.relu(h))
