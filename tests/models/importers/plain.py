"""Glow's likelihood written out in functional torch: what the importers' results must equal.

Nothing here comes from glowkit. What all layouts share stands in this file; each test module holds
its own layout's steps and priors, from §1 and §6 of the reference models' specification.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Tensors = dict[str, Tensor]
Step = Callable[[Tensor, int, int], tuple[Tensor, Tensor]]
Prior = Callable[[Tensor, Tensor, int], Tensor]


def squeeze(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    x = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4)
    return x.reshape(n, 4 * c, h // 2, w // 2)


def log_normal(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    each = math.log(2 * math.pi) + 2 * log_std + (z - mean) ** 2 / torch.exp(2 * log_std)
    return -0.5 * each.flatten(1).sum(1)


def log_likelihood(
    images: Tensor,
    pixel_levels: int,
    levels: int,
    steps: int,
    step: Step,
    split_prior: Prior,
    top_prior: Callable[[Tensor], Tensor],
) -> Tensor:
    """log P of integer images with every pixel in the middle of its bin, in nats, (N,)."""
    z = (images.double() + 0.5) / pixel_levels - 0.5
    total = torch.zeros(len(z)).double() - images[0].numel() * math.log(pixel_levels)
    for level in range(levels):
        z = squeeze(z)
        for k in range(steps):
            z, ladj = step(z, level, k)
            total = total + ladj
        if level < levels - 1:
            z, out = z.chunk(2, dim=1)
            total = total + split_prior(z, out, level)
    return total + top_prior(z)


def couple(z2: Tensor, h: Tensor, order: str) -> tuple[Tensor, Tensor]:
    """Add, or (z + shift)·σ(r + 2), with the two kinds of channels in this order."""
    if h.shape == z2.shape:
        return z2 + h, torch.zeros(len(z2)).double()
    if order == "shift, scale, taking turns":
        shift, raw = h[:, 0::2], h[:, 1::2]
    else:
        raw, shift = h.chunk(2, dim=1)
    scale = torch.sigmoid(raw + 2)
    return (z2 + shift) * scale, scale.log().flatten(1).sum(1)


def mix(z: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    pixels = z.shape[2] * z.shape[3]
    y = torch.einsum("ij,njhw->nihw", matrix, z)
    return y, pixels * torch.linalg.slogdet(matrix)[1].expand(len(z))


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


class Draw:
    """Random tensors, in double, that keep activations of order one."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, std: float = 0.1) -> Tensor:
        return std * torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def matrix(self, size: int) -> Tensor:
        """Invertible, and far from orthogonal."""
        return torch.linalg.qr(self.normal(size, size, std=1.0))[0] + self.normal(size, size)

    def signs(self, *shape: int) -> Tensor:
        return torch.randint(0, 2, shape, generator=self.generator).double() * 2 - 1

    def permutation(self, size: int) -> Tensor:
        return torch.eye(size).double()[torch.randperm(size, generator=self.generator)]

    def images(self, shape: tuple[int, int, int], levels: int, n: int = 3) -> Tensor:
        return torch.randint(0, levels, (n, *shape), generator=self.generator, dtype=torch.uint8)


def lu_matrix(p: Tensor, lower: Tensor, upper: Tensor, log_s: Tensor, signs: Tensor) -> Tensor:
    """P·L·U, with whatever noise stands in the masked entries masked out."""
    size = len(p)
    strictly_lower = torch.ones(size, size).double().tril(-1)
    left = lower * strictly_lower + torch.eye(size).double()
    right = upper * strictly_lower.T + torch.diag(signs * torch.exp(log_s))
    return p @ left @ right
