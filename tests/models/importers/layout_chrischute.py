"""chrischute/glow's layout: a random checkpoint, and its likelihood written out plainly."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from models.importers.plain import Draw, Tensors, conv, mix, squeeze

L, K, WIDTH = 2, 3, 8


def checkpoint(wrapped: bool = True) -> Tensors:
    """For 3x8x8 images; every tensor random, none trivial. wrapped: as from DataParallel."""
    draw = Draw()
    d: Tensors = {"bounds": torch.tensor([0.9]).double()}
    for level in range(L):
        c = 12 * 2**level
        for k in range(K):
            at = f"flows.{'next.' * level}steps.{k}"
            d[f"{at}.norm.bias"] = draw.normal(1, c, 1, 1)
            d[f"{at}.norm.logs"] = draw.normal(1, c, 1, 1)
            d[f"{at}.norm.is_initialized"] = torch.ones(1).double()
            d[f"{at}.conv.weight"] = draw.matrix(c)
            d[f"{at}.coup.scale"] = draw.normal(c // 2, 1, 1, std=0.3)
            net = f"{at}.coup.nn"
            batch_norm(d, draw, f"{net}.in_norm", c // 2)
            batch_norm(d, draw, f"{net}.mid_norm", WIDTH)
            batch_norm(d, draw, f"{net}.out_norm", WIDTH)
            d[f"{net}.in_conv.weight"] = draw.normal(WIDTH, c // 2, 3, 3)
            d[f"{net}.mid_conv.weight"] = draw.normal(WIDTH, WIDTH, 1, 1, std=0.3)
            d[f"{net}.out_conv.weight"] = draw.normal(c, WIDTH, 3, 3)
            d[f"{net}.out_conv.bias"] = draw.normal(c)
    return {f"module.{name}": t for name, t in d.items()} if wrapped else d


def batch_norm(d: Tensors, draw: Draw, at: str, channels: int) -> None:
    """Scales of both signs, and variances down to where epsilon matters."""
    weight = draw.signs(channels) * (1 + draw.normal(channels))
    weight[0] *= 0.01
    d[f"{at}.weight"] = weight
    d[f"{at}.bias"] = draw.normal(channels)
    d[f"{at}.running_mean"] = draw.normal(channels)
    variance = draw.normal(channels, std=1.0).square() + 0.5
    variance[0] = 1e-4
    d[f"{at}.running_var"] = variance
    d[f"{at}.num_batches_tracked"] = torch.tensor(70)


def likelihood(d: Tensors, images: Tensor, pixel_levels: int) -> Tensor:
    d = {name.removeprefix("module."): t.double() for name, t in d.items()}
    bounds = torch.tensor(0.9, dtype=torch.float64)  # the file has it rounded to float32
    p = (images.double() + 0.5) / pixel_levels
    p = ((2 * p - 1) * bounds + 1) / 2
    y = p.log() - (1 - p).log()
    slope = F.softplus(y) + F.softplus(-y) - F.softplus((1 - bounds).log() - bounds.log())
    z, ladj = flows(d, squeeze(y), "flows.")
    log_normal = -0.5 * (z**2 + math.log(2 * math.pi)).sum(1)
    dimensions = images[0].numel()
    return log_normal + ladj + slope.flatten(1).sum(1) - dimensions * math.log(pixel_levels)


def flows(d: Tensors, x: Tensor, at: str) -> tuple[Tensor, Tensor]:
    """All latents flat, since all have the same prior, and the log-determinant."""
    total = torch.zeros(len(x)).double()
    for k in range(K):
        x, ladj = step(d, x, f"{at}steps.{k}")
        total = total + ladj
    if f"{at}next.steps.0.norm.bias" not in d:
        return x.flatten(1), total
    x, out = squeeze(x).chunk(2, dim=1)
    z, ladj = flows(d, x, f"{at}next.")
    return torch.cat([z, out.flatten(1)], dim=1), total + ladj


def step(d: Tensors, x: Tensor, at: str) -> tuple[Tensor, Tensor]:
    pixels = x.shape[2] * x.shape[3]
    x = (x + d[f"{at}.norm.bias"]) * d[f"{at}.norm.logs"].exp()
    ladj = pixels * d[f"{at}.norm.logs"].sum()
    x, more = mix(x, d[f"{at}.conv.weight"])
    change, kept = x.chunk(2, dim=1)
    h = F.relu(normed(d, kept, f"{at}.coup.nn.in_norm"))
    h = F.relu(normed(d, conv(h, d[f"{at}.coup.nn.in_conv.weight"]), f"{at}.coup.nn.mid_norm"))
    h = F.relu(normed(d, conv(h, d[f"{at}.coup.nn.mid_conv.weight"]), f"{at}.coup.nn.out_norm"))
    h = conv(h, d[f"{at}.coup.nn.out_conv.weight"], d[f"{at}.coup.nn.out_conv.bias"])
    s, t = d[f"{at}.coup.scale"] * torch.tanh(h[:, 0::2]), h[:, 1::2]
    change = (change + t) * s.exp()
    return torch.cat([change, kept], dim=1), ladj + more + s.flatten(1).sum(1)


def normed(d: Tensors, x: Tensor, at: str) -> Tensor:
    """torch's batch norm in evaluation mode."""
    parts = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(d[f"{at}.{part}"] for part in parts))
