"""Where images go: a sheet, single files, or an array, by the name of the output."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from glowkit.core.errors import GlowkitError

if TYPE_CHECKING:
    from torch import Tensor

KINDS = "A .png for a sheet, .npy or .npz for an array (N, C, H, W), else a folder of PNG files."
OFF_A_SHEET = "name a folder, .npy or .npz with --out"
OTHERS = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
MOST_TILES = 1000  # on a sheet


def is_sheet(out: Path) -> bool:
    """Whether images go onto one sheet."""
    return out.suffix.lower() == ".png"


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
    batches: "Iterable[Tensor]", out: Path, count: int, shape: tuple[int, ...], levels: int
) -> None:
    """Write `count` images (C, H, W) that come in batches; memory is that of a batch.

    An array has the integers themselves. PNG files have 8 bits a channel: what a person sees.
    """
    if out.suffix.lower() in (".npy", ".npz"):
        from glowkit.tasks.arrays import writing_rows

        dtype = "uint8" if levels <= 256 else "int32"
        with writing_rows(out, "images", (count, *shape), dtype, {}) as append:
            for batch in batches:
                append(batch.cpu().numpy())
        return

    from glowkit.tasks.sheet import save_png, to_pil

    number, digits = 0, len(str(count - 1))
    for batch in batches:
        for image in batch:
            save_png(to_pil(image, levels), out / f"{number:0{digits}d}.png")
            number += 1


def write_sheet(batches: "Iterable[Tensor]", out: Path, levels: int, columns: int = 10) -> None:
    """Write images that come in batches as one sheet without labels."""
    import torch

    from glowkit.tasks.sheet import image_sheet, save_png

    images = torch.cat([batch.cpu() for batch in batches])
    save_png(image_sheet([("", row) for row in images.split(columns)], levels), out)
