"""The tables of bijections and of densities, and what makes modules and examples of rows."""

from laws.bijection_rows import BIJECTIONS
from laws.density_rows import DENSITIES
from laws.drawn_rows import DRAWN
from laws.row import BATCH, Row, example, make

__all__ = ["BATCH", "BIJECTIONS", "DENSITIES", "DRAWN", "Row", "example", "make"]
