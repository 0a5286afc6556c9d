"""What a checkpoint holds, and a record of which of it was used."""

import re
from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from glowkit.core import GlowkitError, shown

MOST_NAMED = 5


class Contents:
    """The tensors of a file by name. A reader takes them one by one; what is left is refused.

    So nothing in a file can be overlooked: a tensor that this format does not have would mean
    another architecture, and an import that ignored it would be another model.
    """

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        self.path = path
        self._tensors = dict(tensors)
        self._left = set(tensors)

    @property
    def dtype(self) -> torch.dtype:
        """The widest floating type in the file, and at least float32."""
        floats = (t.dtype for t in self._tensors.values() if t.is_floating_point())
        return reduce(torch.promote_types, floats, torch.float32)

    def has(self, pattern: str) -> bool:
        """Whether a tensor's name begins with this regular expression."""
        return any(re.match(pattern, name) for name in self._tensors)

    def numbers(self, pattern: str) -> set[int]:
        """The number that the pattern's group captures, in every name that begins with it.

        Raises:
            GlowkitError: for one that the file cannot have counted to.
        """
        numbers = set()
        for name in self._tensors:
            match = re.match(pattern, name)
            if match and (len(match[1]) > 9 or int(match[1]) >= len(self._tensors)):
                raise GlowkitError(
                    f"{self.path} holds {shown(name)}, and only {len(self._tensors)} tensors; it is"
                    " damaged or not whole"
                )
            if match:
                numbers.add(int(match[1]))
        return numbers

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor.

        Raises:
            GlowkitError: when there is no such tensor.
        """
        if name not in self._tensors:
            raise GlowkitError(f"{self.path} lacks the tensor {name}; it is not whole")
        return tuple(self._tensors[name].shape)

    def size(self, name: str, dimension: int) -> int:
        """One side of a tensor, or 0 where it has fewer dimensions."""
        shape = self.shape(name)
        return shape[dimension] if dimension < len(shape) else 0

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor in float64, whatever its type, which must have this shape.

        Raises:
            GlowkitError: when it is missing, of another shape, or holds NaN or infinity.
        """
        if self.shape(name) != shape or 0 in shape:
            raise GlowkitError(
                f"{self.path}: {name} has shape {self.shape(name)} where the rest of the file"
                f" asks for {shape}; this is not a Glow of the format you named"
            )
        tensor = self._tensors[name].double()
        if not torch.isfinite(tensor).all():
            raise GlowkitError(f"{self.path}: {name} holds NaN or infinity; use another checkpoint")
        self._left.discard(name)
        return tensor

    def flat(self, name: str, *shape: int) -> Tensor:
        """`take`, flattened to a vector: layouts keep singleton axes where we keep none."""
        return self.take(name, *shape).flatten()

    def refuse_the_rest(self) -> None:
        """Refuse, by name, what no reader took."""
        if self._left:
            raise GlowkitError(
                f"{self.path} holds {named(self._left)}, which this format does not have; it"
                " cannot be imported as the same model"
            )


def named(names: Iterable[str]) -> str:
    """A few names and how many more there are."""
    names = sorted(map(_short, names))
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _short(name: str) -> str:
    return name if len(name) <= 200 and name.isprintable() else shown(name)
