"""Elementwise maps without a conditioner."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glowkit.core import Bijection, constant_ladj, sum_per_example
from glowkit.core.initialization import SCALE_FLOOR


class Shift(Bijection):
    """Add a constant: y = x + c; inverse x = y − c; ladj = 0. Any shape.

    >>> Shift(-0.5)(torch.tensor([[0.5]]))[0].item()
    0.0
    """

    reads_context = False

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x + self.amount, constant_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y - self.amount, constant_ladj(y)

    def extra_repr(self) -> str:
        return f"{self.amount}"


class Scale(Bijection):
    """Multiply by a constant: y = c · x; inverse x = y / c; ladj = D ln c, D numbers each. c > 0.

    >>> Scale(2.0)(torch.tensor([[0.5, 1.0]]))
    (tensor([[1., 2.]]), tensor([1.3863]))
    """

    reads_context = False

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.factor, constant_ladj(x, x[0].numel() * math.log(self.factor))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y / self.factor, constant_ladj(y, -y[0].numel() * math.log(self.factor))

    def extra_repr(self) -> str:
        return f"{self.factor}"


class Box(Bijection):
    """Map a box onto the unit cube: y = (x − a) / (b − a).

    inverse: x = a + (b − a) y, within the box whatever the rounding; ladj = −Σ ln (b − a). Shapes:
    (N, D), with a and b tensors of D numbers, kept as buffers: of an integral they are its bounds.

    >>> Box(torch.tensor([-1.0]), torch.tensor([3.0]))(torch.tensor([[0.0]]))[0].item()
    0.25
    """

    reads_context = False

    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x - self.low) / (self.high - self.low), constant_ladj(x, -self._log_volume())

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # What is outside of the cube stays outside of the box.
        x = self.low + (self.high - self.low) * y
        x = torch.where(y <= 1, torch.minimum(x, self.high), x)
        return x, constant_ladj(y, self._log_volume())

    def _log_volume(self) -> Tensor:
        return (self.high - self.low).log().sum()


class ElementwiseScale(Bijection):
    """A learned scaling of every dimension: y = exp(log_scale) · x.

    inverse: x = y · exp(−log_scale); ladj = Σ log_scale. Shapes: (N, *shape). Source: NICE,
    section 3.3, the diagonal matrix S that ends the flow.

    `glowkit.initialize` gives every dimension variance 1, with the deviation floored at 1e-4; the
    paper starts at log_scale = 0, where a layer that was not initialised is too. An optimiser
    whose steps are of one size, such as Adam, would need thousands of them to the scale of a pixel
    that hardly varies.

    >>> ElementwiseScale((2,))(torch.tensor([[3.0, 4.0]]))[0].tolist()
    [[3.0, 4.0]]
    """

    reads_context = False

    initialized: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(shape))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        std = x.std(0, correction=0).clamp_min(SCALE_FLOOR)
        self.log_scale.copy_(-std.log())
        self.initialized.fill_(True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp(), constant_ladj(x, self.log_scale.sum())

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y * (-self.log_scale).exp(), constant_ladj(y, -self.log_scale.sum())

    def extra_repr(self) -> str:
        return f"{tuple(self.log_scale.shape)}"


class ElementwiseAffine(Bijection):
    """A learned affine map of every dimension: y = exp(log_scale) · x + shift.

    inverse: x = (y − shift) · exp(−log_scale); ladj = Σ log_scale. Shapes: (N, *shape).
    `ElementwiseScale` is the same without the shift.
    """

    reads_context = False

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(shape))
        self.shift = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp() + self.shift, constant_ladj(x, self.log_scale.sum())

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = (y - self.shift) * (-self.log_scale).exp()
        return x, constant_ladj(y, -self.log_scale.sum())

    def extra_repr(self) -> str:
        return f"{tuple(self.log_scale.shape)}"


class Logit(Bijection):
    """Spread the unit interval over the real line: p = α + (1 − 2α) x, y = ln p − ln(1 − p).

    inverse: x = (σ(y) − α) / (1 − 2α); ladj = Σ [sp(y) + sp(−y) + ln(1 − 2α)] with sp the
    softplus. Shapes: any; x in [0, 1]. Both bounds are undone exactly, so that samples keep their
    contrast. Source: RealNVP, section 4.1, with 1 − 2α as the reference code has it.

    >>> y, ladj = Logit(0.05)(torch.tensor([[0.5]]))
    >>> y.item(), round(ladj.item(), 4)
    (0.0, 1.2809)
    """

    reads_context = False

    def __init__(self, alpha: float = 0.05) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y = _logit(self.alpha + (1 - 2 * self.alpha) * x)
        return y, self._ladj(y)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (torch.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha), -self._ladj(y)

    def _ladj(self, y: Tensor) -> Tensor:
        return sum_per_example(F.softplus(y) + F.softplus(-y) + math.log(1 - 2 * self.alpha))

    def extra_repr(self) -> str:
        return f"alpha {self.alpha}"


class Sigmoid(Bijection):
    """Squash the real line into the unit interval, short of its ends: y = m + (1 − 2m) σ(x).

    inverse: x = ln p − ln(1 − p) with p = (y − m) / (1 − 2m); ladj = Σ [ln(1 − 2m) − sp(x) −
    sp(−x)]. Shapes: any. In float32 σ(x) is exactly 1 from x = 16.7 on, so the inverse keeps p one
    rounding from 0 and 1: it is always finite, and exact up to |x| = 15.9. Source: Flow++, section
    3.1; the margin m is ours, and `Logit(0)` is the inverse where it is 0.

    >>> y, ladj = Sigmoid(0.01)(torch.tensor([[0.0, 100.0]]))
    >>> [round(value, 4) for value in y[0].tolist()]
    [0.5, 0.99]
    """

    reads_context = False

    def __init__(self, margin: float = 0.0) -> None:
        super().__init__()
        if not 0 <= margin < 0.5:
            raise ValueError(f"the margin of a sigmoid must be from 0 to below 1/2, not {margin}")
        self.margin = margin

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.margin + (1 - 2 * self.margin) * torch.sigmoid(x), self._ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        p = (y - self.margin) / (1 - 2 * self.margin)
        rounding = torch.finfo(y.dtype).eps
        x = _logit(p.clamp(rounding, 1 - rounding))
        return x, -self._ladj(x)

    def _ladj(self, x: Tensor) -> Tensor:
        return sum_per_example(math.log(1 - 2 * self.margin) - F.softplus(x) - F.softplus(-x))

    def extra_repr(self) -> str:
        return f"margin {self.margin:.2g}"


def _logit(p: Tensor) -> Tensor:
    """ln p − ln(1 − p); torch's own function cannot be differentiated forward twice."""
    return p.log() - (-p).log1p()


SMALLEST_GAIN = 1e-10


EPSILON = 1e-8


class ElementwiseNorm(Bijection):
    """Scale and shift every dimension: y = max(g, 1e-10) · x + b.

    inverse: x = (y − b) / max(g, 1e-10); ladj = Σ ln max(g, 1e-10). Shapes: (N, *shape), and g and
    b are of that shape. `glowkit.initialize` gives every dimension mean 0 and variance 1 over the
    batch: g = 1 / √(v + 1e-8), b = −μ g; without it the layer is the identity. Cost: one pass.
    Source: aravindsrinivas/flowpp, `Norm`.

    >>> layer = ElementwiseNorm((1,))
    >>> layer.initialize_from(torch.tensor([[1.0], [3.0]]))
    >>> layer(torch.tensor([[1.0], [3.0]]))[0].tolist()
    [[-1.0], [1.0]]
    """

    reads_context = False

    initialized: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize_from(self, x: Tensor, *_: Tensor) -> None:
        variance, mean = torch.var_mean(x, dim=0, correction=0)
        self.gain.copy_((variance + EPSILON).rsqrt())
        self.bias.copy_(-mean * self.gain)
        self.initialized.fill_(True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        gain = self.gain.clamp_min(SMALLEST_GAIN)
        return torch.addcmul(self.bias, x, gain), constant_ladj(x, gain.log().sum())

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        gain = self.gain.clamp_min(SMALLEST_GAIN)
        return (y - self.bias) / gain, constant_ladj(y, -gain.log().sum())

    def extra_repr(self) -> str:
        return f"{tuple(self.gain.shape)}"
