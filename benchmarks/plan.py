"""Which cases a whole run measures."""

from dataclasses import dataclass

from benchmarks.case import Case


@dataclass(frozen=True)
class Plan:
    """Cases of the steps, of memory and drift at several depths, of the two processes, and large.

    The large one has a limit of memory in GiB. `compiled` times FrEIA under torch.compile, too.
    """

    steps: list[Case]
    depths: list[int]
    deep: Case
    processes: Case
    large: Case
    gib: int
    compiled: bool


def _cases(*sizes: tuple[int, int]) -> list[Case]:
    precisions = ("float32", "bfloat16")
    return [Case(width=w, batch=n, precision=p) for w, n in sizes for p in precisions]


PLANS = {
    "full": Plan(
        steps=[
            *_cases((64, 64), (128, 64), (512, 16)),
            Case(size=64, levels=4, batch=16),
            Case(size=256, levels=6, batch=2),
        ],
        depths=[4, 8, 16, 32, 64],
        deep=Case(batch=8),
        processes=Case(),
        large=Case(size=256, levels=6, steps=32, width=512, batch=8),
        gib=16,
        compiled=True,
    ),
    "quick": Plan(
        steps=[Case(steps=2, width=32, batch=8)],
        depths=[1, 2, 4],
        deep=Case(size=16, levels=2, width=16, batch=2),
        processes=Case(steps=2, width=32, batch=8),
        large=Case(size=32, steps=2, width=32, batch=4),
        gib=4,
        compiled=False,
    ),
}
"""By name; "quick" shows that everything runs, and its figures mean little."""
