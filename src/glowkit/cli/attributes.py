"""`glowkit attributes`: where in the latent space the attributes of images lie."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import DATA, DEVICE, JSON, NO_KERNELS, OWN, RUN, SEED, show_json
from glowkit.cli.opened import Opened, open_image_model, open_images
from glowkit.cli.speech import QUIET, hint, say
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from glowkit.data import AttributeTable, Source
    from glowkit.tasks import Attributes

FILE = "attributes.safetensors"
COPY = "make a copy with hf download USER/NAME --local-dir FOLDER, and take that as RUN"


def attributes(
    run: Annotated[Path, RUN],
    source: Annotated[str | None, DATA] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Attributes of image files; CelebA's list, for example."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="mean (difference) or logistic (regression).")
    ] = "mean",
    orthogonal_to: Annotated[
        list[str] | None,
        typer.Option("--orthogonal-to", metavar="NAME", help="Leave alone what NAME measures."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 100,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Find the direction of each attribute from training images, for `glowkit edit`.

    Attributes are the columns of --labels, or what the data says by itself (emoji), or else its
    classes. AUROC says how well a direction tells test images that have the attribute from those
    that lack it: 0.5 is chance.

    Example: `glowkit attributes runs/celeba celeba/ --labels celeba/list_attr_celeba.csv`
    """
    from glowkit.data.labelled import check_is_file
    from glowkit.tasks import save_attributes
    from glowkit.tasks.directions import METHODS

    if method not in METHODS:
        raise GlowkitError(f"method {method!r} does not exist; choose one of {', '.join(METHODS)}")
    opened = open_image_model(run, device)
    if labels is not None:
        check_is_file(labels)  # said before data are opened, which may take long
    out = opened.within(FILE, instead=COPY)
    data = open_images(opened, source)
    found, left_out = _fit(opened, data, labels, method, orthogonal_to or [], batch_size, seed)
    save_attributes(found, out, weights_of(opened))
    if as_json:
        rows = zip(found.names, found.positives, found.negatives, found.auroc, strict=True)
        table = {n: {"positives": p, "negatives": q, "auroc": a} for n, p, q, a in rows}
        about = {"run": str(run), "data": data.name, "seed": seed, "method": method}
        show_json(about | {"attributes": table, "left_out": left_out, "path": str(out)})
        return
    _print(found)
    if left_out:
        say(f"left out, with fewer than 2 images of either kind: {', '.join(left_out)}")
    say(f"{method} directions: {out}")
    hint(f"next: glowkit edit {run} test:0-3 --attribute {found.names[0]}=0.6")


def weights_of(opened: Opened) -> str:
    """A digest of a model's weights, so that directions are not taken for another's."""
    import hashlib

    from glowkit.models.store import model_folder

    with open(model_folder(opened.folder) / "model.safetensors", "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fit(
    opened: Opened,
    data: "Source",
    labels: Path | None,
    method: str,
    orthogonal_to: list[str],
    batch_size: int,
    seed: int,
) -> "tuple[Attributes, list[str]]":
    """The attributes of the training split, judged on the test split; names of those left out."""
    import torch

    from glowkit.cli.opened import split_batches
    from glowkit.data import attributes_of
    from glowkit.tasks import Attributes, bits_per_dim, orthogonal, separation
    from glowkit.tasks.attributes import find_name
    from glowkit.tasks.directions import METHODS

    train = attributes_of(data, "train", labels)
    positives, negatives = (train.values > 0).sum(0), (train.values < 0).sum(0)
    enough = (positives > 1) & (negatives > 1)
    left_out = [name for name, kept in zip(train.names, enough, strict=True) if not kept]
    names = tuple(name for name in train.names if name not in left_out)
    if not names:
        raise GlowkitError(
            f"{data.name} has no attribute with 2 training images that have it and 2 that lack it"
        )
    for name in orthogonal_to:  # refused before the long pass
        find_name(names, name)
    directions = METHODS[method](_latents(opened, data, "train", train, enough, batch_size))
    found = Attributes(
        names,
        directions,
        tuple(positives[enough].tolist()),
        tuple(negatives[enough].tolist()),
        (),
        torch.zeros(101),
        method,
    )
    if orthogonal_to:
        found = orthogonal(found, orthogonal_to)
    held_out = attributes_of(data, "test", labels)
    auroc = separation(
        found.directions, _latents(opened, data, "test", held_out, enough, batch_size)
    )
    generator = opened.generator(seed)
    with torch.no_grad():
        bits = torch.cat(
            [
                bits_per_dim(opened.model, images, context, generator).cpu()
                for images, context in split_batches(opened, data, "test", batch_size)
            ]
        )
    return found.judged(auroc, bits), left_out


def _latents(
    opened: Opened,
    data: "Source",
    split: str,
    table: "AttributeTable",
    kept: "np.ndarray",
    batch_size: int,
) -> "Iterator[tuple[Tensor, Tensor]]":
    import torch

    from glowkit.cli.opened import split_batches
    from glowkit.core import MIDPOINT
    from glowkit.tasks import join

    values = torch.from_numpy(table.values[:, kept])
    start = 0
    for images, context in split_batches(opened, data, split, batch_size):
        with torch.no_grad():
            noises, _ = opened.model.encode(images, context, MIDPOINT)
        yield join(noises), values[start : start + len(images)]
        start += len(images)


def _print(found: "Attributes") -> None:
    width = max(map(len, ("attribute", *found.names)))
    say(f"{'attribute':<{width}}  {'have it':>9}  {'lack it':>9}  AUROC")
    for name, has, lacks, area in zip(
        found.names, found.positives, found.negatives, found.auroc, strict=True
    ):
        told = "-" if math.isnan(area) else f"{area:.3f}"
        say(f"{name:<{width}}  {has:>9,}  {lacks:>9,}  {told:>5}")
