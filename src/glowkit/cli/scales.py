"""`glowkit scales`: what each scale of the latents holds."""

from pathlib import Path
from typing import Annotated

import typer

from glowkit.cli.common import (
    DEVICE,
    JSON,
    NO_KERNELS,
    OWN,
    RUN,
    SEED,
    say_broken,
    show_json,
)
from glowkit.cli.images import LABEL, NAMES, name_each, named_images
from glowkit.cli.opened import open_image_model, open_images
from glowkit.cli.speech import QUIET, say


def scales(
    run: Annotated[Path, RUN],
    images: Annotated[list[str] | None, NAMES] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="Columns of fresh noise a scale.")
    ] = 3,
    temperature: Annotated[float, typer.Option(min=0, help="Of the fresh noise.")] = 0.7,
    label: Annotated[str | None, LABEL] = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write; by default RUN/samples/scales.png.")
    ] = None,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Keep only the coarse scales of images and draw the finer ones afresh.

    A row for each image, by default the first eight of the test split. The first column keeps all
    scales; then the finest are drawn afresh, one more at a time. What stays the same is what the
    kept scales hold.

    Example: `glowkit scales runs/digits-glow-tiny test:0-7`
    """
    from glowkit.cli.images import check_png, check_sheet
    from glowkit.tasks.latent import check_meaning

    check_png(out)
    opened = open_image_model(run, device)
    check_meaning(opened.model)
    out = out or opened.within("samples", "scales.png")
    names = images or [f"test:0-{min(8, len(open_images(opened, None).splits['test'])) - 1}"]
    batch, context = named_images(opened, names, label)
    check_sheet(len(batch) * (len(opened.model.noise_specs()) * count + 1))

    import torch

    from glowkit.core import MIDPOINT
    from glowkit.pictures.sheet import image_sheet, save_png
    from glowkit.tasks import keep_coarse
    from glowkit.tasks.latent import decoded

    model = opened.model
    columns, headings, broken = [], [], []
    with torch.no_grad():
        noises, _ = model.encode(batch, context, MIDPOINT)
        for kept in range(len(noises), -1, -1):
            generator = opened.generator(seed)
            for _ in range(count if kept < len(noises) else 1):
                changed = keep_coarse(model, noises, kept, temperature, generator)
                drawn, lost = decoded(model, changed, context)
                columns.append(drawn.cpu())
                broken.append(lost.cpu())
                headings.append(f"keep {kept}")
    rows = list(zip(name_each(names), torch.stack(columns, 1), strict=True))
    marks = list(torch.stack(broken, 1))
    save_png(image_sheet(rows, opened.pixel_levels, headings=headings, broken=marks), out)
    said = say_broken(broken)
    if as_json:
        asked = {"run": str(run), "seed": seed, "temperature": temperature}
        about = {"images": len(batch), "scales": len(noises), "levels": opened.pixel_levels}
        show_json(asked | about | said | {"path": str(out)})
    else:
        say(f"{len(batch)} image(s), {len(noises)} scale(s): {out}")
