"""Densities that are given something: class labels, vectors, or what a network makes of them."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from glowkit.core import Density, Generator, GlowkitError, LogPKind, NoiseSpec
from glowkit.core.bijection import being_captured, whole
from glowkit.core.checking import check_device, check_tensor
from glowkit.nets.gated import Dropout

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class _Given(Density):
    """Another density, which sees what `given` makes of the context."""

    density: Density

    @property
    def log_p_kind(self) -> LogPKind:
        return self.density.log_p_kind

    @abstractmethod
    def given(self, context: Tensor | None, examples: int) -> Tensor:
        """What the density inside sees, for so many examples."""

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> tuple[list[Tensor], Tensor]:
        return self.density.encode(x, self.given(context, x.shape[0]), generator)

    def log_prob(
        self, x: Tensor, context: Tensor | None = None, generator: Generator = None
    ) -> Tensor:
        return self.density.log_prob(x, self.given(context, x.shape[0]), generator)

    def decode(
        self, noises: Sequence[Tensor], context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.density.decode(noises, self.given(context, noises[0].shape[0]))

    def noise_specs(self) -> list[NoiseSpec]:
        return self.density.noise_specs()


class WithLabels(_Given):
    """Turn integer labels (N,) into one-hot vectors (N, classes) for everything inside.

    In training a label is left out with probability `dropout`: the vector is then `no_label`, the
    same number for every class, which a linear layer turns into the mean of what it makes of the
    classes. So one network learns log p(x | class) and log p(x), as `glowkit.guided` needs (Ho and
    Salimans 2022; with that mean, Zhai et al. 2024).

    Raises:
        GlowkitError: when labels are missing, not one for each image, or not in 0..classes−1.
    """

    def __init__(self, classes: int, density: Density, dropout: float = 0.0) -> None:
        super().__init__()
        self.classes = classes
        self.density = density
        self.keep = Dropout(dropout)
        self.shape, self.levels = density.shape, density.levels

    def given(self, context: Tensor | None, examples: int) -> Tensor:
        """One-hot vectors of the labels, (N, classes), in the model's dtype."""
        labels, last = context, self.classes - 1
        if labels is None:
            raise GlowkitError(
                f"this model is conditional: give each image a class label from 0 to {last}"
            )
        check_tensor(labels, "class labels")
        if tuple(labels.shape) != (examples,) or labels.dtype not in INTEGERS:
            raise GlowkitError(
                f"class labels must be one integer for each of {examples} image(s), not"
                f" {tuple(labels.shape)} of {labels.dtype}"
            )
        check_device(labels, self.anchor)
        numbers = whole(labels)
        wrong = None if being_captured(labels) else numbers[(numbers < 0) | (numbers > last)]
        if wrong is not None and len(wrong):
            raise GlowkitError(
                f"class {int(wrong[0])} does not exist; this model has {self.classes} classes,"
                f" 0 to {last}"
            )
        # `F.one_hot` looks at values, which `torch.vmap` does not let it do.
        one_hot = labels[:, None] == torch.arange(self.classes, device=labels.device)
        vectors = one_hot.to(self.anchor)
        if not self.training or self.keep.p == 0:
            return vectors
        kept = self.keep(torch.ones_like(vectors[:, :1])) > 0
        return torch.where(kept, vectors, no_label(vectors))

    def extra_repr(self) -> str:
        return f"{self.classes} classes"


def no_label(vectors: Tensor) -> Tensor:
    """What stands for one-hot vectors (N, classes) where no class is said: 1 / classes each."""
    return torch.full_like(vectors, 1 / vectors.shape[1])


class WithVectors(_Given):
    """Check context vectors (N, features), such as angles or attributes, for everything inside.

    log p(x | c) is that of the density inside. Scale each feature to be of order one: they reach
    the networks as they are.

    Raises:
        GlowkitError: when vectors are missing, of another shape, not numbers with fractions, or
            hold NaN or infinity.

    >>> from glowkit.densities import StandardNormal
    >>> WithVectors(2, StandardNormal((3,))).log_prob(torch.zeros(1, 3), torch.zeros(1, 2)).shape
    torch.Size([1])
    """

    def __init__(self, features: int, density: Density) -> None:
        super().__init__()
        self.features = features
        self.density = density
        self.shape, self.levels = density.shape, density.levels

    def given(self, context: Tensor | None, examples: int) -> Tensor:
        """The vectors in the model's dtype."""
        vectors = context
        if vectors is None:
            raise GlowkitError(
                f"this model is conditional: give each example a context of"
                f" {self.features} number(s)"
            )
        check_tensor(vectors, "the context")
        if tuple(vectors.shape) != (examples, self.features) or not vectors.is_floating_point():
            raise GlowkitError(
                f"the context must be {self.features} floating-point number(s) for each of"
                f" {examples} example(s), not {tuple(vectors.shape)} of {vectors.dtype}"
            )
        check_device(vectors, self.anchor)
        if not being_captured(vectors) and not whole(vectors).isfinite().all():
            raise GlowkitError("the context holds NaN or infinity; every number must be finite")
        return vectors.to(self.anchor)

    def extra_repr(self) -> str:
        return f"{self.features} features"


def context_sizes(model: nn.Module) -> tuple[int, int]:
    """How many class labels, and how many numbers of vectors, a model is given; 0 for none."""
    parts = list(model.modules())
    classes = sum(part.classes for part in parts if isinstance(part, WithLabels))
    return classes, sum(part.features for part in parts if isinstance(part, WithVectors))


class WithContext(_Given):
    """Give everything inside net(context) as its context: p(x | net(context)).

    The network is evaluated once a call, however many couplings read its features. Shapes and cost
    are the network's and the density's.

    Raises:
        GlowkitError: without a context.
    """

    def __init__(self, net: nn.Module, density: Density) -> None:
        super().__init__()
        self.net = net
        self.density = density
        self.shape, self.levels = density.shape, density.levels

    def given(self, context: Tensor | None, examples: int) -> Tensor:
        if context is None:
            raise GlowkitError("this density needs a context and got none")
        return self.net(context)
