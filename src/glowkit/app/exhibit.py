"""What the page shows: the model with its data, uploads, and charts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from glowkit.app.heat import Heat
from glowkit.core import Density
from glowkit.data import Picture, read_picture
from glowkit.pictures.sheet import image_sheet, inline, picture, png_of, to_pil
from glowkit.system.errors import GlowkitError
from glowkit.tasks import Attributes
from glowkit.tasks.likelihood import levels_of, unit_of

BROKEN = ", which could not be computed (overflow)"
CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def script(name: str) -> str:
    """JavaScript that lies beside this file."""
    return Path(__file__).with_name(f"{name}.js").read_text(encoding="utf-8")


def plain(text: object) -> str:
    """Text, of a file's name perhaps, whose signs neither HTML nor Markdown takes for its own."""
    signs = "\\`*_~{}[]<>()#!|&$\"':/@\n\r\t"
    return "".join(f"&#{ord(sign)};" if sign in signs else sign for sign in str(text))


class Figure(NamedTuple):
    """An image (C, H, W), hatched if it is broken; a click on it saves it under the name `file`."""

    caption: str
    image: Tensor
    file: str
    broken: bool = False


def figures(each: Sequence[Figure], levels: int, look: str = "large") -> str:
    """Images side by side, each above its caption. look: "large" of the first, or "pair"."""
    drawn = [_image(figure, levels, plain(figure.caption)) for figure in each]
    return f'<div class="flow {look}">{"".join(drawn)}</div>'


def samples(rows: Sequence[tuple[str, Tensor, Tensor]], levels: int, name: str) -> str:
    """Rows of images (N, C, H, W), each saved by a click, and a link that saves a sheet of all.

    A row has a title, and says which of its images could not be computed, (N,), and are hatched.
    """
    drawn = ""
    for title, images, broken in rows:
        single = "".join(
            _image(Figure(f"{title}, sample {i}", image, f"{title} {i}", lost), levels)
            for i, (image, lost) in enumerate(zip(images, broken.tolist(), strict=True))
        )
        drawn += f'<p class="title">{plain(title)}</p><div class="flow many">{single}</div>'
    titled = [(title, images.cpu()) for title, images, _ in rows]
    sheet = png_of(image_sheet(titled, levels, broken=[broken.cpu() for *_, broken in rows]))
    link = f'<a href="{inline(sheet)}" download="{plain(name)}.png">'
    return f"{drawn}<p>{link}Save all as one sheet</a></p>"


def pad(
    corners: Sequence[tuple[str, Tensor]],
    image: Tensor,
    broken: bool,
    x: float,
    y: float,
    levels: int,
) -> str:
    """A square with four named images (C, H, W) at its corners, and the one at (x, y) in it."""
    at_corners = "".join(
        f'<img class="corner" alt="{plain(name)}" src="{inline(png_of(to_pil(each, levels)))}">'
        for name, each in corners
    )
    name = plain(f"the image at {x:g} to the right and {y:g} down" + BROKEN * broken)
    uri = inline(png_of(picture(image, levels, broken)))
    return (
        f'<div class="pad">{at_corners}<div class="field"><img alt="{name}" src="{uri}">'
        f'<span class="at" style="left:{100 * x:.4g}%;top:{100 * y:.4g}%"></span></div></div>'
        f'<p><a href="{uri}" download="between.png">Save this image</a></p>'
    )


def _image(figure: Figure, levels: int, caption: str = "") -> str:
    uri = inline(png_of(picture(figure.image, levels, figure.broken)))
    file = plain(figure.file.replace(":", "-").replace(" ", "-").removesuffix(".png"))
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f'<figure><a href="{uri}" download="{file}.png" title="Save">'
        f'<img alt="{plain(figure.caption + BROKEN * figure.broken)}" src="{uri}"></a>{below}'
        "</figure>"
    )


@dataclass(frozen=True)
class Exhibit:
    """A model and the images it is shown with.

    title: of the page. class_names: of a conditional model, else empty.
    images: (N, C, H, W), at least one, to choose from; contexts: their classes, (N,), or None.
    origin: what these images are, such as "images of the test split of digits".
    bits: (M,), bits/dim of real images with which others are compared, empty where there are none,
    or nats, of a density of noisy images;
    measured: what those are, such as "300 images of the test split of digits".
    attributes: directions that sliders follow, if any were found.
    run: the model as commands call it. names: the images as commands call them, by default files
    that a click on them saves. heat: how hot samples may be. own: the Python file of a
    model of one's own, else empty.
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
    run: str = "RUN"
    names: tuple[str, ...] = ()
    heat: Heat = field(default_factory=Heat)
    own: str = ""

    def __post_init__(self) -> None:
        if not self.names:
            files = tuple(f"image-{row}.png" for row in range(len(self.images)))
            object.__setattr__(self, "names", files)

    @property
    def levels(self) -> int:
        return levels_of(self.model)

    @property
    def unit(self) -> str:
        """Of its `bits`."""
        return unit_of(self.model)

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
