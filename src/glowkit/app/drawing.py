"""Images as HTML that needs no other file: enlarged without smoothing, and saved by a click."""

import base64
import io
from collections.abc import Sequence
from html import escape

from torch import Tensor

from glowkit.tasks.sheet import image_sheet, to_pil

CSS = """
.flow { display: flex; flex-wrap: wrap; gap: 16px; }
.flow figure { margin: 0; flex: 0 1 260px; }
.flow.many figure { flex-basis: 104px; }
.flow img { width: 100%; image-rendering: pixelated; border-radius: 4px; display: block; }
.flow figcaption { font-size: 14px; margin-top: 4px; }
.plot img { width: 100%; max-width: 640px; background: white; border-radius: 4px; }
.picks img { image-rendering: pixelated; }
"""


def figures(named: Sequence[tuple[str, Tensor]], levels: int) -> str:
    """Images (C, H, W) side by side, each above its caption; a click saves it, pixel for pixel."""
    return f'<div class="flow">{"".join(_figure(name, image, levels) for name, image in named)}</div>'


def samples(images: Tensor, levels: int, name: str) -> str:
    """Many images (N, C, H, W), each saved by a click, and a link that saves a sheet of them."""
    single = "".join(_image(f"{name}-{i}", image, levels) for i, image in enumerate(images))
    rows = [("", row) for row in images.cpu().split(_COLUMNS)]
    sheet = io.BytesIO()
    image_sheet(rows, levels).save(sheet, format="PNG")
    link = f'<a href="{_uri(sheet.getvalue())}" download="{escape(name)}.png">Save all as one sheet</a>'
    return f'<div class="flow many">{single}</div><p>{link}</p>'


def plot(png: bytes, about: str) -> str:
    """A drawing, with what it shows for those who do not see it."""
    return f'<div class="plot"><img alt="{escape(about)}" src="{_uri(png)}"></div>'


_COLUMNS = 6  # of a sheet


def _figure(name: str, image: Tensor, levels: int) -> str:
    return _image(name, image, levels, f"<figcaption>{escape(name)}</figcaption>")


def _image(name: str, image: Tensor, levels: int, caption: str = "") -> str:
    drawn = io.BytesIO()
    to_pil(image, levels).save(drawn, format="PNG")
    uri, name = _uri(drawn.getvalue()), escape(name)
    return (
        f'<figure><a href="{uri}" download="{name}.png" title="Save">'
        f'<img alt="{name}" src="{uri}"></a>{caption}</figure>'
    )


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
