"""Images as HTML that needs no other file: enlarged without smoothing, and saved by a click."""

import base64
import io
from collections.abc import Sequence

from torch import Tensor

from glowkit.pictures.sheet import image_sheet, picture

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
    sheet = io.BytesIO()
    image_sheet(rows, levels, broken=broken.cpu().split(COLUMNS)).save(sheet, format="PNG")
    link = f'<a href="{_uri(sheet.getvalue())}" download="{plain(name)}.png">'
    return f'<div class="flow many">{single}</div><p>{link}Save all as one sheet</a></p>'


def plot(png: bytes, about: str) -> str:
    """A drawing, with what it shows for those who do not see it."""
    return f'<div class="plot"><img alt="{plain(about)}" src="{_uri(png)}"></div>'


def _image(name: str, image: Tensor, levels: int, broken: bool, caption: str = "") -> str:
    drawn = io.BytesIO()
    picture(image, levels, broken).save(drawn, format="PNG")
    uri, name = _uri(drawn.getvalue()), plain(name)
    return (
        f'<figure><a href="{uri}" download="{name}.png" title="Save">'
        f'<img alt="{name}" src="{uri}"></a>{caption}</figure>'
    )


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
