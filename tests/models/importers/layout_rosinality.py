"""rosinality/glow-pytorch's layout: a random checkpoint, and its likelihood written out plainly."""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.importers.plain import (
    Draw,
    Tensors,
    conv,
    couple,
    log_likelihood,
    log_normal,
    lu_matrix,
    mix,
)

L, K, WIDTH = 2, 3, 8


def checkpoint(affine: bool = True, lu: str = "all", wrapped: bool = True) -> Tensors:
    """For 3x8x8 images; every tensor random, none trivial.

    `lu` is "all", or "last": --no_lu leaves the last block factored.
    """
    draw = Draw()
    d: Tensors = {}
    for level in range(L):
        c = 12 * 2**level
        for k in range(K):
            at = f"blocks.{level}.flows.{k}"
            d[f"{at}.actnorm.loc"] = draw.normal(1, c, 1, 1)
            d[f"{at}.actnorm.scale"] = draw.signs(1, c, 1, 1) * draw.normal(1, c, 1, 1).exp()
            d[f"{at}.actnorm.initialized"] = torch.tensor(1, dtype=torch.uint8)
            if lu == "all" or level == L - 1:
                d[f"{at}.invconv.w_l"] = draw.normal(c, c)
                d[f"{at}.invconv.w_u"] = draw.normal(c, c)
                d[f"{at}.invconv.w_s"] = draw.normal(c)
                d[f"{at}.invconv.w_p"] = draw.permutation(c)
                d[f"{at}.invconv.s_sign"] = draw.signs(c)
                d[f"{at}.invconv.u_mask"] = torch.ones(c, c).double().triu(1)
                d[f"{at}.invconv.l_mask"] = torch.ones(c, c).double().tril(-1)
                d[f"{at}.invconv.l_eye"] = torch.eye(c).double()
            else:
                d[f"{at}.invconv.weight"] = draw.matrix(c)[:, :, None, None]
            d[f"{at}.coupling.net.0.weight"] = draw.normal(WIDTH, c // 2, 3, 3)
            d[f"{at}.coupling.net.0.bias"] = draw.normal(WIDTH)
            d[f"{at}.coupling.net.2.weight"] = draw.normal(WIDTH, WIDTH, 1, 1, std=0.3)
            d[f"{at}.coupling.net.2.bias"] = draw.normal(WIDTH)
            zero_conv(d, draw, f"{at}.coupling.net.4", WIDTH, c if affine else c // 2)
        inside, out = (c // 2, c) if level < L - 1 else (c, 2 * c)
        zero_conv(d, draw, f"blocks.{level}.prior", inside, out)
    return {f"module.{name}": t for name, t in d.items()} if wrapped else d


def zero_conv(d: Tensors, draw: Draw, at: str, inside: int, out: int) -> None:
    d[f"{at}.conv.weight"] = draw.normal(out, inside, 3, 3)
    d[f"{at}.conv.bias"] = draw.normal(out)
    d[f"{at}.scale"] = draw.normal(1, out, 1, 1)


def likelihood(d: Tensors, images: Tensor, pixel_levels: int) -> Tensor:
    d = {name.removeprefix("module."): t.double() for name, t in d.items()}

    def scaled(x: Tensor, at: str) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1), value=1.0)
        y = F.conv2d(x, d[f"{at}.conv.weight"], d[f"{at}.conv.bias"])
        return y * torch.exp(3 * d[f"{at}.scale"])

    def matrix(at: str) -> Tensor:
        if f"{at}.weight" in d:
            return d[f"{at}.weight"][:, :, 0, 0]
        return lu_matrix(*(d[f"{at}.{part}"] for part in ("w_p", "w_l", "w_u", "w_s", "s_sign")))

    def step(z: Tensor, level: int, k: int) -> tuple[Tensor, Tensor]:
        at = f"blocks.{level}.flows.{k}"
        pixels = z.shape[2] * z.shape[3]
        scale = d[f"{at}.actnorm.scale"]
        z, ladj = scale * (z + d[f"{at}.actnorm.loc"]), pixels * scale.abs().log().sum()
        z, more = mix(z, matrix(f"{at}.invconv"))
        z1, z2 = z.chunk(2, dim=1)
        net = f"{at}.coupling.net"
        h = F.relu(conv(z1, d[f"{net}.0.weight"], d[f"{net}.0.bias"]))
        h = F.relu(conv(h, d[f"{net}.2.weight"], d[f"{net}.2.bias"]))
        z2, last = couple(z2, scaled(h, f"{net}.4"), "scale, shift, in halves")
        return torch.cat([z1, z2], dim=1), ladj + more + last

    def split_prior(z1: Tensor, z2: Tensor, level: int) -> Tensor:
        return log_normal(z2, *scaled(z1, f"blocks.{level}.prior").chunk(2, dim=1))

    def top_prior(z: Tensor) -> Tensor:
        h = scaled(torch.zeros_like(z), f"blocks.{L - 1}.prior")
        return log_normal(z, *h.chunk(2, dim=1))

    return log_likelihood(images, pixel_levels, L, K, step, split_prior, top_prior)
