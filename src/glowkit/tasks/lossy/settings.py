"""How a run was trained for coding with loss, as its config.yaml has it."""

import math
from dataclasses import dataclass, fields

from glowkit.system.errors import GlowkitError, shown


@dataclass(frozen=True)
class LossySettings:
    """How a model was trained for coding with loss.

    unit: the units of a latent that a pixel level is, by which steps in levels are multiplied.
    finest, coarsest: the steps, in pixel levels, between which training drew.
    round_trip: the weight of what rounding to pixels moves latents by; 0 where it did not count.

    Raises GlowkitError for a value that cannot work.
    """

    unit: float
    finest: float
    coarsest: float
    round_trip: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            good = type(value) is float and 0 <= value < math.inf
            if not good or (value == 0 and field.name != "round_trip"):
                least = "0 or more" if field.name == "round_trip" else "more than 0"
                raise GlowkitError(f"{field.name} of lossy coding is {value!r}; give {least}")
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
    needed = {"unit", "finest", "coarsest"}  # runs of earlier versions have no more
    if not isinstance(values, dict) or not needed <= values.keys() <= set(names):
        raise GlowkitError(f"section 'lossy' is {shown(values)}; it needs {', '.join(names)}")
    return LossySettings(**values)
