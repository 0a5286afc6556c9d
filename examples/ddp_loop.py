"""A loop of one's own on several processes: the model itself in DistributedDataParallel.

torchrun --nproc-per-node 2 examples/ddp_loop.py
"""

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import glowkit
from glowkit.data import open_source

BATCH = 64


def train(steps: int) -> glowkit.Density:
    """Train on digits; each process takes its share of every batch."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    images, _ = open_source("digits").splits["train"].__getitems__(slice(None))
    torch.manual_seed(0)  # the same weights everywhere
    model = glowkit.build("glow-tiny")
    glowkit.initialize(model, images[:256])  # before it is wrapped, from the same images everywhere
    shared = DistributedDataParallel(model.train())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    torch.manual_seed(1 + rank)  # other dequantization noise for other images
    order = torch.Generator().manual_seed(0)
    for step in range(steps):
        batch = torch.randperm(len(images), generator=order)[:BATCH]
        loss = -shared(images[batch[rank::ranks]]).mean()  # model(x) is model.log_prob(x)
        optimizer.zero_grad()
        loss.backward()  # averages the gradients of all processes
        torch.nn.utils.clip_grad_norm_(model.parameters(), 50.0)
        optimizer.step()
        if rank == 0 and step % 10 == 0:
            print(f"step {step}: {loss.item():.2f} nats an image")
    return model.eval()


if __name__ == "__main__":
    dist.init_process_group("gloo")
    trained = train(steps=100)
    if dist.get_rank() == 0:
        glowkit.save(trained, "ddp-digits")
    dist.destroy_process_group()
