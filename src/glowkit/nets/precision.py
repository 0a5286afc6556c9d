"""Conditioners in bfloat16 inside a float32 flow."""

import torch
from torch import Tensor, nn


class Bfloat16(nn.Module):
    """Run a network in bfloat16 and hand its output back in the input's dtype.

    Only conditioners run in low precision; the flow's own arithmetic, in particular every `exp`
    and log-det, stays in float32 or wider. Parameters stay float32. Pays where the processor
    multiplies bfloat16 natively.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.net(x, context).to(x.dtype)
