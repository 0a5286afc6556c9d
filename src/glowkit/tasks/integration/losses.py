"""What the flow is trained on: how far it is from the integrand, from points with weights."""

from collections.abc import Callable

from torch import Tensor

from glowkit.core import GlowkitError, shown

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of weights w = f / q̄ where q̄ is the density that the points were drawn from, ln q of the flow
now, and ln (q̄ / q_ε), the last of which is 0 for points just drawn; all (N,). A scalar."""


def kl(weights: Tensor, log_flow: Tensor, log_ratio: Tensor) -> Tensor:
    """−Σ (|w| / Σ |w|) ln q: its gradient is that of KL(|f| / I ‖ q).

    Source: Müller et al. 2019, section 5.1.

    >>> import torch
    >>> kl(torch.tensor([1.0, 3.0]), torch.tensor([0.0, -2.0]), torch.zeros(2)).item()
    1.5
    """
    return -(_shares(weights.abs()) * log_flow).sum()


def chi2(weights: Tensor, log_flow: Tensor, log_ratio: Tensor) -> Tensor:
    """−Σ (v / Σ v) ln q, v = w² q̄ / q_ε: its gradient points as that of the variance of f / q does.

    v is held fixed: −∫ f² / q ∇ ln q is the mean of −w² (q̄ / q) ∇ ln q over points of q̄. Few
    points carry most of it while q is far from f. Source: Müller et al. 2019, section 5.2.

    >>> import torch
    >>> chi2(torch.tensor([1.0, 3.0]), torch.tensor([0.0, -2.0]), torch.zeros(2)).item()
    1.7999...
    """
    sizes = 2 * weights.abs().log() + log_ratio.detach()  # in logs: none is too large or small
    return -(sizes.softmax(0) * log_flow).sum()


def variance(weights: Tensor, log_flow: Tensor, log_ratio: Tensor) -> Tensor:
    """mean(w² q̄ / q_ε) / mean(|w|)²: the second moment of f / q_ε, over the square of ∫ |f|.

    It is 1 where q_ε is proportional to |f|. Source: MadNIS, Heimel et al. 2023, section 3.

    >>> import torch
    >>> variance(torch.tensor([2.0, 2.0]), torch.zeros(2), torch.zeros(2)).item()
    1.0
    """
    scaled = _scaled(weights)
    return (scaled.square() * log_ratio.exp()).mean() / scaled.abs().mean().square()


def _shares(sizes: Tensor) -> Tensor:
    scaled = _scaled(sizes)
    return scaled / scaled.sum()


def _scaled(weights: Tensor) -> Tensor:
    """Weights of largest size 1, whose squares are numbers however large they were."""
    return weights / weights.abs().max()


PHASES: dict[str, tuple[tuple[float, Loss], ...]] = {
    "kl": ((1.0, kl),),
    "chi2": ((2 / 3, kl), (1.0, chi2)),
    "variance": ((1.0, variance),),
}
"""By name, losses and until which share of training each is used: χ² is too noisy early."""


def loss_at(name: str, share: float) -> Loss:
    """The loss of that name when so much of training is done.

    Raises:
        GlowkitError: when there is none of that name.

    >>> loss_at("chi2", 0.5) is kl, loss_at("chi2", 0.9) is chi2
    (True, True)
    """
    if name not in PHASES:
        raise GlowkitError(f"loss {shown(name)} does not exist; choose one of {', '.join(PHASES)}")
    return next(loss for until, loss in PHASES[name] if share < until)


def check_loss(name: str) -> None:
    """Raise GlowkitError for a name that is none."""
    loss_at(name, 0.0)
