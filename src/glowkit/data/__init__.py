"""Floor 5: where images, points and tables come from."""

from glowkit.data.labelled import attributes_of
from glowkit.data.levels import requantize, to_levels
from glowkit.data.opening import list_sources, open_source
from glowkit.data.picture import Picture, read_picture
from glowkit.data.source import AttributeTable, ImageSplit, Source
from glowkit.data.table import AnySource, TableSource
from glowkit.data.toy import PointSource

__all__ = [
    "AnySource",
    "AttributeTable",
    "ImageSplit",
    "Picture",
    "PointSource",
    "Source",
    "TableSource",
    "attributes_of",
    "list_sources",
    "open_source",
    "read_picture",
    "requantize",
    "to_levels",
]
