"""Chain: bijections one after another, and the only place that knows how activations are kept."""

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from glowkit.core.bijection import Bijection, compose
from glowkit.core.errors import GlowkitError
from glowkit.core.memory import MEMORY_MODES, obstacle


class Chain(Bijection):
    """Apply bijections from left to right.

    forward: y = (f_n ∘ … ∘ f_1)(x); inverse: x = (f_1⁻¹ ∘ … ∘ f_n⁻¹)(y); ladj: the sum of theirs.

    Args:
        bijections: the maps, first applied first.
        memory: `"store"` keeps all activations; `"checkpoint"` keeps each bijection's input and
            recomputes the rest in the backward pass; `"reversible"` keeps the chain's output and
            rebuilds every input by inversion. See `glowkit.core.memory` for what each costs.

    Raises:
        GlowkitError: for a memory mode that does not exist.

    >>> import torch
    >>> from glowkit.bijections import Shift
    >>> y, ladj = Chain([Shift(1.0), Shift(2.0)])(torch.zeros(1, 2))
    >>> y.tolist(), ladj.tolist()
    ([[3.0, 3.0]], [0.0])
    """

    def __init__(self, bijections: Iterable[Bijection], memory: str = "store") -> None:
        super().__init__()
        if memory not in MEMORY_MODES:
            raise GlowkitError(f"memory {memory!r} is not one of {', '.join(MEMORY_MODES)}")
        self.bijections = nn.ModuleList(bijections)
        self.memory = memory

    def __iter__(self) -> Iterator[Bijection]:
        return iter(self.bijections)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.bijections)

    @property
    def reads_context(self) -> bool:
        return any(bijection.reads_context for bijection in self)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return MEMORY_MODES[self.memory](self, x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return compose([bijection.inverse for bijection in reversed(list(self))], y, context)


def fall_back(model: nn.Module) -> list[str]:
    """Set chains from "reversible" to "checkpoint" where the model's present mode needs it.

    Returns why, a sentence for each reason. Without this, a chain says so in a warning, each time.
    """
    reasons = []
    for chain in model.modules():
        if isinstance(chain, Chain) and chain.memory == "reversible":
            reason = obstacle([chain])
            if reason:
                chain.memory = "checkpoint"
                reasons.append(reason)
    return list(dict.fromkeys(reasons))
