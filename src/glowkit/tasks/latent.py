"""Latents: encoded images as one vector, what decodes and draws them, and their files."""

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from glowkit.bijections import TokenAutoregressive
from glowkit.core import Density, Generator, GlowkitError
from glowkit.core.checking import check_count
from glowkit.core.finite import broken_examples, finite_examples
from glowkit.densities import Noisy, Ordinal
from glowkit.system.arrays import npz_arrays
from glowkit.system.files import replacing
from glowkit.tasks.guidance import cleaned


def join(noises: Sequence[Tensor]) -> Tensor:
    """The noises of N examples as vectors (N, D), in the order `encode` returns them.

    >>> join([torch.zeros(5, 2, 4, 4), torch.zeros(5, 4, 2, 2)]).shape
    torch.Size([5, 48])
    """
    return torch.cat([noise.flatten(1) for noise in noises], dim=1)


def part(model: Density, latents: Tensor) -> list[Tensor]:
    """Undo `join`: vectors (N, D) as the list of noises that `decode` takes.

    Raises:
        GlowkitError: when D is not what the model's noises add up to.

    >>> from glowkit.densities import StandardNormal
    >>> [noise.shape for noise in part(StandardNormal((1, 2, 2)), torch.zeros(5, 4))]
    [torch.Size([5, 1, 2, 2])]
    """
    sizes = noise_sizes(model)
    if latents.shape[1:] != (sum(sizes),):
        raise GlowkitError(
            f"latents have shape {tuple(latents.shape)}, but this model takes (N, {sum(sizes)})"
        )
    parts = latents.split(sizes, dim=1)
    return [
        noise.reshape(-1, *spec.shape)
        for noise, spec in zip(parts, model.noise_specs(), strict=True)
    ]


def noise_sizes(model: Density) -> list[int]:
    """How many dimensions each noise of a model has, the finest scale first."""
    return [math.prod(spec.shape) for spec in model.noise_specs()]


def check_meaning(model: Density) -> None:
    """Refuse a model whose noise says where in its interval each value lies, given those before it.

    Its latents are exact, and can be kept, drawn and decoded, but no direction among them means
    anything: what a number does depends on all that come before.

    Raises:
        GlowkitError: for an autoregressive model of images.
    """
    if any(isinstance(module, Ordinal | TokenAutoregressive) for module in model.modules()):
        raise GlowkitError(
            "the noise of an autoregressive model is not a semantic latent: each number only says"
            " where a pixel is in its distribution given those before it, so there is nothing to"
            " interpolate, edit or split by scales; use another family, such as Glow"
        )


def decoded(
    model: Density, noises: Sequence[Tensor], context: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What `decode` makes of the noises, and which of it could not be computed, (N,) bool."""
    x, log_p = model.decode(noises, context)
    return x, broken_examples(x, log_p)


@torch.no_grad()
def sampled(
    model: Density,
    count: int,
    temperature: float,
    context: Tensor | None,
    generator: Generator,
    decoder: Density | None = None,
    clean: bool = True,
) -> tuple[Tensor, Tensor]:
    """Samples, and which of them could not be computed, (N,) bool.

    decoder: makes them of the model's noises instead of it, such as one that is `guided`. clean:
    take the noise out that a `Noisy` model was trained with.
    """
    noises = model.draw_noises(count, temperature, generator)
    if clean:
        return shown(model, noises, context, decoder)
    return decoded(decoder or model, noises, context)


def shown(
    model: Density,
    noises: Sequence[Tensor],
    context: Tensor | None = None,
    decoder: Density | None = None,
) -> tuple[Tensor, Tensor]:
    """Samples of these noises as a person is to see them, and which are broken.

    That is `decoded`, but for a model that was trained on noisy images, whose noise is taken out.
    """
    if isinstance(model, Noisy) and (decoder is None or isinstance(decoder, Noisy)):
        return cleaned(model, noises, context, decoder)
    return decoded(decoder or model, noises, context)


def classes_in_turn(model: Density, count: int) -> Tensor | None:
    """The context of so many samples: the classes in turn, None for a model without any."""
    classes = model.classes
    return torch.arange(count, device=model.anchor.device) % classes if classes else None


def check_latents(latents: Tensor) -> None:
    """Refuse latents (N, D), or what was made of them, that are not numbers.

    Raises:
        GlowkitError: with their number.
    """
    wrong = int((~finite_examples(latents)).sum())
    if wrong:
        raise GlowkitError(
            f"{wrong} of {len(latents)} images in a batch have latents that are not finite, from"
            " which no direction can be told; train the model longer"
        )


@torch.no_grad()
def keep_coarse(
    model: Density,
    noises: Sequence[Tensor],
    kept: int,
    temperature: float = 1.0,
    generator: Generator = None,
) -> list[Tensor]:
    """Keep the noises of the `kept` coarsest scales, and draw the finer ones afresh.

    What stays the same in decode(keep_coarse(encode(x))) is what the coarse scales hold. The fresh
    noise depends on the generator alone, not on `kept`. Source: RealNVP, figure 8.

    Raises:
        GlowkitError: when `kept` is not from 0 to the number of noises.
    """
    check_count(kept, "the number of scales to keep", least=0)
    if kept > len(noises):
        raise GlowkitError(f"cannot keep {kept} scales; this model has {len(noises)}")
    fresh = model.draw_noises(len(noises[0]), temperature, generator)
    dropped = len(noises) - kept
    return [*fresh[:dropped], *noises[dropped:]]


Append = Callable[[np.ndarray], None]


@contextmanager
def writing_rows(
    path: Path, name: str, shape: tuple[int, ...], dtype: Any, others: Mapping[str, Any]
) -> Iterator[Append]:
    """Write one large array in pieces, of which only one is in memory.

    Yields a function that appends rows. The file is a .npy, or a .npz with the array under `name`
    and `others`, small arrays or lists of rows that may grow while the block runs; it takes its
    name only when the block ends well.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "numbers.npz"
    >>> with writing_rows(file, "x", (4, 2), "int64", {"y": [1, 2]}) as append:
    ...     append(np.zeros((3, 2), "int64"))
    ...     append(np.ones((1, 2), "int64"))
    >>> np.load(file)["x"].sum(1).tolist(), np.load(file)["y"].tolist()
    ([0, 0, 0, 2], [1, 2])
    """
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    with replacing(path) as temporary, ExitStack() as stack:
        archive = None
        file: IO[bytes]
        if path.suffix.lower() == ".npz":
            archive = stack.enter_context(zipfile.ZipFile(temporary, "w"))
            file = stack.enter_context(archive.open(f"{name}.npy", "w", force_zip64=True))
        else:
            file = stack.enter_context(open(temporary, "wb"))
        np.lib.format.write_array_header_1_0(file, header)
        written = 0

        def append(rows: np.ndarray) -> None:
            nonlocal written
            written += len(rows)
            file.write(np.ascontiguousarray(rows, dtype).tobytes())

        yield append
        assert written == shape[0], f"{written} rows of {shape[0]}"
        if archive is not None:
            file.close()
            for other, array in others.items():
                with archive.open(f"{other}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


class Rows:
    """One array of a .npz file, read in pieces.

    Raises GlowkitError when the file is missing, damaged, or holds no such array of numbers.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        arrays = npz_arrays(path)
        if name not in arrays:
            held = ", ".join(sorted(arrays)) or "nothing"
            raise GlowkitError(
                f"{path} has no array {name!r}, but {held}; `glowkit encode` writes files that have"
            )
        self._stored = arrays[name]
        self.shape = self._stored.shape
        self.dtype = np.dtype(self._stored.type)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """The array, `size` rows at a time, in the byte order of this processor."""
        native = self.dtype.newbyteorder("=")
        if not self.shape:
            raise GlowkitError(f"{self._stored.title} is a single number, not rows")
        if self._stored.fortran_order:  # columns come first, so that no row is whole early
            for data in self._stored.pieces(size):
                whole = np.frombuffer(data, self.dtype).reshape(self.shape, order="F")
                yield from (
                    whole[at : at + size].astype(native) for at in range(0, len(whole), size)
                )
            return
        for data in self._stored.pieces(size):
            rows = np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])
            yield rows.astype(native, copy=False)
