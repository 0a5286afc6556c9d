"""How a flow comes to resemble an integrand of two dimensions: KL on a grid, step by step."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from glowkit.core import Density, GlowkitError
from glowkit.tasks.integration.integrand import Integrand
from glowkit.tasks.integration.integrate import Progress

CELLS = 128  # a side, where the integrand has no pixels of its own
SNAPSHOTS = (1, 10, 100, 1000)
"""The steps after which the density is kept, as in figure 5 of Müller et al. 2019."""

LOOKS = 24  # at KL, at steps whose logarithms are evenly spaced


@dataclass(frozen=True)
class Divergences:
    """KL between p, the integrand's size over its integral, and q, the flow, nats, on a grid.

    forward: KL(p ‖ q). reverse: KL(q ‖ p), infinite where p is 0 and q is not.
    """

    forward: float
    reverse: float


class Plane:
    """Watches the training of a flow on an integrand of two dimensions: a callback of `integrate`.

    Its own calls of the integrand, four for each cell, are for the picture alone.

    Args:
        integrand: of two dimensions.
        cells: columns and rows of the grid.

    Raises:
        GlowkitError: for another number of dimensions, or one that is 0 at all cells.
    """

    def __init__(self, integrand: Integrand, cells: tuple[int, int] = (CELLS, CELLS)) -> None:
        if integrand.dims != 2:
            raise GlowkitError(
                f"a picture is of integrands of 2 dimensions, and this has {integrand.dims}; leave"
                " out --out"
            )
        self.cells = cells
        columns, rows = cells
        low, size = integrand.low, integrand.high - integrand.low
        self.points = low + size * _middles(columns, rows)
        self.log_cell = integrand.log_volume - math.log(columns * rows)
        # Four points a cell: of a picture that is the mean over the cell, exactly.
        fine = integrand(low + size * _middles(2 * columns, 2 * rows)).abs()
        self.values = fine.view(rows, 2, columns, 2).mean((1, 3)).flatten()
        if not bool(self.values.any()):
            integrand.refuse_nothing()
        self.curve: list[tuple[int, float]] = []
        self.snapshots: list[tuple[int, Tensor]] = []
        self._looks: set[int] = set()

    def __call__(self, progress: Progress) -> None:
        """Look at the flow, at some steps."""
        if not self._looks:
            last = math.log(progress.steps)
            self._looks = {round(math.exp(last * i / (LOOKS - 1))) for i in range(LOOKS)}
        if progress.step in self._looks | set(SNAPSHOTS):
            log_q = self.log_density(progress.proposal)
            self.curve.append((progress.step, self._divergences(log_q).forward))
            if progress.step in SNAPSHOTS:
                self.snapshots.append((progress.step, self.image(log_q.exp())))

    @torch.no_grad()
    def log_density(self, flow: Density) -> Tensor:
        """ln q at the middles of the cells, (rows · columns,)."""
        return torch.cat([flow.log_prob(part) for part in self.points.split(2**14)])

    def divergences(self, flow: Density) -> Divergences:
        """Both KL of a flow."""
        return self._divergences(self.log_density(flow))

    def image(self, values: Tensor) -> Tensor:
        """Values of the cells as rows and columns, the first row below."""
        return values.view(self.cells[1], self.cells[0])

    def _divergences(self, log_q: Tensor) -> Divergences:
        log_p = self.values.log() - self.values.sum().log()
        p, log_q = log_p.exp(), log_q + self.log_cell
        forward = torch.where(p > 0, p * (log_p - log_q), 0.0).sum().item()
        log_q = log_q - log_q.logsumexp(0)  # so that what the grid misses makes no KL below 0
        return Divergences(forward, (log_q.exp() * (log_q - log_p)).sum().item())


def _middles(columns: int, rows: int) -> Tensor:
    """The middles of the cells of a grid on the unit square, (rows · columns, 2), row by row."""
    across, up = ((torch.arange(n, dtype=torch.float64) + 0.5) / n for n in (columns, rows))
    y, x = torch.meshgrid(up, across, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)
