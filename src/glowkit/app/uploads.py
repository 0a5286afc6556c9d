"""What people upload: checked before it is decoded, then made what the model takes."""

from pathlib import Path

from torch import Tensor

from glowkit.core.errors import GlowkitError
from glowkit.data import Picture, read_picture

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
