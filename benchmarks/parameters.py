"""Parameter counts: are the subjects the same model?"""

from torch import nn

from benchmarks.case import Case
from benchmarks.subjects import builders

TOLERANCE = 0.02
"""How far a peer's count may be from glowkit's."""


def total(model: nn.Module) -> int:
    """All that the library registers as parameters, trained or not."""
    return sum(parameter.numel() for parameter in model.parameters())


def compared(model: nn.Module) -> int:
    """Parameters of the architecture that all subjects share.

    Left out: glowkit's border filters ("edge", openai/glow's edge bias), which no peer has; the
    halves of normflows' triangular factors that are multiplied by 0; FrEIA's second copy of each
    rotation and its squeeze's constant kernel. FrEIA's fixed rotation itself counts.
    """
    count = 0
    for name, parameter in model.named_parameters():
        match name.rpartition(".")[2]:
            case "edge" | "w_perm_inv" | "downsample_kernel":
                continue
            case "L" | "U":
                n = len(parameter)
                count += n * (n - 1) // 2
            case _:
                count += parameter.numel()
    return count


def count_parameters(case: Case) -> list[dict[str, object]]:
    """One row a subject: its counts, and how far the compared one is from glowkit's."""
    rows: list[dict[str, object]] = []
    for name, builder in builders().items():
        model = builder(case)
        row = {"subject": name, "total": total(model), "compared": compared(model)}
        first = rows[0]["compared"] if rows else row["compared"]
        rows.append(row | {"difference": row["compared"] / first - 1})
    return rows
