"""One image file, as a model wants it."""

from pathlib import Path

import torch
from torch import Tensor

from glowkit.core.errors import GlowkitError


def read_image(
    path: Path, image_shape: tuple[int, int, int], deep: bool = False, name: str | None = None
) -> Tensor:
    """Read one image file as (1, C, H, W) integers: 256 levels, or 65536 where `deep`.

    For a square shape the image is resized and cropped to it. `name` is what sentences call the
    file, its path by default. Raises GlowkitError for a file that is missing, damaged, or of
    another size where the shape is not square.
    """
    from glowkit.data.picture import BadImage, Request, read_pixels

    channels, height, width = image_shape
    name = name or str(path)
    if not path.is_file():
        raise GlowkitError(f"no such image file: {name}")
    if channels not in (1, 3, 4):
        raise GlowkitError(f"the model takes {channels} channels, which no image file has")
    size = height if height == width else None
    try:
        pixels = read_pixels(path, Request(channels, deep, size)).pixels
    except BadImage as error:
        raise GlowkitError(f"{name} cannot be read as an image: {error}") from error
    if pixels.shape != tuple(image_shape):
        raise GlowkitError(
            f"{name} is {pixels.shape[2]}x{pixels.shape[1]} pixels, but the model takes"
            f" {width}x{height}; resize it beforehand"
        )
    return torch.from_numpy(pixels.astype("int32"))[None]
