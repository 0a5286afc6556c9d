"""The tabs of the page: their controls, and which answer follows which move."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from glowkit.app.answers import (
    IN_TURN,
    MOST_AMOUNT,
    MOST_ROWS,
    MOST_SAMPLES,
    MOST_SEED,
    amounts_of,
    blended,
    drawing_of,
    edited,
    from_canvas,
    looped,
    place_of,
    sampled,
    shown,
    wanted,
)
from glowkit.app.chosen import Chosen, pick
from glowkit.app.exhibit import Exhibit, plain, script
from glowkit.app.opening import OPENING_AMOUNT, opening, ranked
from glowkit.app.parts import (
    FORGET,
    ONE_AT_A_TIME,
    WHILE_DRAGGED,
    Picker,
    canvas,
    raw,
    said_below,
    slider,
    spoken,
)
from glowkit.app.state import (
    CORNERS,
    Asked,
    loop_line,
    number_in,
    said_of_drawing,
    said_of_edit,
    said_of_place,
    said_of_samples,
)
from glowkit.system.errors import GlowkitError
from glowkit.tasks import Attributes


@dataclass(frozen=True)
class Tab:
    """A tab that is laid out: its id, what an address sets in it, and how, and its state there."""

    name: str
    outputs: list[Any]
    restore: Callable[[Asked], list[Any]]
    query: Any


def edit_tab(exhibit: Exhibit, attributes: Attributes) -> Tab:
    """Sliders of attributes beside an image, the trusted ones first."""
    trusted, others = ranked(attributes)
    names = [*trusted, *others]
    first = opening(exhibit, attributes, trusted or others)
    amounts = {name: OPENING_AMOUNT * (name == first) for name in names}

    def answer(image: Chosen, *values: object) -> tuple[str, str, str]:
        named = amounts_of(dict(zip(names, values, strict=True)))
        return edited(exhibit, image, attributes, named), *said_of_edit(exhibit, image, named)

    drawn, *said = answer(pick(exhibit, 0), *amounts.values())
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, elem_classes="stay"):
            picture = gr.HTML(drawn, elem_id="edit")
        with gr.Column(scale=2):
            reset = gr.Button("Reset all sliders", size="sm", elem_id="reset")
            with gr.Group(elem_id="amounts", visible=bool(trusted)):
                sliders = [_slider_of(attributes, name, amounts[name]) for name in trusted]
            if others:
                folded = f"{len(others)} more attributes"
                with gr.Accordion(folded, open=not trusted, elem_id="others"), gr.Group():
                    sliders += [_slider_of(attributes, name, amounts[name]) for name in others]
            picker = Picker(exhibit, 0, "edited")
    line, query = said_below("edit", *said)
    inputs, outputs = [picker.chosen, *sliders], [picture, line, query]
    gr.on(
        [each.change for each in sliders],
        spoken(answer),
        inputs,
        outputs,
        api_name="edit",
        js=FORGET % len(inputs),
        **WHILE_DRAGGED,
    )
    reset.click(None, None, sliders, js=f"() => Array({len(sliders)}).fill(0)")
    for event in picker.events:
        event.then(spoken(answer), inputs, outputs, api_visibility="private", **WHILE_DRAGGED)

    def restore(asked: Asked) -> list[Any]:
        wanted_row = (asked.rows(exhibit) or [0])[0]
        found = asked.amounts(names, MOST_AMOUNT)
        image, values = pick(exhibit, wanted_row), [found.get(name, 0.0) for name in names]
        mark = gr.Gallery(selected_index=wanted_row)
        return [image, mark, *values, *answer(image, *values)]

    return Tab("edit", [picker.chosen, picker.gallery, *sliders, *outputs], restore, query)


def _slider_of(attributes: Attributes, name: str, amount: float) -> Any:
    place = attributes.names.index(name)
    area, count = attributes.auroc[place], attributes.positives[place]
    # How well the direction tells held-out images, where enough of them are known.
    known = "AUROC not known" if math.isnan(area) else f"AUROC {area:.2f}"
    info = f"{known} · {count} images"
    return slider(name, -MOST_AMOUNT, MOST_AMOUNT, amount, 0.05, info=plain(info))


def draw_tab(exhibit: Exhibit, drawable: bool) -> Tab:
    """A canvas, if the image can be drawn on, beside the reconstruction and the likelihood."""
    first = pick(exhibit, 0)

    def answer(image: Chosen, drawing: object) -> tuple[str, str, str]:
        drawn = from_canvas(exhibit, image, drawing)
        kept = drawing if drawn is not image and isinstance(drawing, str) else None
        return shown(exhibit, drawn), *said_of_drawing(exhibit, drawn, image, kept)

    html, *said = answer(first, None)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            sheet = canvas(exhibit, first) if drawable else gr.State(None)
        with gr.Column(scale=3):
            picture = gr.HTML(html, elem_id="image")
    picker = Picker(exhibit, 0, "image")
    line, query = said_below("draw", *said)
    inputs, outputs = [picker.chosen, sheet], [picture, line, query]
    if drawable:
        sheet.change(
            spoken(answer), inputs, outputs, api_name="draw", js=FORGET % 2, **WHILE_DRAGGED
        )

    def show(image: Chosen) -> tuple[Any, ...]:
        """Of another image: on the canvas, and as an answer."""
        return drawing_of(exhibit, image) if drawable else None, *answer(image, None)

    for event in picker.events:
        event.then(spoken(show), picker.chosen, [sheet, *outputs], api_name="show", **WHILE_DRAGGED)

    def restore(asked: Asked) -> list[Any]:
        row, drawing = (asked.rows(exhibit) or [0])[0], asked.one("drawing", "") or None
        if drawing is not None and not drawable:
            raise GlowkitError("the address holds a drawing, and this model takes none")
        image = pick(exhibit, row)
        html, *said = answer(image, drawing)
        on_sheet = drawing or (drawing_of(exhibit, image) if drawable else None)
        return [image, gr.Gallery(selected_index=row), on_sheet, html, *said]

    return Tab("draw", [picker.chosen, picker.gallery, sheet, *outputs], restore, query)


def between_tab(exhibit: Exhibit) -> Tab:
    """A square between four images, in which a place is chosen by pointer or by sliders."""
    start = [number % len(exhibit.images) for number in range(4)]
    corners = gr.State(tuple(pick(exhibit, row) for row in start))

    def answer(four: Sequence[Chosen], x: object, y: object) -> tuple[str, str, str]:
        return blended(exhibit, four, x, y), *said_of_place(exhibit, four, *place_of(x, y))

    html, *said = answer(corners.value, 0.5, 0.5)
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, elem_classes="stay"):
            picture = gr.HTML(html, elem_id="between", js_on_load=script("pad"))
        with gr.Column(scale=2):
            across = slider("To the right", 0, 1, 0.5, 0.01, elem_id="across")
            down = slider("Down", 0, 1, 0.5, 0.01, elem_id="down")
            play = gr.Button("Play the way around", size="sm", elem_id="play")
            loop = gr.HTML("", elem_id="loop")
            loop_said = gr.Textbox(
                label="The animation by a command",
                interactive=False,
                buttons=["copy"],
                visible=False,
            )
            corner = raw(gr.Radio(list(CORNERS), value=CORNERS[0], label="Corner to replace"))
            picker = Picker(exhibit, start[0], "corner")
    line, query = said_below("between", *said)
    inputs, outputs = [corners, across, down], [picture, line, query]
    gr.on(
        [across.change, down.change],
        spoken(answer),
        inputs,
        outputs,
        api_name="between",
        js=FORGET % len(inputs),
        **WHILE_DRAGGED,
    )

    def replace(four: tuple[Chosen, ...], image: Chosen, name: object) -> tuple[Chosen, ...]:
        if name not in CORNERS:
            raise GlowkitError(f"there is no corner {str(name)[:40]!r}")
        number = CORNERS.index(str(name))
        return *four[:number], image, *four[number + 1 :]

    for event in picker.events:
        event.then(
            spoken(replace),
            [corners, picker.chosen, corner],
            corners,
            api_visibility="private",
            **WHILE_DRAGGED,
        ).then(spoken(answer), inputs, outputs, api_visibility="private", **WHILE_DRAGGED)

    def animate(four: Sequence[Chosen]) -> tuple[str, Any]:
        return looped(exhibit, four), gr.Textbox(loop_line(exhibit, four), visible=True)

    play.click(
        spoken(animate), corners, [loop, loop_said], api_name="loop", js=FORGET % 1, **ONE_AT_A_TIME
    )

    def restore(asked: Asked) -> list[Any]:
        x, _, y = asked.one("at", "0.5,0.5").partition(",")
        at = [number_in(text, "at", 0, 1) for text in (x, y)]
        rows = asked.rows(exhibit) or start
        if len(rows) != 4:
            raise GlowkitError(f"the address has {len(rows)} images, and a square has 4 corners")
        four = tuple(pick(exhibit, row) for row in rows)
        return [four, *at, *answer(four, *at)]

    return Tab("between", [corners, across, down, *outputs], restore, query)


def sample_tab(exhibit: Exhibit) -> Tab:
    """Samples of one noise, a row for each temperature."""
    names = [IN_TURN, *exhibit.class_names]
    most = exhibit.heat.most
    start = (8, round(min(0.4, most / 2), 2), round(min(1.0, most), 2), 4, "0", IN_TURN)

    def answer(*values: object) -> tuple[str, str, str]:
        asked = wanted(exhibit, *values)
        label = str(values[-1])
        said = said_of_samples(exhibit, asked.count, asked.heats, asked.seed, label)
        return sampled(exhibit, asked), *said

    html, *said = answer(*start)
    with gr.Row():
        low = slider("First temperature", 0, most, start[1], 0.05, elem_id="low")
        high = slider("Last temperature", 0, most, start[2], 0.05, elem_id="high")
        rows = slider("Rows", 1, MOST_ROWS, start[3], 1)
        count = slider("Samples a row", 1, MOST_SAMPLES, start[0], 1)
    if exhibit.heat.note:
        gr.Markdown(plain(exhibit.heat.note), elem_id="heat")
    with gr.Row(equal_height=False):
        # A box for text, since one for numbers says nothing when it is cleared.
        seed = raw(gr.Textbox("0", label="Seed", max_lines=1, scale=0, elem_id="seed"))
        dice = gr.Button("🎲 Another seed", size="sm", elem_id="dice", scale=0, min_width=160)
        shown_classes = len(names) > 1
        label = raw(gr.Dropdown(names, value=IN_TURN, label="Class", visible=shown_classes))
    picture = gr.HTML(html, elem_id="samples")
    line, query = said_below("sample", *said)
    inputs, outputs = [count, low, high, rows, seed, label], [picture, line, query]
    gr.on(
        [each.change for each in inputs],
        spoken(answer),
        inputs,
        outputs,
        api_name="sample",
        js=FORGET % len(inputs),
        **WHILE_DRAGGED,
    )
    dice.click(None, None, seed, js=f"() => String(Math.floor(Math.random() * {MOST_SEED}))")

    def restore(asked: Asked) -> list[Any]:
        values = [
            asked.number("count", start[0], 1, MOST_SAMPLES),
            asked.number("low", start[1], 0, most),
            asked.number("high", start[2], 0, most),
            asked.number("rows", start[3], 1, MOST_ROWS),
            asked.one("seed", start[4]),
            asked.one("class", IN_TURN),
        ]
        return [*values, *answer(*values)]

    return Tab("sample", [*inputs, *outputs], restore, query)
