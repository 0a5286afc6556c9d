"""Class labels as context."""

from collections.abc import Sequence

import torch
from torch import Tensor

from glowkit.core import Density, Generator, GlowkitError, NoiseSpec
from glowkit.core.inputs import check_device, check_tensor
from glowkit.nets.kernel import whole

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class WithLabels(Density):
    """Turn integer labels (N,) into one-hot vectors (N, classes) for everything inside.

    Raises:
        GlowkitError: when labels are missing, not one for each image, or not in 0..classes−1.
    """

    def __init__(self, classes: int, density: Density) -> None:
        super().__init__()
        self.classes = classes
        self.density = density

    def one_hot(self, labels: Tensor | None, examples: int) -> Tensor:
        """One-hot vectors of the labels, (N, classes), in the model's dtype."""
        last = self.classes - 1
        if labels is not None:
            check_tensor(labels, "class labels")
        if labels is None:
            raise GlowkitError(
                f"this model is conditional: give each image a class label from 0 to {last}"
            )
        if tuple(labels.shape) != (examples,) or labels.dtype not in INTEGERS:
            raise GlowkitError(
                f"class labels must be one integer for each of {examples} image(s), not"
                f" {tuple(labels.shape)} of {labels.dtype}"
            )
        check_device(labels, self.anchor)
        given = whole(labels)
        wrong = given[(given < 0) | (given > last)]
        if len(wrong):
            raise GlowkitError(
                f"class {int(wrong[0])} does not exist; this model has {self.classes} classes,"
                f" 0 to {last}"
            )
        # `F.one_hot` looks at values, which `torch.vmap` does not let it do.
        return (labels[:, None] == torch.arange(self.classes, device=labels.device)).to(self.anchor)

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        return self.density.encode(x, self.one_hot(context, len(x)), generator)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.density.decode(noises, self.one_hot(context, len(noises[0])))

    def noise_specs(self) -> list[NoiseSpec]:
        return self.density.noise_specs()
