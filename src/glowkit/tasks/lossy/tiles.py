"""Images larger than a model: as tiles of its size, or whole, through the same weights."""

from dataclasses import is_dataclass, replace

import torch
from torch import Tensor

from glowkit.core import Density, GlowkitError
from glowkit.models import build


def tiled(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (N, C, H, W) as tiles (N·R·Q, C, h, w), row by row, side by side without overlap.

    Where h or w do not divide a side, the image is continued by reflection at its lower or right
    edge, over and over where it is smaller than a tile.

    >>> images = torch.arange(6).reshape(1, 1, 2, 3)
    >>> tiled(images, (2, 2)).flatten(1).tolist()
    [[0, 1, 3, 4], [2, 1, 5, 4]]
    """
    (_, channels, *sides), (h, w) = images.shape, size
    rows, columns = (_mirrored(side, tile) for side, tile in zip(sides, size, strict=True))
    whole = images[:, :, rows][:, :, :, columns]
    cells = whole.reshape(len(images), channels, len(rows) // h, h, len(columns) // w, w)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, h, w)


def joined(tiles: Tensor, height: int, width: int) -> Tensor:
    """Images of these sides from their tiles; what was continued is cut off.

    >>> images = torch.arange(30).reshape(2, 1, 3, 5)
    >>> torch.equal(joined(tiled(images, (2, 2)), 3, 5), images)
    True
    """
    _, channels, h, w = tiles.shape
    down, across = -(-height // h), -(-width // w)
    cells = tiles.reshape(-1, down, across, channels, h, w).permute(0, 3, 1, 4, 2, 5)
    return cells.reshape(-1, channels, down * h, across * w)[:, :, :height, :width]


def _mirrored(side: int, tile: int) -> Tensor:
    """Which pixels of a side make whole tiles: all, and those before the edge again, backwards.

    >>> _mirrored(3, 4).tolist(), _mirrored(1, 4).tolist()
    ([0, 1, 2, 1], [0, 0, 0, 0])
    """
    places = torch.arange(-(-side // tile) * tile) % max(1, 2 * (side - 1))
    return torch.where(places < side, places, 2 * (side - 1) - places)


def resized(model: Density, height: int, width: int) -> Density:
    """The same weights as a model of images of other sides; those of convolutions fit any.

    Raises:
        GlowkitError: for sides that the model's squeezes do not divide, and for models that are
            made for one size.
    """
    config, shape = model.config, model.shape
    assert shape is not None
    if tuple(shape[1:]) == (height, width):
        return model
    if not is_dataclass(config) or not hasattr(config, "image_shape"):
        raise GlowkitError("a model made by hand has one size of images: leave out --whole")
    made = build(replace(config, image_shape=(shape[0], height, width)))  # type: ignore[type-var]
    try:
        made.load_state_dict(model.state_dict())
    except RuntimeError as error:
        raise GlowkitError(
            f"the weights of this model are for images of {shape[1]}x{shape[2]} alone, as those of"
            " a glow are not: leave out --whole"
        ) from error
    return made.to(model.anchor).eval()
