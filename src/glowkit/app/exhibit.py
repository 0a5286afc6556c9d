"""What the page shows, and what it is given."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from glowkit.core import Density
from glowkit.data import Picture, read_picture
from glowkit.system.errors import GlowkitError
from glowkit.tasks import Attributes
from glowkit.tasks.likelihood import levels_of


@dataclass(frozen=True)
class Exhibit:
    """A model and the images it is shown with.

    title: of the page. class_names: of a conditional model, else empty.
    images: (N, C, H, W), at least one, to choose from; contexts: their classes, (N,), or None.
    origin: what these images are, such as "images of the test split of digits".
    bits: (M,), bits/dim of real images with which others are compared, empty where there are none;
    measured: what those are, such as "300 images of the test split of digits".
    attributes: directions that sliders follow, if any were found.
    """

    model: Density
    title: str
    class_names: tuple[str, ...]
    images: Tensor
    contexts: Tensor | None
    origin: str
    bits: Tensor = field(default_factory=lambda: torch.zeros(0))
    measured: str = ""
    attributes: Attributes | None = None

    @property
    def levels(self) -> int:
        return levels_of(self.model)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        assert self.model.shape is not None
        channels, height, width = self.model.shape
        return channels, height, width


MOST_BYTES = 10 * 2**20
MOST_PIXELS = 2**24  # 4096 x 4096


def read_upload(path: Path, image_shape: tuple[int, int, int], levels: int) -> Tensor:
    """The image of `upload`, without what was lost."""
    return upload(path, image_shape, levels).image


def upload(path: Path, image_shape: tuple[int, int, int], levels: int) -> Picture:
    """Read an image file as `glowkit.data.read_picture` does, (1, C, H, W) integers below `levels`.

    What the page shows and lets people download comes back as it was.

    Raises:
        GlowkitError: for a file that is too large, has too many pixels, or is no image, with a
            sentence that names the file without its folder.
    """
    if path.stat().st_size > MOST_BYTES:
        raise GlowkitError(
            f"{path.name} has {path.stat().st_size / 2**20:.0f} MB, and at most"
            f" {MOST_BYTES // 2**20} are taken; make it smaller beforehand"
        )
    return read_picture(path, image_shape, levels, path.name, MOST_PIXELS)
