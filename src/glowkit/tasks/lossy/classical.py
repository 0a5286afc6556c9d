"""What codecs without a model do at their qualities: JPEG, WebP, AVIF, JPEG 2000 and JPEG XL."""

import io
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from glowkit.core import GlowkitError
from glowkit.tasks.coding.classical import Pixels, saved, squeezed

GREY = 128


class Codec(NamedTuple):
    """A codec of pictures (H, W) or (H, W, 3) at one of its qualities, the worst one first."""

    qualities: Sequence[float]
    encode: Callable[[Pixels, float], bytes | bytearray]
    decode: Callable[[bytes], Pixels]


class Measured(NamedTuple):
    """Images as a codec decodes them, and the bytes of a file an image, with and without header."""

    images: Tensor
    bytes: float
    bare: float


def codecs() -> Mapping[str, Codec]:
    """Those that are there, by their names: Pillow's, and JPEG XL where imagecodecs is."""
    from PIL import features

    found = {
        "jpeg": Codec(
            (1, 2, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90, 93, 95, 97, 98, 99, 100),
            lambda p, q: saved(p, "JPEG", quality=int(q), optimize=True),
            _opened,
        ),
        "webp": Codec(
            (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95, 98, 100),
            lambda p, q: saved(p, "WEBP", quality=int(q), method=6),
            _opened,
        ),
    }
    if features.check_codec("jpg_2000"):
        found["jpeg2000"] = Codec(tuple(range(20, 61, 2)), _jpeg_2000, _opened)
    if features.check("avif"):
        found["avif"] = Codec(
            (5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 93, 95, 97, 98, 99),
            lambda p, q: saved(p, "AVIF", quality=int(q), speed=6),
            _opened,
        )
    if find_spec("imagecodecs"):
        import imagecodecs

        found["jxl"] = Codec(
            (12, 9, 7, 5, 4, 3, 2.5, 2, 1.5, 1.2, 1, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05),
            lambda p, d: imagecodecs.jpegxl_encode(p, distance=d, effort=7),
            imagecodecs.jpegxl_decode,
        )
    return found


def measured(codec: Codec, quality: float, images: Tensor) -> Measured:
    """A file for each image (N, C, H, W), of one channel or three, uint8.

    Without its header an image takes what its file has beyond that of a grey image of its size at
    the same quality; a JPEG file, its entropy-coded bits alone, without even the tables that they
    are read by.
    """
    rows = np.moveaxis(images.cpu().numpy().astype(np.uint8), 1, -1)
    blank = len(codec.encode(squeezed(np.full_like(rows[0], GREY)), quality))
    made, sizes, bare = [], 0, 0
    for row in rows:
        data = bytes(codec.encode(squeezed(row), quality))
        made.append(np.asarray(codec.decode(data)).reshape(*row.shape[:2], -1))
        sizes += len(data)
        bare += _scan(data) if data[:2] == b"\xff\xd8" else max(0, len(data) - blank)
    if images.shape[1] == 1:
        made = [each[..., :1] for each in made]  # some give grey as three alike
    again = torch.from_numpy(np.moveaxis(np.stack(made), -1, 1).copy())
    return Measured(again, sizes / len(rows), bare / len(rows))


def nearest_quality(codec: Codec, images: Tensor, bytes: float, bare: bool) -> float:
    """The quality at which files, or what is bare of headers, are nearest to so many bytes."""

    def distance(quality: float) -> float:
        found = measured(codec, quality, images)
        return abs((found.bare if bare else found.bytes) - bytes)

    return min(codec.qualities, key=distance)


def check_images(channels: int, levels: int) -> None:
    """Refuse what these codecs do not take. GlowkitError."""
    if levels != 256 or channels not in (1, 3):
        raise GlowkitError(
            "other codecs take 256 levels and 1 or 3 channels, and the model's images have"
            f" {levels} and {channels}"
        )


def _scan(data: bytes) -> int:
    """The entropy-coded bytes of a JPEG file of one scan."""
    start = data.index(b"\xff\xda")
    return len(data) - start - 2 - int.from_bytes(data[start + 2 : start + 4], "big") - 2


def _jpeg_2000(picture: Pixels, decibels: float) -> bytes:
    smallest = min(picture.shape[:2])
    levels = max(1, min(6, smallest.bit_length() - 2))
    return saved(
        picture,
        "JPEG2000",
        quality_mode="dB",
        quality_layers=[decibels],
        irreversible=True,
        num_resolutions=levels,
        no_jp2=True,
    )


def _opened(data: bytes) -> Pixels:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))
