"""Floor 3: where images and points come from."""

from glowkit.data.attributes import AttributeTable
from glowkit.data.labelled import attributes_of
from glowkit.data.levels import to_levels
from glowkit.data.opening import list_sources, open_source
from glowkit.data.points import PointSource
from glowkit.data.quantize import requantize
from glowkit.data.single import Picture, read_picture
from glowkit.data.source import Source
from glowkit.data.split import ImageSplit

__all__ = [
    "AttributeTable",
    "ImageSplit",
    "Picture",
    "PointSource",
    "Source",
    "attributes_of",
    "list_sources",
    "open_source",
    "read_picture",
    "requantize",
    "to_levels",
]
