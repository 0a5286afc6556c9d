"""`glowkit anomalies`: what is unusual to a model, and which scores find outside examples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glowkit.cli import completion
from glowkit.cli.anomaly_findings import Examples, Found, figures_of, flagged
from glowkit.cli.common import (
    DEVICE,
    JSON,
    NO_KERNELS,
    OWN,
    RUN,
    SEED,
    bar,
    check_page,
    refuse_given,
    show_json,
)
from glowkit.cli.opened import Opened, open_data, open_model, split_of
from glowkit.cli.speech import QUIET, say, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from glowkit.core import Density
    from glowkit.data import AnySource

ALL = "all"
RANKS = ("complexity", "dose", "latent", "typicality")
"""The scores by which examples are ranked where none is named, the first there is."""


def anomalies(
    run: Annotated[Path, RUN],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="Data or an image file to score; by default the test split of the run's own.",
            autocompletion=completion.data,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Data to be found, DATA being usual: gives AUROCs."),
    ] = None,
    scores: Annotated[
        str, typer.Option(help="all, or names with commas; examples are ranked by the first.")
    ] = ALL,
    background: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Run of `train --perturb`, for the score ratio."),
    ] = None,
    ensemble: Annotated[
        str | None,
        typer.Option(metavar="RUN,RUN", help="Runs of other seeds, for the score waic."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Data whose validation split says what is usual; by default the run's own.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Of DATA; by default test of the run's own, else all.")
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="Examples of each set, evenly spread.")
    ] = 500,
    importance: Annotated[
        int | None, typer.Option(min=1, help="Dequantization draws an image (8).")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples at a time.")] = 64,
    out: Annotated[Path, typer.Option(help="HTML to write; a .csv goes beside it.")] = Path(
        "anomalies.html"
    ),
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "auto",
    plain: Annotated[bool, NO_KERNELS] = False,
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Score how unusual examples are to a model, rank them, and draw the oddest on a page.

    Plain likelihood is known to fail at this; the page shows it beside scores that were made to do
    better. All are calibrated on the validation split of what the run was trained on.

    Example: `glowkit anomalies runs/fashion-mnist-glow-small --against photos/`
    """
    from glowkit.tasks.anomalies.scores import LEAST_REFERENCE

    names = _names(scores)
    check_page(out)
    opened = open_model(run, device)
    others = _ensemble(run, ensemble)
    if opened.model.log_p_kind != "bound":
        refuse_given("the log p of this model is no bound, to be tightened", importance=importance)
    if names is not None:
        unused: dict[str, object] = {"ensemble": ensemble} if "waic" not in names else {}
        unused |= {"background": background} if "ratio" not in names else {}
        refuse_given("none of the --scores needs it", **unused)
    least = max(count, LEAST_REFERENCE)
    usual = _take(opened, _reference(opened, reference), ["validation"], least)
    inside = _take_data(opened, source, reference, split, count)
    outside = None if against is None else _take_data(opened, against, reference, None, count)

    beside = None if background is None else open_model(background, device)
    opened.at_rest.close()  # a frozen model gives no gradients
    found = _find(
        opened,
        usual,
        inside,
        outside,
        names,
        None if beside is None else beside.model,
        [open_model(each, device).model for each in others],
        {"draws": importance or 8, "batch_size": batch_size, "seed": seed},
    )
    if beside and beside.run and not beside.run.training.perturb:
        warn(
            f"note: {background} was not trained with --perturb, so that ratio weighs one model of"
            " whole images against another"
        )
    from glowkit.cli.anomaly_page import write_csv, write_page

    table = out.with_suffix(".csv")
    write_csv(found, table)
    about = _about(opened, found, usual, importance or 8, seed)
    write_page(opened, found, about, out)
    if as_json:
        paths = {"path": str(out), "csv_path": str(table)}
        show_json({"run": str(run), **about, **figures_of(found), **paths})
        return
    _say(opened, found)
    say(f"scores: {table}")
    say(f"page:   {out}")


def _names(scores: str) -> list[str] | None:
    """The scores asked for, None for all that there can be."""
    from glowkit.tasks.anomalies import SCORES

    names = list(dict.fromkeys(word.strip() for word in scores.split(",")))
    if names == [ALL]:
        return None
    for name in names:
        if name not in SCORES:
            raise GlowkitError(
                f"there is no anomaly score {name!r}; --scores takes all, or some of"
                f" {', '.join(SCORES)}"
            )
    return names


def _ensemble(run: Path, ensemble: str | None) -> list[Path]:
    """The folders of the models beside that of RUN."""
    if ensemble is None:
        return []
    named = {Path(word.strip()).resolve(): Path(word.strip()) for word in ensemble.split(",")}
    named.pop(run.resolve(), None)
    if not named:
        raise GlowkitError(
            f"--ensemble names no run but {run}, and an ensemble takes at least 2 models; train"
            " another with another --seed"
        )
    return list(named.values())


def _reference(opened: Opened, reference: str | None) -> "AnySource":
    if reference is None and opened.run is None:
        raise GlowkitError(
            f"{opened.name} is a model without a run, and so without validation examples, which"
            " say what is usual; name their DATA with --reference"
        )
    return open_data(opened, reference)


def _take_data(
    opened: Opened, spec: str | None, reference: str | None, split: str | None, count: int
) -> Examples:
    """Examples of other data, all of them, or of the test split of what is known as usual.

    Training examples look too usual, and those of the validation split calibrate.
    """
    from glowkit.cli.plan import absolute

    own = None if opened.run is None else opened.run.data["spec"]
    known = own if reference is None else absolute(reference)
    named = own if spec is None else absolute(spec)
    if spec is not None and named not in (own, known) and split is None:
        from glowkit.cli.images import few_files

        if few := few_files(opened, spec):
            return _take_files(opened, spec, few, count)
    data = open_data(opened, None if named == own else spec)
    if named == known and split == "validation":
        raise GlowkitError(
            f"the validation split of {data.name} says what is usual, and cannot be scored too;"
            " leave out --split, or give --split test"
        )
    splits = ["test"] if named in (own, known) else list(data.splits)
    return _take(opened, data, [split] if split else splits, count)


def _take_files(opened: Opened, spec: str, paths: Sequence[Path], count: int) -> Examples:
    """As many of these image files, which belong to no split."""
    import torch

    from glowkit.data import read_picture
    from glowkit.training.allowance import spread

    chosen = sorted(spread(len(paths), count))
    shape, levels = opened.image_shape, opened.pixel_levels
    pictures = [read_picture(paths[row], shape, levels) for row in chosen]
    for note in dict.fromkeys(note for picture in pictures for note in picture.notes):
        warn(f"note: {note}")
    files = [paths[row].name for row in chosen]
    x = torch.cat([picture.image for picture in pictures])
    return Examples(spec, x, [("", row) for row in chosen], files, len(paths))


def _take(opened: Opened, data: "AnySource", splits: Sequence[str], count: int) -> Examples:
    """As many examples of these splits, spread over them, ready for the model."""
    import torch

    from glowkit.training.allowance import spread

    places = [(split, row) for split in splits for row in range(len(split_of(data, split)))]
    held = len(places)
    chosen = [places[number] for number in sorted(spread(held, count))]
    prepare = opened.objective.prepare(data, opened.model)
    parts, files = [], []
    for split in splits:
        rows = [row for of, row in chosen if of == split]
        if rows:
            x, context = prepare(data.splits[split].__getitems__(rows))
            if context is not None and not opened.model.classes:
                raise GlowkitError(
                    f"{opened.name} models some columns given others, and whole rows are what is"
                    " unusual here; train a run without --target and --context"
                )
            parts.append(x)
        names = getattr(data, "files", ())
        files += [names[data.splits[split].indices[row]] if names else "" for row in rows]  # type: ignore[union-attr]
    of = f"the {splits[0]} split of {data.name}" if len(splits) == 1 else data.name
    return Examples(of, torch.cat(parts), chosen, files, held)


def _find(
    opened: Opened,
    usual: Examples,
    inside: Examples,
    outside: Examples | None,
    names: list[str] | None,
    background: "Density | None",
    ensemble: "list[Density]",
    reading: Mapping[str, int],
) -> Found:
    from glowkit.tasks import AnomalyDetector
    from glowkit.tasks.anomalies import detection_figures

    stage = "reference"

    def progress(steps: Sequence[int], name: str) -> Any:
        return bar(steps, f"{stage}: {name}")

    detector = AnomalyDetector(
        opened.model, usual.x, names, background, ensemble, progress=progress, **reading
    )
    stage = "DATA"
    scores = detector(inside.x, stream=1)
    stage = "--against"
    others = None if outside is None else detector(outside.x, stream=2)
    figures = {}
    if others is not None:
        figures = {
            name: detection_figures(scores.values[name], others.values[name], seed=reading["seed"])
            for name in scores.values
        }
    by = names[0] if names else next(name for name in RANKS if name in scores.values)
    return Found(inside, outside, detector, scores, others, figures, by)


def _about(opened: Opened, found: Found, usual: Examples, draws: int, seed: int) -> dict[str, Any]:
    things, outside = opened.objective.things, found.outside
    about: dict[str, Any] = {
        "data": found.inside.name,
        "against": outside.name if outside else None,
        "reference": usual.name,
        things: len(found.inside),
        f"{things}_in_data": found.inside.held,
        f"reference_{things}": len(usual),
        "seed": seed,
    }
    if outside:
        about |= {f"against_{things}": len(outside), f"{things}_in_against": outside.held}
    about["kind"] = opened.model.log_p_kind
    if about["kind"] != "exact":
        about["importance_samples" if about["kind"] == "bound" else "draws"] = draws
    return about


def _say(opened: Opened, found: Found) -> None:
    things = opened.objective.things
    for name, why in found.detector.left_out.items():
        warn(f"note: {name} is left out: {why}")
    inside, outside = found.inside, found.outside
    said = "scored: " if outside is None else "inside: "
    say(f"{said} {len(inside):,} of {inside.held:,} {things}, {inside.name}")
    if outside is None:
        say(f"{'score':<11} {'flagged':>8}  most anomalous")
    else:
        say(f"outside: {len(outside):,} of {outside.held:,} {things}, {outside.name}")
        say(f"{'score':<11} AUROC, 95 % interval     AP  FPR95  flagged in and outside")
    for name, values in found.scores.values.items():
        usual = f"{flagged(found.scores, name) / len(values):8.1%}"
        if found.outside_scores is None or outside is None:
            order = found.scores.order(name)[:5].tolist()
            odd = ", ".join(map(inside.word, order)) + ", ..." * (len(inside) > len(order))
            say(f"{name:<11} {usual}  {odd}")
            continue
        f, (low, high) = found.figures[name], found.figures[name].auroc_interval
        share = f"{flagged(found.outside_scores, name) / len(outside):8.1%}"
        say(
            f"{name:<11} {f.auroc:.3f}  {low:.3f} to {high:.3f}  {f.average_precision:.3f}"
            f"  {f.fpr95:.3f}  {usual}  {share}"
        )
    if found.codecs:
        parts = ", ".join(f"{name} {n}" for name, n in found.codecs.items())
        say(f"shortest format of complexity: {parts}")
    for examples, scores in ((inside, found.scores), (outside, found.outside_scores)):
        if examples and scores and (lost := max(scores.not_finite.values())):
            warn(
                f"note: up to {lost} of {len(examples)} {things} of {examples.name} have scores"
                " that are not finite, and come first"
            )
