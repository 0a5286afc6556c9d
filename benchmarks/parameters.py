"""Parameter counts: are the subjects the same model?"""

from torch import nn

from benchmarks.case import Case
from benchmarks.subjects import builders
from glowkit import GlowkitError

TOLERANCE = 0.02
"""How far a peer's count may be from glowkit's."""


def total(model: nn.Module) -> int:
    """All that the library registers as parameters, trained or not."""
    return sum(parameter.numel() for parameter in model.parameters())


def compared(model: nn.Module) -> int:
    """Parameters of the architecture that all subjects share.

    Left out: glowkit's border filters ("edge", openai/glow's edge bias) and split priors, which no
    peer has; the halves of normflows' triangular factors that are multiplied by 0; FrEIA's second
    copy of each rotation and its squeeze's constant kernel. FrEIA's fixed rotation itself counts.
    """
    count = 0
    for name, parameter in model.named_parameters():
        *owners, last = name.split(".")
        if "prior" in owners or last in ("edge", "w_perm_inv", "downsample_kernel"):
            continue
        triangle = last in ("L", "U")
        count += len(parameter) * (len(parameter) - 1) // 2 if triangle else parameter.numel()
    return count


def count_parameters(case: Case) -> list[dict[str, object]]:
    """One row a subject: its counts, and how far the compared one is from glowkit's.

    Raises:
        GlowkitError: when one is further than `TOLERANCE`.
    """
    rows: list[dict[str, object]] = []
    first = 0
    for name, builder in builders().items():
        model = builder(case)
        count = compared(model)
        first = first or count
        if abs(count / first - 1) > TOLERANCE:
            raise GlowkitError(f"{name} has {count:,} parameters to glowkit's {first:,} in {case}")
        row = {"subject": name, "width": case.width, "total": total(model), "compared": count}
        rows.append(row | {"difference": count / first - 1})
    return rows
