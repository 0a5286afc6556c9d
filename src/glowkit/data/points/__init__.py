"""2-D toy densities with exact entropies."""

from glowkit.data.points.density import PointDensity, grid
from glowkit.data.points.source import POINTS, PointSource, PointSplit, open_points

__all__ = ["POINTS", "PointDensity", "PointSource", "PointSplit", "grid", "open_points"]
