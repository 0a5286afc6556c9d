"""How a run was trained for coding with loss, as its config.yaml has it."""

import math
from dataclasses import dataclass, fields

from glowkit.system.errors import GlowkitError, shown


@dataclass(frozen=True)
class LossySettings:
    """How a model was trained for coding with loss.

    unit: the units of a latent that a pixel level is, by which steps in levels are multiplied.
    finest, coarsest: the steps, in pixel levels, between which training drew.

    Raises GlowkitError for a value that cannot work.
    """

    unit: float
    finest: float
    coarsest: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not float or not 0 < value < math.inf:
                raise GlowkitError(f"{field.name} of lossy coding is {value!r}; give more than 0")
        if self.finest > self.coarsest:
            raise GlowkitError(
                f"the finest step, {self.finest:g}, is coarser than the coarsest,"
                f" {self.coarsest:g}; exchange them"
            )


def lossy_settings_from(values: object) -> LossySettings | None:
    """Those of a config file's values, None for None; GlowkitError for what they cannot be."""
    if values is None:
        return None
    names = [field.name for field in fields(LossySettings)]
    if not isinstance(values, dict) or sorted(values, key=str) != sorted(names):
        raise GlowkitError(f"section 'lossy' is {shown(values)}; it needs {', '.join(names)}")
    return LossySettings(**values)
