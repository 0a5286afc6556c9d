"""The report of a run: a command keeps what it found out, and the page is written from all kept.

So is the model card, which is the page that a model has on the Hub.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glowkit.cli.opened import Opened
from glowkit.system.files import write_atomically

if TYPE_CHECKING:
    from glowkit.training import RunFolder, RunSettings
    from glowkit.training.parts import Part
    from glowkit.training.report import Section

ORDER = (
    "Baselines",
    "Temperatures",
    "Nearest training images",
    "Interpolation",
    "Reconstruction",
    "Most and least likely images",
    "How bits/dim are spread",
)
EARLIER = "Of earlier weights: the model has been trained on since."


def report_of(
    opened: Opened,
    data: str,
    split: str,
    figures: Mapping[str, Any],
    baselines: Mapping[str, float],
    sections: "Sequence[Section]" = (),
    told: Mapping[str, float] | None = None,
    validated: Mapping[str, int] | None = None,
    resumed: bool = False,
    out: Path | None = None,
) -> Path:
    """Keep these figures and sections in RUN/report, and write RUN/report.html from all kept there.

    data: the name of what they are of. told: the figures of `classify`, if asked for.
    validated: how much of the validation split training has evaluated, and of how much; for a run
    that has just been trained. out: the page, if not RUN/report.html.
    """
    from glowkit.cli.attributes import weights_of
    from glowkit.training.parts import Part, read_parts, write_part

    weights = weights_of(opened)
    about: dict[str, Any] = {"data": data, "split": split}
    draws = max(figures.get("importance_samples", 1), figures.get("draws", 1))
    main = Part(f"figures-{split}-{draws}", "figures", dict(figures), about, weights)
    parts = [main]
    if baselines:
        of_levels = about | ({"levels": figures["levels"]} if "levels" in figures else {})
        parts.append(Part(f"baselines-{split}", "baselines", dict(baselines), of_levels))
    if validated:
        from glowkit.cli.origin import remembered
        from glowkit.training.card import machine_of

        former = next((p.about for p in read_parts(opened.folder)[0] if p.kind == "validation"), {})
        trained_on = {"machine": machine_of(opened.device), **remembered(former, resumed)}
        parts.append(Part("validation", "validation", dict(validated), trained_on))
    if told:
        of_images = about | {"images": figures["images"]}
        parts.append(
            Part(f"classification-{split}", "classification", dict(told), of_images, weights)
        )
    for section in sections:
        name = re.sub(r"[^a-z]+", "-", section.title.lower())
        content: dict[str, Any] = {"title": section.title, "text": section.text}
        content |= {"bars": dict(section.bars)} if section.bars else {}
        note = {"note": section.note}
        parts.append(Part(f"section-{name}", "section", content, note, weights, section.png))
    if out is None:
        _keep_fuller(opened.folder)
    for part in parts:
        write_part(opened.folder, part)
    return _write(opened, main, out)


def _keep_fuller(run: Path) -> None:
    """Set a report with more than figures aside, once, of a run that has no parts yet."""
    page = run / "report.html"
    if not page.is_file() or (run / "report").exists():
        return
    content = page.read_bytes()
    if content.count(b"<h2>") > 5:  # figures, training, samples, settings, how to repeat it
        write_atomically(run / "report-earlier.html", content)


def _write(opened: Opened, main: "Part", out: Path | None) -> Path:
    """Write the page of a run, on which these figures come first."""
    from glowkit.cli.origin import origin_of
    from glowkit.tasks.likelihood import SIGNS
    from glowkit.training import RunFolder, read_run
    from glowkit.training.metrics import read_rows
    from glowkit.training.of_lossy import LossyImages
    from glowkit.training.parts import read_parts
    from glowkit.training.report import kept_step, write_report

    run = opened.folder
    settings = read_run(run)
    folder = RunFolder(run)
    parts, damaged = read_parts(run)
    notes = [
        f"{run / 'report' / name} is damaged, and what it held is left out; glowkit report makes"
        " its parts again."
        for name in damaged
    ]
    if settings.lossy:
        notes.append(
            "This run was trained for coding with loss: its curves are of bits and of squared error"
            " that is worth bits, a dimension, and its likelihoods are worse than before."
        )
    fitted = [
        part
        for part in parts
        if part.kind == "baselines"
        and all(part.about.get(name) == main.about[name] for name in ("data", "split"))
        and part.about.get("levels") == main.content.get("levels")
    ]
    figures = [p for p in parts if p.kind == "figures" and opened.objective.figure in p.content]
    others = [part for part in figures if part.name != main.name]
    kept = [part for part in parts if part.kind == "section"]
    things = opened.objective.things
    trained = [p for p in parts if p.kind == "validation" and things in p.content]
    baselines = fitted[0].content if fitted else None
    machine = str(trained[0].about.get("machine", "")) if trained else ""
    _write_card(opened, main, settings, baselines or {}, machine)
    if fitted:
        kept = [part for part in kept if part.content["title"] != "Baselines"]
    objective = LossyImages(settings.lossy) if settings.lossy else opened.objective
    rows = read_rows(folder.metrics)
    origin = origin_of(
        opened, settings, rows[-1] if rows else {}, trained[0].about if trained else {}
    )
    return write_report(
        out or run / "report.html",
        opened.title,
        figures={**main.about, **main.content},
        origin=origin,
        sheets=_sheets(folder, kept_step(folder.metrics, objective), bool(kept)),
        curves=folder.metrics,
        baselines=baselines,
        objective=objective,
        sections=[
            *_told(parts, main.weights, SIGNS[opened.model.log_p_kind]),
            *_attributes(opened, main.weights),
            *_sections(kept, main.weights),
        ],
        others=[_other(opened, part, main.weights) for part in others],
        notes=notes,
        validated=trained[0].content if trained else None,
    )


def _sheets(folder: "RunFolder", step: int | None, few: bool) -> list[tuple[str, Path]]:
    """The sheets to show, by title: that of the kept weights, or else the last of training.

    few: not the others, which sections of their own would only repeat.
    """
    drawn = [*sorted(folder.path.glob("samples/*.gif")), *sorted(folder.path.glob("samples/*.png"))]
    of_training = [sheet for sheet in drawn if sheet.stem.startswith("step-")]
    others = [] if few else [sheet for sheet in drawn if sheet not in of_training]
    chosen = [sheet for sheet in of_training if step is not None and sheet == folder.samples(step)]
    kept = [(f"Of the kept weights, step {step}", sheet) for sheet in chosen]
    last = [(_title(sheet), sheet) for sheet in of_training[-1:]]
    return [*(kept or last), *((_title(sheet), sheet) for sheet in others)]


def _write_card(
    opened: Opened,
    main: "Part",
    settings: "RunSettings",
    baselines: Mapping[str, float],
    machine: str,
) -> None:
    """Write the model card of a run, with these figures."""
    from glowkit.training import RunFolder
    from glowkit.training.card import CARD, Learned, Measured, model_card, picture_of
    from glowkit.training.metrics import read_rows

    folder = RunFolder(opened.folder)
    last = (read_rows(folder.metrics) or [{}])[-1]
    steps, seconds = int(last.get("step") or 0), float(last.get("elapsed_seconds") or 0)
    learned = Learned(str(main.about["data"]), settings, steps, seconds, machine)
    card = model_card(
        opened.title,
        opened.model,
        opened.objective,
        learned,
        Measured(str(main.about["split"]), main.content, baselines),
        picture_of(folder.path, folder.all_samples()),
    )
    write_atomically(folder.path / CARD, card.encode())


def _sections(parts: "Iterable[Part]", weights: str) -> "list[Section]":
    from glowkit.training.report import Section

    def place(part: "Part") -> tuple[int, str]:
        title = part.content["title"]
        return (ORDER.index(title) if title in ORDER else len(ORDER), title)

    return [
        Section(
            part.content["title"],
            part.content["text"],
            part.png,
            _note(str(part.about.get("note", "")), part, weights),
            bars=part.content.get("bars"),
        )
        for part in sorted(parts, key=place)
    ]


def _told(parts: "Iterable[Part]", weights: str, sign: str) -> "list[Section]":
    """What `glowkit evaluate --classify` found, a section for each split; sign: of a figure."""
    from glowkit.training.report import Section

    sections = []
    for part in parts:
        if part.kind != "classification":
            continue
        found, about = part.content, part.about
        text = (
            f"{found['accuracy']:.2%} ± {found['accuracy_standard_error']:.2%} of the images are"
            " likeliest under their own class. Without labels, as a mean over classes, they take"
            f" {sign} {found['marginal_bits_per_dim']:.4f} ± {found['marginal_standard_error']:.4f}"
            " bits/dim."
        )
        if "head_accuracy" in found:
            text += f" The classifier head is right on {found['head_accuracy']:.2%}."
        split = f"{about.get('split')} split of {about.get('data')}"
        of = f"{about.get('images')} images of the {split}."
        sections.append(Section("Classes", text, note=_note(of, part, weights)))
    return sections


def _attributes(opened: Opened, weights: str) -> "list[Section]":
    """What `glowkit attributes` found, if it was run."""
    from glowkit.cli.attributes import FILE
    from glowkit.system.errors import GlowkitError
    from glowkit.tasks import load_attributes
    from glowkit.training.report import Section

    path = opened.folder / FILE
    if not path.exists():
        return []
    try:
        found = load_attributes(path, weights)
    except GlowkitError as error:
        return [Section("Attributes", f"Left out: {error}.")]
    rows = zip(found.names, found.positives, found.negatives, found.auroc, strict=True)
    named = "; ".join(
        f"{name} {'-' if math.isnan(area) else f'{area:.3f}'} ({has:,} and {lacks:,})"
        for name, has, lacks, area in rows
    )
    return [
        Section(
            "Attributes",
            "How well the direction of each attribute tells held-out images that have it from those"
            " that lack it (AUROC; 0.5 is chance, - not known), and to how many training images of"
            f" either kind it was fitted: {named}.",
            note=f"Method: {found.method}.",
        )
    ]


def _other(opened: Opened, part: "Part", weights: str) -> tuple[str, str]:
    """What an evaluation is of, and its figure."""
    from glowkit.tasks.likelihood import sign_of

    found, about, objective = part.content, part.about, opened.objective
    value = found[objective.figure]
    name = f"{about.get('split')} split of {about.get('data')}: {objective.basis(found)}"
    sign = sign_of(opened.model)
    return _note(name, part, weights), f"{sign} {value:.4f} ± {found['standard_error']:.4f}"


def _note(text: str, part: "Part", weights: str) -> str:
    return text if part.weights in ("", weights) else f"{text} {EARLIER}".lstrip()


def _title(sheet: Path) -> str:
    if sheet.name == "training.gif":
        return "From one evaluation to the next"
    name, _, step = sheet.stem.partition("-")
    return f"{name} {int(step)}" if step.isdigit() else sheet.stem
