"""What the page is about: a model, images to begin with, and how likely real ones are."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from glowkit.core import Density
from glowkit.tasks import Attributes


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
        return int(self.model.config.pixel_levels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return tuple(self.model.config.image_shape)
