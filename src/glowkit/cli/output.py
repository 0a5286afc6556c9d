"""Where images go: a sheet, single files, or an array, by the name of the output."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glowkit.cli.common import MOST_NAMED, say_broken
from glowkit.core.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

KINDS = (
    "A .png for a sheet, .npy or .npz for an array (N, C, H, W), else a folder of PNG files. Images"
    " that could not be computed are hatched; in an array such values are 0, and the array broken"
    " of a .npz tells of the images, a note and --json of their numbers."
)
OFF_A_SHEET = "name a folder, .npy or .npz with --out"
OTHERS = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
MOST_TILES = 1000  # on a sheet


def is_sheet(out: Path) -> bool:
    """Whether images go onto one sheet."""
    return out.suffix.lower() == ".png"


def is_array(out: Path) -> bool:
    """Whether images go into an array."""
    return out.suffix.lower() in (".npy", ".npz")


def check_sheet(tiles: int, instead: str = "ask for fewer") -> None:
    """Refuse a sheet of so many images that nobody could look at it; `instead` says what to do."""
    if tiles > MOST_TILES:
        raise GlowkitError(
            f"{tiles} images do not fit on a sheet, which takes {MOST_TILES}; {instead}"
        )


def check_png(out: Path | None) -> None:
    """Refuse another name for what is a PNG file."""
    if out is not None and not is_sheet(out):
        raise GlowkitError(f"this command draws a PNG, not {out.name}; give --out a name in .png")


def check_out(out: Path) -> None:
    """Refuse other kinds of files, and a folder whose files would mix with the new ones."""
    if out.suffix.lower() in OTHERS:
        raise GlowkitError(f"images are not written as {out.suffix}; give a .png, .npy or .npz")
    if out.is_dir() and any(out.iterdir()):
        raise GlowkitError(f"{out} exists already; give a new folder with --out")


def write_images(
    batches: "Iterable[tuple[Tensor, Tensor]]",
    out: Path,
    count: int,
    shape: tuple[int, ...],
    levels: int,
    remedy: str = "",
) -> dict[str, Any]:
    """Write `count` images (C, H, W) that come in batches; memory is that of a batch.

    batches: images, and which of them could not be computed, (N,). An array has the integers
    themselves, a .npz file beside them the mask `broken`, and `levels`. PNG files have 8 bits a
    channel: what a person sees. Says how many are broken, and returns it and their numbers for
    --json.
    """
    number, digits = 0, len(str(count - 1))
    broken: list[bool] = []
    if is_array(out):
        from glowkit.tasks.arrays import writing_rows

        dtype = "uint8" if levels <= 256 else "int32"
        others = {"broken": broken, "levels": levels}
        with writing_rows(out, "images", (count, *shape), dtype, others) as append:
            for batch, lost in batches:
                append(batch.cpu().numpy())
                broken += lost.tolist()
        shown = "their values that are not finite are 0 in the array"
    else:
        from glowkit.tasks.sheet import picture, save_png

        for batch, lost in batches:
            for image, mark in zip(batch, lost.tolist(), strict=True):
                save_png(picture(image, levels, mark), out / f"{number:0{digits}d}.png")
                number += 1
            broken += lost.tolist()
        shown = "they are hatched"
    import torch

    indices = [index for index, lost in enumerate(broken) if lost]
    named = ", ".join(map(str, indices[:MOST_NAMED])) + ", ..." * (len(indices) > MOST_NAMED)
    said = say_broken([torch.tensor(broken)], remedy, f"{shown}: {named}")
    return {**said, "broken_indices": indices}


def write_sheet(
    batches: "Iterable[tuple[Tensor, Tensor]]",
    out: Path,
    levels: int,
    remedy: str = "",
    columns: int = 10,
) -> dict[str, int]:
    """Write images that come in batches, as for `write_images`, as one sheet without labels."""
    import torch

    from glowkit.tasks.sheet import image_sheet, save_png

    images, broken = (torch.cat(parts).cpu() for parts in zip(*batches, strict=True))
    rows = [("", row) for row in images.split(columns)]
    save_png(image_sheet(rows, levels, broken=broken.split(columns)), out)
    return say_broken([broken], remedy)
