"""`glowkit compare`: several models on the same noise."""

from pathlib import Path
from typing import Annotated, Any

import typer

from glowkit.cli import completion
from glowkit.cli.common import DEVICE, JSON, NO_KERNELS, OWN, SEED, say_broken, show_json
from glowkit.cli.opened import Opened, open_image_model, open_images
from glowkit.cli.speech import QUIET, say
from glowkit.system.errors import GlowkitError


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN ...",
            help="Runs, models, or hf:USER/NAME.",
            autocompletion=completion.runs,
        ),
    ],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Images a row.")] = 10,
    temperature: Annotated[float, typer.Option(min=0, help="Of the noise.")] = 0.7,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("comparison.png"),
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Draw samples of several models from the same noise, a row each, beside their bits/dim.

    Bits/dim are those of the test split of each run's own data; model folders have none.

    Example: `glowkit compare runs/steps-2 runs/steps-4 runs/steps-8 runs/steps-16`
    """
    from glowkit.cli.evaluate import assess
    from glowkit.cli.images import check_png, check_sheet

    check_png(out)
    check_sheet(count * len(runs))
    models = [open_image_model(run, device) for run in runs]
    _check(models)

    from glowkit.pictures.sheet import image_sheet, save_png
    from glowkit.tasks.latent import classes_in_turn, sampled
    from glowkit.tasks.likelihood import SIGNS

    rows, figures, every = [], [], []
    for opened in models:
        context, generator = classes_in_turn(opened.model, count), opened.generator(seed)
        images, broken = sampled(opened.model, count, temperature, context, generator)
        every.append(broken.cpu())
        name = opened.title
        objective = opened.objective
        about: dict[str, Any] = {"run": opened.name, objective.figure: None}
        about["broken_samples"] = int(broken.sum())
        if opened.run is not None:
            about |= assess(opened, open_images(opened, None), "test", 1, 100, seed)
            about["split"] = "test"
            mean = f"{SIGNS[about['kind']]} {about[objective.figure]:.3f}"
            name += f"  {mean} ± {about['standard_error']:.3f} {objective.unit}"
        rows.append((name, images.cpu()))
        figures.append(about)
    levels = models[0].pixel_levels
    save_png(image_sheet(rows, levels, broken=every), out)
    said = say_broken(every)
    if as_json:
        about = {"runs": figures, "samples": count, "temperature": temperature, "seed": seed}
        show_json(about | said | {"path": str(out)})
    else:
        for (name, _), about in zip(rows, figures, strict=True):
            measured = f" on {about['images']} test images" if "images" in about else ""
            say(f"{name}{measured}, {levels} levels")
        say(f"{count} samples of each of {len(rows)} model(s) from the same noise: {out}")


def _check(models: list[Opened]) -> None:
    """Refuse models that cannot be given the same noise."""
    first, *others = models
    for other in others:
        for what, one, two in (
            ("noises", first.model.noise_specs(), other.model.noise_specs()),
            ("pixel levels", first.pixel_levels, other.pixel_levels),
        ):
            if one != two:
                raise GlowkitError(
                    f"{first.name} and {other.name} have different {what}, so that they cannot"
                    " be compared; train them with the same data and number of levels"
                )
