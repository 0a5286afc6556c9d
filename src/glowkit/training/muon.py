"""Muon: momentum of matrices made orthogonal; everything else goes by AdamW."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from glowkit.nets.fast import precision_nets

MOMENTUM = 0.95
STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration: steepest at zero, and singular values end within 0.7 to 1.2."""

SIZE = 0.2
"""Of an entry of AdamW's update, as a root mean square, which that of a matrix is made to have."""


def orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Nearly U Vᵀ of matrices U S Vᵀ, by five Newton-Schulz steps computed in `dtype`.

    Shapes: (..., m, n) to the same, dtype included. Cost: 15 products of matrices.

    >>> x = orthogonal(torch.diag(torch.tensor([3.0, 1.0, -0.5])), torch.float32)
    >>> bool(((x.diagonal().abs() - 0.95).abs() < 0.3).all())
    True
    """
    a, b, c = COEFFICIENTS
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = (matrices if wide else matrices.mT).to(dtype)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide else x.mT).to(matrices.dtype)


def precision_of(model: nn.Module) -> torch.dtype:
    """In which the conditioners of a model compute; float32 where they do not say or differ."""
    dtypes = {net.dtype for net in precision_nets(model)}
    return dtypes.pop() if len(dtypes) == 1 else torch.float32


class Muon(torch.optim.Optimizer):
    """Update matrices, the weights of `nn.Linear`, by their orthogonalised momentum.

    W ← (1 − lr λ) W − lr · 0.2 √max(m, n) · orthogonal(Nesterov's momentum of the gradient), so
    that the entries of updates are as large as AdamW's, and one learning rate serves both. Vectors,
    convolutions and all other parameters follow AdamW, those of two dimensions too which are no
    linear map from inputs to outputs: biases of many dimensions, packed factors of an LU. Source:
    Jordan et al. 2024, with the scaling of Liu et al. 2025, section 2.2.

    `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"` is the same rule for the matrices, but
    multiplies in bfloat16 always. Where a processor has no such products, with AVX2 alone, a step
    of a matrix of 192 by 768 takes it 24 times as long as this one in float32 (251 and 10.6 ms).

    Args:
        model: whose parameters that require gradients are trained.
        lr, weight_decay, betas: as in AdamW; the decay is AdamW's for matrices too.
        dtype: in which the matrices are orthogonalised; None is `precision_of(model)`, as it is
            now, which is bfloat16 for models that compute in it.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        dtype: torch.dtype | None = None,
    ) -> None:
        every = [p for p in model.parameters() if p.requires_grad]
        linear = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
        # Torch reads "fused" when a state is loaded: a count of steps then goes to the device.
        groups: list[dict[str, Any]] = [
            {"params": [p for p in every if id(p) in linear]},
            {"params": [p for p in every if id(p) not in linear], "fused": True},
        ]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "betas": betas})
        self.dtype = dtype or precision_of(model)

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """One step by the gradients there are, which `closure` makes anew; returns its loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        matrices, others = self.param_groups
        for p in matrices["params"]:
            if p.grad is not None:
                self._step_of_matrix(p, p.grad, matrices)
        given = [p for p in others["params"] if p.grad is not None]
        if given:
            self._step_of_others(given, others)
        return loss

    def _step_of_matrix(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        update = orthogonal(gradient.lerp(momentum, MOMENTUM), self.dtype)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(update, alpha=-group["lr"] * SIZE * math.sqrt(max(p.shape)))

    def _step_of_others(self, given: list[Tensor], group: dict[str, Any]) -> None:
        for p in given:
            if not self.state[p]:
                zeros = {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
                self.state[p] = {"step": torch.zeros((), device=p.device), **zeros}
        held = [self.state[p] for p in given]
        adamw(
            given,
            [p.grad for p in given if p.grad is not None],
            [state["exp_avg"] for state in held],
            [state["exp_avg_sq"] for state in held],
            [],
            [state["step"] for state in held],
            fused=group["fused"],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )
