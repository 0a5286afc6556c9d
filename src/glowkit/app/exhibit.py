"""What the page shows: the model with its data, uploads, and charts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from glowkit.core import Density
from glowkit.data import Picture, read_picture
from glowkit.pictures.sheet import image_sheet, inline, picture, png_of
from glowkit.system.errors import GlowkitError
from glowkit.tasks import Attributes
from glowkit.tasks.likelihood import levels_of

COLUMNS = 6  # of a sheet
CSS = """
.flow { display: flex; flex-wrap: wrap; gap: 16px; }
.flow figure { margin: 0; flex: 1 1 150px; max-width: 260px; }
.flow.many figure { flex: 0 0 104px; }
.flow figure * { margin: 0 !important; display: block; }
.flow figure img { width: 100%; image-rendering: pixelated; border-radius: 4px; }
.flow figcaption { font-size: 14px; padding-top: 4px; }
.broken { border-left: 4px solid #cd4637; padding-left: 8px; }
.plot img { width: 100%; max-width: 640px; background: white; border-radius: 4px; }
.picks img { image-rendering: pixelated; }
.picks .grid-wrap { min-height: 0; }
.picks .grid-container {
  grid-template-columns: repeat(8, minmax(0, 1fr)); grid-template-rows: none; grid-auto-rows: auto;
}
"""


def plain(text: object) -> str:
    """Text, of a file's name perhaps, whose signs neither HTML nor Markdown takes for its own."""
    signs = "\\`*_~{}[]<>()#!|&$\"':/@\n\r\t"
    return "".join(f"&#{ord(sign)};" if sign in signs else sign for sign in str(text))


def figures(named: Sequence[tuple[str, Tensor, bool]], levels: int) -> str:
    """Images (C, H, W) side by side, each above its caption; a click saves it, pixel for pixel.

    Each has a name, and whether it could not be computed, and then is hatched.
    """
    each = [
        _image(name, image, levels, broken, f"<figcaption>{plain(name)}</figcaption>")
        for name, image, broken in named
    ]
    return f'<div class="flow">{"".join(each)}</div>'


def samples(images: Tensor, levels: int, name: str, broken: Tensor) -> str:
    """Many images (N, C, H, W), each saved by a click, and a link that saves a sheet of them.

    broken: which could not be computed, (N,), and are hatched.
    """
    single = "".join(
        _image(f"{name}-{i}", image, levels, lost)
        for i, (image, lost) in enumerate(zip(images, broken.tolist(), strict=True))
    )
    rows = [("", row) for row in images.cpu().split(COLUMNS)]
    sheet = png_of(image_sheet(rows, levels, broken=broken.cpu().split(COLUMNS)))
    link = f'<a href="{inline(sheet)}" download="{plain(name)}.png">'
    return f'<div class="flow many">{single}</div><p>{link}Save all as one sheet</a></p>'


def plot(png: bytes, about: str) -> str:
    """A drawing, with what it shows for those who do not see it."""
    return f'<div class="plot"><img alt="{plain(about)}" src="{inline(png)}"></div>'


def _image(name: str, image: Tensor, levels: int, broken: bool, caption: str = "") -> str:
    uri, name = inline(png_of(picture(image, levels, broken))), plain(name)
    return (
        f'<figure><a href="{uri}" download="{name}.png" title="Save">'
        f'<img alt="{name}" src="{uri}"></a>{caption}</figure>'
    )


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
