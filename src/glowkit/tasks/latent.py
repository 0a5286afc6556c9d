"""Latents: encoded images as one vector, paths between them, and their files."""

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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


Course = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From latents (..., D), to latents (..., D), and t (..., 1): a at t = 0 and b at t = 1."""


def linear(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(1 − t) a + t b. Halfway, latents are shorter than any that the model draws.

    >>> linear(torch.tensor([0.0]), torch.tensor([4.0]), torch.tensor([0.25]))
    tensor([1.])
    """
    return (1 - t) * a + t * b


def spherical(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """[sin((1 − t) ω) a + sin(t ω) b] / sin ω, ω the angle between a and b (Shoemake 1985).

    Latents keep the length of what the model draws all the way. Linear where a and b have almost
    the same or the opposite direction, of which no arc follows.

    >>> spherical(torch.tensor([1.0, 0]), torch.tensor([0, 1.0]), torch.tensor([0.5]))
    tensor([0.7071, 0.7071])
    """
    angle = F.cosine_similarity(a, b, dim=-1)[..., None].clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine
    return torch.where(sine > 1e-3, arc, linear(a, b, t))


PATHS: dict[str, Course] = {"linear": linear, "spherical": spherical}


def legs(keys: Tensor, frames: int, path: Course) -> Tensor:
    """From each latent to the next: (K, D) to (K − 1, frames, D), both ends included.

    >>> legs(torch.tensor([[0.0], [1.0], [3.0]]), 3, linear).squeeze(-1).tolist()
    [[0.0, 0.5, 1.0], [1.0, 2.0, 3.0]]
    """
    if len(keys) < 2:
        raise GlowkitError(f"a path needs at least 2 images, not {len(keys)}")
    return path(keys[:-1, None], keys[1:, None], _fractions(frames, keys)[:, None])


def grid(keys: Tensor, side: int, path: Course) -> Tensor:
    """Between four corners: (4, D), in reading order, to (side, side, D).

    >>> grid(torch.tensor([[0.0], [2.0], [4.0], [6.0]]), 3, linear).squeeze(-1).tolist()
    [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [4.0, 5.0, 6.0]]
    """
    t = _fractions(side, keys)
    return inside(keys, t, t, path)


def inside(keys: Tensor, x: Tensor, y: Tensor, path: Course) -> Tensor:
    """The square between four corners at x (X,) to the right and y (Y,) down: (4, D) to (Y, X, D).

    Along the sides down first, then across: with `linear`, bilinear interpolation.

    >>> corners = torch.tensor([[0.0], [2.0], [4.0], [6.0]])
    >>> inside(corners, torch.tensor([0.5]), torch.tensor([0.25]), linear).squeeze().item()
    2.0
    """
    if len(keys) != 4:
        raise GlowkitError(f"a grid has 4 corners, not {len(keys)}; give 4 images")
    left, right = path(keys[0], keys[2], y[:, None]), path(keys[1], keys[3], y[:, None])
    return path(left[:, None], right[:, None], x[:, None])


def _fractions(frames: int, like: Tensor) -> Tensor:
    check_count(frames, "the number of frames", least=0)
    if frames < 2:
        raise GlowkitError(f"cannot draw a path in {frames} frame(s); give 2 or more")
    return torch.linspace(0, 1, frames, dtype=like.dtype, device=like.device)


@torch.no_grad()
def interpolate(
    model: Density,
    noises: Sequence[Tensor],
    frames: int,
    path: Course = spherical,
    shape: Callable[[Tensor, int, Course], Tensor] = legs,
    context: Tensor | None = None,
    batch_size: int = 100,
) -> tuple[Tensor, Tensor]:
    """Decode the paths between K examples given as noises: images (K − 1, frames, C, H, W), log p.

    log p, (K − 1, frames) in nats, is not finite where the inverse of a poor model overflows, of
    which integer images say nothing. All noises of an example are one vector, so that its scales go
    together. Each frame has the context of the example it is nearest to. Costs a decoding of every
    frame.

    Args:
        shape: `legs`, from each example to the next, or `grid`, between the corners of a square.

    Raises:
        GlowkitError: for fewer than 2 frames, or a number of examples that `shape` cannot take.

    >>> from glowkit.densities import StandardNormal
    >>> ends = [torch.tensor([[0.0, 1.0], [2.0, 3.0]])]
    >>> interpolate(StandardNormal((2,)), ends, 3, linear)[0][0].tolist()
    [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    keys = join(noises)
    check_count(batch_size, "batch_size")
    if context is not None and len(context) != len(keys):
        raise GlowkitError(
            f"there are {len(keys)} examples and {len(context)} contexts; give one for each"
        )
    latents = shape(keys, frames, path)
    every = latents.flatten(0, -2)
    nearest = shape(torch.eye(len(keys), device=keys.device), frames, linear).argmax(-1).flatten()
    decoded = [
        model.decode(part(model, every[rows]), None if context is None else context[nearest[rows]])
        for rows in torch.arange(len(every), device=keys.device).split(batch_size)
    ]
    images, log_p = (torch.cat(parts) for parts in zip(*decoded, strict=True))
    return images.unflatten(0, latents.shape[:-1]), log_p.reshape(latents.shape[:-1])


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
