"""y0ast/Glow-PyTorch's layout: a random checkpoint, and its likelihood written out plainly."""

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


def checkpoint(
    affine: bool = True, lu: bool = True, learn_top: bool = True, classes: int = 0
) -> Tensors:
    """For 3x8x8 images; every tensor random, none trivial."""
    draw = Draw()
    d: Tensors = {}
    for level in range(L):
        c, start = 12 * 2**level, level * (K + 2)
        for k in range(K):
            at = f"flow.layers.{start + 1 + k}"
            d[f"{at}.actnorm.bias"] = draw.normal(1, c, 1, 1)
            d[f"{at}.actnorm.logs"] = draw.normal(1, c, 1, 1)
            if lu:
                d[f"{at}.invconv.lower"] = draw.normal(c, c)
                d[f"{at}.invconv.upper"] = draw.normal(c, c)
                d[f"{at}.invconv.log_s"] = draw.normal(c)
                d[f"{at}.invconv.p"] = draw.permutation(c)
                d[f"{at}.invconv.sign_s"] = draw.signs(c)
            else:
                d[f"{at}.invconv.weight"] = draw.matrix(c)
            d[f"{at}.block.0.conv.weight"] = draw.normal(WIDTH, c // 2, 3, 3)
            d[f"{at}.block.2.conv.weight"] = draw.normal(WIDTH, WIDTH, 1, 1, std=0.3)
            for block in (0, 2):
                d[f"{at}.block.{block}.actnorm.bias"] = draw.normal(1, WIDTH, 1, 1)
                d[f"{at}.block.{block}.actnorm.logs"] = draw.normal(1, WIDTH, 1, 1)
            out = c if affine else c // 2
            zero_conv(d, draw, f"{at}.block.4", WIDTH, out)
        if level < L - 1:
            zero_conv(d, draw, f"flow.layers.{start + K + 1}.conv", c // 2, c)
    d["prior_h"] = torch.zeros(1, 2 * c, 2, 2).double()
    if learn_top:
        zero_conv(d, draw, "learn_top_fn", 2 * c, 2 * c)
    if classes:
        linear(d, draw, "project_ycond", classes, 2 * c)
        linear(d, draw, "project_class", c, classes)
    return d


def zero_conv(d: Tensors, draw: Draw, at: str, inside: int, out: int) -> None:
    d[f"{at}.conv.weight"] = draw.normal(out, inside, 3, 3)
    d[f"{at}.conv.bias"] = draw.normal(out)
    d[f"{at}.logs"] = draw.normal(out, 1, 1)


def linear(d: Tensors, draw: Draw, at: str, inside: int, out: int) -> None:
    d[f"{at}.linear.weight"] = draw.normal(out, inside)
    d[f"{at}.linear.bias"] = draw.normal(out)
    d[f"{at}.logs"] = draw.normal(out)


def likelihood(
    d: Tensors, images: Tensor, pixel_levels: int, labels: Tensor | None = None
) -> Tensor:
    d = {name: t.double() for name, t in d.items()}

    def actnorm(x: Tensor, at: str) -> Tensor:
        return (x + d[f"{at}.actnorm.bias"]) * torch.exp(d[f"{at}.actnorm.logs"])

    def scaled(x: Tensor, at: str) -> Tensor:
        return conv(x, d[f"{at}.conv.weight"], d[f"{at}.conv.bias"]) * torch.exp(
            3 * d[f"{at}.logs"]
        )

    def matrix(at: str) -> Tensor:
        if f"{at}.weight" in d:
            return d[f"{at}.weight"]
        return lu_matrix(
            *(d[f"{at}.{part}"] for part in ("p", "lower", "upper", "log_s", "sign_s"))
        )

    def step(z: Tensor, level: int, k: int) -> tuple[Tensor, Tensor]:
        at = f"flow.layers.{level * (K + 2) + 1 + k}"
        pixels = z.shape[2] * z.shape[3]
        z, ladj = actnorm(z, at), pixels * d[f"{at}.actnorm.logs"].sum()
        z, more = mix(z, matrix(f"{at}.invconv"))
        z1, z2 = z.chunk(2, dim=1)
        h = F.relu(actnorm(conv(z1, d[f"{at}.block.0.conv.weight"]), f"{at}.block.0"))
        h = F.relu(actnorm(conv(h, d[f"{at}.block.2.conv.weight"]), f"{at}.block.2"))
        z2, last = couple(z2, scaled(h, f"{at}.block.4"), "shift, scale, taking turns")
        return torch.cat([z1, z2], dim=1), ladj + more + last

    def split_prior(z1: Tensor, z2: Tensor, level: int) -> Tensor:
        h = scaled(z1, f"flow.layers.{level * (K + 2) + K + 1}.conv")
        return log_normal(z2, h[:, 0::2], h[:, 1::2])

    def top_prior(z: Tensor) -> Tensor:
        h = d["prior_h"].expand(len(z), -1, -1, -1)
        if "learn_top_fn.logs" in d:
            h = scaled(h, "learn_top_fn")
        if labels is not None:
            hot = F.one_hot(labels, d["project_ycond.linear.weight"].shape[1]).double()
            y = F.linear(hot, d["project_ycond.linear.weight"], d["project_ycond.linear.bias"])
            h = h + (y * torch.exp(3 * d["project_ycond.logs"]))[:, :, None, None]
        return log_normal(z, *h.chunk(2, dim=1))

    return log_likelihood(images, pixel_levels, L, K, step, split_prior, top_prior)
