"""A Glow's weights in our parametrisation, before there is a model to put them in."""

from dataclasses import dataclass

import torch
from torch import Tensor

from glowkit.core import GlowkitError


@dataclass(frozen=True)
class Scaled:
    """A convolution or linear map y = (W * x + b) · exp(3 · logs); 3x3 ones have an edge channel.

    Fields as in `glowkit.nets.ScaledConv2d` and `ZeroLinear`.
    """

    weight: Tensor
    bias: Tensor
    logs: Tensor
    edge: Tensor | None = None

    def state(self) -> dict[str, Tensor]:
        """Its state dict."""
        state = {"weight": self.weight, "bias": self.bias, "logs": self.logs}
        return state if self.edge is None else {**state, "edge": self.edge}


@dataclass(frozen=True)
class Factors:
    """W = P · L · U; L unit lower triangular, U with the diagonal signs · exp(log_s).

    `lower` and `upper` may hold anything in the entries that the factorisation masks: checkpoints
    store the whole squares, and what stands outside the triangles was never trained.
    """

    permutation: Tensor
    lower: Tensor
    upper: Tensor
    log_s: Tensor
    signs: Tensor

    def matrix(self) -> Tensor:
        """The product W, (C, C)."""
        lower = self.lower.tril(-1) + torch.eye(len(self.lower), dtype=self.lower.dtype)
        upper = self.upper.triu(1) + (self.signs * self.log_s.exp()).diag()
        return self.permutation @ lower @ upper

    def packed(self) -> Tensor:
        """The three factors in one matrix, as `glowkit.bijections.LUMatrix` packs them."""
        return self.lower.tril(-1) + self.upper.triu(1) + self.log_s.diag()

    def check(self, where: str) -> "Factors":
        """Itself, if the permutation is one and every sign is 1 or −1.

        Raises:
            GlowkitError: otherwise: the matrix would be singular.
        """
        p = self.permutation
        eye = torch.eye(len(p), dtype=p.dtype)
        if not (torch.equal(p @ p.T, eye) and bool(((p == 0) | (p == 1)).all())):
            raise GlowkitError(f"{where} is factored without a permutation; the file is damaged")
        if not bool((self.signs.abs() == 1).all()):
            raise GlowkitError(f"{where} has a sign that is neither 1 nor -1; the file is damaged")
        return self


@dataclass(frozen=True)
class Indices:
    """A fixed permutation y[:, i] = x[:, indices[i]]."""

    indices: Tensor


@dataclass(frozen=True)
class Step:
    """Actnorm (bias, logs); the mix of the channels, None for a reversal; the conditioner.

    entry: scale and bias of a preactivation, gain: of a tanh-affine coupling, where there is one.
    """

    bias: Tensor
    logs: Tensor
    mix: Tensor | Factors | Indices | None
    net: tuple[Scaled, Scaled, Scaled]
    entry: tuple[Tensor, Tensor] | None = None
    gain: Tensor | None = None


@dataclass(frozen=True)
class Level:
    """The steps of one scale, and the prior of what leaves after it (None at the top)."""

    steps: list[Step]
    prior: Scaled | None


@dataclass(frozen=True)
class Weights:
    """All of a Glow; `sides` are the image's height and width where the file determines them.

    kept_half, preprocessing: as in `GlowConfig`, for all of a format alike.
    """

    levels: list[Level]
    top: Scaled | None = None
    embedding: Scaled | None = None
    classifier: Scaled | None = None
    sides: tuple[int, int] | None = None
    kept_half: str = "first"
    preprocessing: str = "centre"


def no_edge(out: int) -> Tensor:
    """The edge weights of a 3x3 convolution that pads with zeros alone."""
    return torch.zeros(out, 3, 3, dtype=torch.float64)


def interleave(even: Tensor, odd: Tensor) -> Tensor:
    """Join two tensors along their first axis, taking turns: even[0], odd[0], even[1], ..."""
    return torch.stack([even, odd], dim=1).flatten(0, 1)
