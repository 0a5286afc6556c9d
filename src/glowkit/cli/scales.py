"""`glowkit scales`: what each scale of the latents holds."""

from pathlib import Path
from typing import Annotated

import typer

from glowkit.cli.common import DEVICE, JSON, SEED, open_model, show_json
from glowkit.cli.naming import LABEL, NAMES, named_images


def scales(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or model folder.")],
    images: Annotated[list[str] | None, NAMES] = None,
    temperature: Annotated[float, typer.Option(min=0, help="Of the fresh noise.")] = 0.7,
    label: Annotated[int | None, LABEL] = None,
    out: Annotated[
        Path | None, typer.Option(help="PNG to write; by default RUN/samples/scales.png.")
    ] = None,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Keep only the coarse scales of images and draw the finer ones afresh.

    A row for each image; from column to column one scale less is kept, the finest first. What
    stays the same is what the kept scales hold.

    Example: `glowkit scales runs/digits-glow-tiny test:0-7`
    """
    from glowkit.cli.output import check_sheet

    opened = open_model(run, device)
    batch, context = named_images(opened, images or ["test:0-7"], label)
    check_sheet(len(batch) * (len(opened.model.noise_specs()) + 1))

    import torch

    from glowkit.core import MIDPOINT
    from glowkit.tasks import keep_coarse
    from glowkit.tasks.sheet import image_sheet, save_png

    model = opened.model
    columns = []
    with torch.no_grad():
        noises, _ = model.encode(batch, context, MIDPOINT)
        for kept in range(len(noises), -1, -1):
            generator = torch.Generator(opened.device).manual_seed(seed)
            changed = keep_coarse(model, noises, kept, temperature, generator)
            columns.append(model.decode(changed, context)[0])
    rows = [
        ("scales kept:" if i == 0 else "", row) for i, row in enumerate(torch.stack(columns, 1))
    ]
    headings = [f"{kept} of {len(noises)}" for kept in range(len(noises), -1, -1)]
    out = out or run / "samples" / "scales.png"
    save_png(image_sheet(rows, model.config.pixel_levels, headings=headings), out)
    if as_json:
        show_json({"images": len(batch), "scales": len(noises), "path": str(out)})
    else:
        print(f"{len(batch)} image(s), {len(noises)} scale(s): {out}")
