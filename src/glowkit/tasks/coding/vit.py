"""Jet's transformers, exact; see `exact`. Their tokens are the cells of an image here too."""

import numpy as np
import torch
from torch import Tensor, nn

from glowkit.nets import TransformerLayer, ViT
from glowkit.tasks.coding.exact import STEP, Convolution, Net, activations, exact, net_of
from glowkit.tasks.coding.functions import gelu
from glowkit.tasks.coding.gated import attended
from glowkit.tasks.coding.grid import Book, numbers


def everywhere(layer: nn.Linear, book: Book) -> Convolution:
    """A linear map of the channels of every cell."""
    weight = numbers(layer.weight)[:, :, None, None]
    bias = np.zeros(len(weight)) if layer.bias is None else numbers(layer.bias)
    return Convolution(book, weight, bias)


@exact(TransformerLayer)
def _layer(layer: TransformerLayer, book: Book) -> Net:
    """Of activations (N, C, H, W), whose cells see each other."""
    norms = net_of(layer.before_attention, book), net_of(layer.before_mlp, book)
    parts = layer.qkv, layer.mix, layer.up, layer.down
    qkv, mix, up, down = (everywhere(part, book) for part in parts)
    heads = layer.heads
    book.note("heads", [heads])

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        seen = attended(activations(qkv(activations(norms[0](a, None)))), heads)
        a = activations(a * STEP + mix(seen))
        hidden = torch.from_numpy(gelu(up(activations(norms[1](a, None))).numpy()))
        return a * STEP + down(activations(hidden))

    return run


@exact(ViT)
def _vit(net: ViT, book: Book) -> Net:
    entry, leave = everywhere(net.entry, book), everywhere(net.leave, book)
    layers = [net_of(layer, book) for layer in net.layers]
    norm, position = net_of(net.norm, book), numbers(net.position)[0].T
    book.note("positions", position)
    places = torch.from_numpy(np.ascontiguousarray(position))
    seen = None if net.context is None else everywhere(net.context, book)

    def run(a: Tensor, context: Tensor | None) -> Tensor:
        h = entry(a) + places.unflatten(1, a.shape[2:])
        if seen is not None:
            assert context is not None
            h = h + seen(context[:, :, None, None])
        for layer in layers:
            h = layer(activations(h), None)
        return leave(activations(norm(activations(h), None)))

    return run
