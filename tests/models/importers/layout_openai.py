"""openai/glow's layout: random variables in TensorFlow's shapes, and its likelihood, plainly."""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.importers.plain import Draw, Tensors, couple, log_likelihood, log_normal, lu_matrix, mix

L, K, WIDTH = 2, 3, 8


def checkpoint(
    affine: bool = True,
    permutation: str = "plain",
    learn_top: bool = True,
    classes: int = 0,
    classifier: bool = True,
) -> Tensors:
    """For 3x8x8 images; every variable random, none trivial."""
    draw = Draw()
    d: Tensors = {}
    for level in range(L):
        c = 12 * 2**level
        for k in range(K):
            at = f"model/{level}/{k}"
            actnorm(d, draw, at, c)
            if permutation == "plain":
                d[f"{at}/invconv/W"] = draw.matrix(c)
            if permutation == "lu":
                d[f"{at}/invconv/P"] = draw.permutation(c)
                d[f"{at}/invconv/L"] = draw.normal(c, c)
                d[f"{at}/invconv/U"] = draw.normal(c, c)
                d[f"{at}/invconv/sign_S"] = draw.signs(c)
                d[f"{at}/invconv/log_S"] = draw.normal(c)
            if permutation == "shuffle":
                indices = draw.permutation(c).argmax(1)
                d[f"{at}/shuffle/indices"] = indices.int()
                d[f"{at}/shuffle/indices_inverse"] = indices.argsort().int()
            d[f"{at}/f1/l_1/W"] = draw.normal(3, 3, c // 2 + 1, WIDTH)
            actnorm(d, draw, f"{at}/f1/l_1", WIDTH)
            d[f"{at}/f1/l_2/W"] = draw.normal(1, 1, WIDTH, WIDTH, std=0.3)
            actnorm(d, draw, f"{at}/f1/l_2", WIDTH)
            zero_conv(d, draw, f"{at}/f1/l_last", WIDTH, c if affine else c // 2)
        if level < L - 1:
            zero_conv(d, draw, f"model/pool{level}/conv", c // 2, c)
    if learn_top:
        zero_conv(d, draw, "model/prior/p", 2 * c, 2 * c)
    if classes:
        linear(d, draw, "model/prior/y_emb", classes, 2 * c)
        if classifier:
            linear(d, draw, "model/classifier", c, classes)
    d["Variable"] = draw.normal(3)
    d["Variable_17"] = torch.tensor(4)
    d["model/0/0/f1/l_1/W/ExponentialMovingAverage"] = d["model/0/0/f1/l_1/W"] + 1
    return d


def actnorm(d: Tensors, draw: Draw, at: str, c: int) -> None:
    d[f"{at}/actnorm_center/b"] = draw.normal(1, 1, 1, c)
    d[f"{at}/actnorm_scale/logs"] = draw.normal(1, 1, 1, c, std=0.05)


def zero_conv(d: Tensors, draw: Draw, at: str, inside: int, out: int) -> None:
    d[f"{at}/W"] = draw.normal(3, 3, inside + 1, out)
    d[f"{at}/b"] = draw.normal(1, 1, 1, out)
    d[f"{at}/logs"] = draw.normal(1, out)


def linear(d: Tensors, draw: Draw, at: str, inside: int, out: int) -> None:
    d[f"{at}/W"] = draw.normal(inside, out)
    d[f"{at}/b"] = draw.normal(1, out)
    d[f"{at}/logs"] = draw.normal(1, out)


def embed(d: Tensors, at: str, x: Tensor) -> Tensor:
    return (x @ d[f"{at}/W"] + d[f"{at}/b"]) * torch.exp(3 * d[f"{at}/logs"])


def likelihood(
    d: Tensors, images: Tensor, pixel_levels: int, labels: Tensor | None = None
) -> Tensor:
    d = {name: t.double() if t.is_floating_point() else t for name, t in d.items()}

    def edged_conv(x: Tensor, weight: Tensor) -> Tensor:
        """Pad with zeros, append a channel that is 1 on the ring, convolve without padding."""
        x = F.pad(x, (1, 1, 1, 1))
        ring = torch.ones_like(x[:, :1])
        ring[:, :, 1:-1, 1:-1] = 0
        return F.conv2d(torch.cat([x, ring], dim=1), weight.permute(3, 2, 0, 1))

    def norm(x: Tensor, at: str) -> Tensor:
        b, logs = d[f"{at}/actnorm_center/b"], d[f"{at}/actnorm_scale/logs"]
        return (x + b.view(-1, 1, 1)) * torch.exp(3 * logs.view(-1, 1, 1))

    def scaled(x: Tensor, at: str) -> Tensor:
        y = edged_conv(x, d[f"{at}/W"]) + d[f"{at}/b"].view(-1, 1, 1)
        return y * torch.exp(3 * d[f"{at}/logs"].view(-1, 1, 1))

    def permute(z: Tensor, at: str) -> tuple[Tensor, Tensor]:
        if f"{at}/shuffle/indices" in d:
            return z[:, d[f"{at}/shuffle/indices"].long()], torch.zeros(len(z)).double()
        if f"{at}/invconv/W" in d:
            return mix(z, d[f"{at}/invconv/W"].T)  # a pixel is a row vector, times W
        if f"{at}/invconv/P" in d:
            parts = (d[f"{at}/invconv/{part}"] for part in ("P", "L", "U", "log_S", "sign_S"))
            return mix(z, lu_matrix(*parts).T)
        return z.flip(1), torch.zeros(len(z)).double()

    def step(z: Tensor, level: int, k: int) -> tuple[Tensor, Tensor]:
        at = f"model/{level}/{k}"
        pixels = z.shape[2] * z.shape[3]
        z, ladj = norm(z, at), pixels * 3 * d[f"{at}/actnorm_scale/logs"].sum()
        z, more = permute(z, at)
        z1, z2 = z.chunk(2, dim=1)
        h = F.relu(norm(edged_conv(z1, d[f"{at}/f1/l_1/W"]), f"{at}/f1/l_1"))
        h = F.conv2d(h, d[f"{at}/f1/l_2/W"].permute(3, 2, 0, 1))
        h = scaled(F.relu(norm(h, f"{at}/f1/l_2")), f"{at}/f1/l_last")
        z2, last = couple(z2, h, "shift, scale, taking turns")
        return torch.cat([z1, z2], dim=1), ladj + more + last

    def split_prior(z1: Tensor, z2: Tensor, level: int) -> Tensor:
        h = scaled(z1, f"model/pool{level}/conv")
        return log_normal(z2, h[:, 0::2], h[:, 1::2])

    def top_prior(z: Tensor) -> Tensor:
        h = torch.zeros_like(torch.cat([z, z], dim=1))
        if "model/prior/p/W" in d:
            h = scaled(h, "model/prior/p")
        if labels is not None:
            hot = F.one_hot(labels, len(d["model/prior/y_emb/W"])).double()
            h = h + embed(d, "model/prior/y_emb", hot)[:, :, None, None]
        return log_normal(z, *h.chunk(2, dim=1))

    return log_likelihood(images, pixel_levels, L, K, step, split_prior, top_prior)
