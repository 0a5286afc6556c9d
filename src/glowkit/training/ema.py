"""The exponential moving average of the weights."""

from copy import deepcopy

import torch
from torch import Tensor

from glowkit.core.density import Density
from glowkit.training.config import ema_decay_at

UPDATES = "ema updates"
"""The name of their number in the state dict of averages."""


class Ema:
    """A second model whose parameters follow the trained one's; it is evaluated and saved."""

    def __init__(self, model: Density, decay: float) -> None:
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        self._followed = model
        # Listed once: walking through a deep model takes longer than the update.
        self._averages: list[Tensor] = list(self.model.parameters())
        self._weights: list[Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the model's present parameters."""
        weight = 1 - ema_decay_at(self.updates, self.decay)
        torch._foreach_lerp_(self._averages, self._weights, weight)
        self.updates += 1

    @torch.no_grad()
    def copy_buffers(self) -> None:
        """Take over what is state but not weights (running statistics, flags).

        Only saved buffers: an unsaved one may be a cache that belongs to the other's parameters.
        """
        mine = self.model.state_dict(keep_vars=True)
        for name, value in self._followed.state_dict(keep_vars=True).items():
            if not isinstance(value, torch.nn.Parameter):
                mine[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor | int]:
        return {**self.model.state_dict(), UPDATES: self.updates}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        tensors = {name: value for name, value in state.items() if name != UPDATES}
        self.model.load_state_dict(tensors)
        self.updates = int(state[UPDATES])
