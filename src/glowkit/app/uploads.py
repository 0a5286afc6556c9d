"""What people upload: checked before it is decoded, then made what the model takes."""

from pathlib import Path

import torch
from torch import Tensor

from glowkit.core.errors import GlowkitError
from glowkit.data import read_image, requantize
from glowkit.data.picture import BadImage, read_header

MOST_BYTES = 10 * 2**20
MOST_PIXELS = 2**24  # 4096 x 4096


def read_upload(path: Path, image_shape: tuple[int, int, int], levels: int) -> Tensor:
    """Read an image file as (1, C, H, W) integers below `levels`.

    Resized and cropped where the model's images are square. Where 256 is no multiple of the levels,
    as for the 17 of digits, each value becomes the nearest level: what the page shows and lets
    people download comes back as it was.

    Raises:
        GlowkitError: for a file that is too large, has too many pixels, or is no image, with a
            sentence that names the file without its folder.
    """
    if path.stat().st_size > MOST_BYTES:
        raise GlowkitError(
            f"{path.name} has {path.stat().st_size / 2**20:.0f} MB, and at most"
            f" {MOST_BYTES // 2**20} are taken; make it smaller beforehand"
        )
    try:
        size = read_header(path).size
    except BadImage as error:
        raise GlowkitError(f"{path.name} cannot be read as an image: {error}") from error
    if size is None:
        raise GlowkitError(f"{path.name} is a TIFF file stored sideways; save it as PNG")
    if size[0] * size[1] > MOST_PIXELS:
        raise GlowkitError(
            f"{path.name} is {size[0]}x{size[1]} pixels, and at most {MOST_PIXELS:,} are taken;"
            " make it smaller beforehand"
        )
    deep = levels > 256
    image = read_image(path, image_shape, deep, name=path.name)
    return _to_levels(image, 65536 if deep else 256, levels)


def _to_levels(image: Tensor, given: int, levels: int) -> Tensor:
    if given % levels == 0:
        return requantize(image, given, levels)
    nearest = (image.double() * (levels - 1) / (given - 1)).round()
    return nearest.to(torch.uint8 if levels <= 256 else torch.int32)
