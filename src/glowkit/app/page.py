"""The layout of the page, and which answer follows which move."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import gradio as gr

from glowkit.app.answers import (
    IN_TURN,
    MOST_AMOUNT,
    MOST_SAMPLES,
    MOST_TEMPERATURE,
    blended,
    edited,
    pick,
    picked,
    sampled,
    shown,
    uploaded,
)
from glowkit.app.exhibit import Exhibit, plain
from glowkit.pictures.sheet import to_pil
from glowkit.system.errors import GlowkitError
from glowkit.tasks import Attributes

WAITING = 200  # requests in the queue; who comes later is told to come again
# All answers share one worker: a model fills the cores by itself, and keeps inverted matrices.
ONE_AT_A_TIME: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
# While a slider is dragged, only its last place is answered.
WHILE_DRAGGED: dict[str, Any] = {
    **ONE_AT_A_TIME,
    "trigger_mode": "always_last",
    "show_progress": "hidden",
}


# Closes what was said about an earlier move, in the browser, before a new one is sent.
FORGET = """(...values) => {
  document.querySelectorAll('[data-testid="toast-close"]').forEach(button => button.click());
  return values.slice(0, %d);
}"""


def build_page(exhibit: Exhibit) -> gr.Blocks:
    """The page of an exhibit, not served yet."""
    channels, height, width = exhibit.image_shape
    with gr.Blocks(title=exhibit.title, analytics_enabled=False) as page:
        gr.Markdown(
            f"## {plain(exhibit.title)}\nImages of {width} x {height} pixels,"
            f" {channels} channel(s), {exhibit.levels} levels. A click on an image saves it."
        )
        with gr.Tab("Sample"):
            _sample_tab(exhibit)
        with gr.Tab("An image"):
            _image_tab(exhibit)
        with gr.Tab("Between two images"):
            _between_tab(exhibit)
        if exhibit.attributes is not None:
            with gr.Tab("Attributes"):
                _edit_tab(exhibit, exhibit.attributes)
    return page.queue(max_size=WAITING)


def _sample_tab(exhibit: Exhibit) -> None:
    names = [IN_TURN, *exhibit.class_names]
    with gr.Row():
        temperature = _raw(
            gr.Slider(0, MOST_TEMPERATURE, 0.7, step=0.01, label="Temperature", buttons=[])
        )
        # A box for text, since one for numbers says nothing when it is cleared.
        seed = _raw(gr.Textbox("0", label="Seed", max_lines=1))
        count = _raw(gr.Slider(1, MOST_SAMPLES, 12, step=1, label="Samples", buttons=[]))
        label = _raw(gr.Dropdown(names, value=IN_TURN, label="Class", visible=len(names) > 1))
    drawn = gr.HTML(sampled(exhibit, 12, 0.7, 0, IN_TURN), elem_id="samples")
    inputs = [count, temperature, seed, label]
    answer = _spoken(lambda *values: sampled(exhibit, *values))
    gr.on(
        [temperature.change, count.change, seed.change, label.change],
        answer,
        inputs,
        drawn,
        api_name="sample",
        js=FORGET % len(inputs),
        **WHILE_DRAGGED,
    )


def _image_tab(exhibit: Exhibit) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            chosen, events = _picker(exhibit, 0, "image")
        with gr.Column(scale=3):
            drawn = gr.HTML(shown(exhibit, pick(exhibit, 0)), elem_id="image")
    answer = _spoken(lambda image: shown(exhibit, image))
    for event in events:
        event.then(answer, chosen, drawn, api_name="show", show_progress="hidden", **ONE_AT_A_TIME)


def _between_tab(exhibit: Exhibit) -> None:
    last = min(1, len(exhibit.images) - 1)
    with gr.Row():
        with gr.Column():
            first, first_events = _picker(exhibit, 0, "first")
        with gr.Column():
            second, second_events = _picker(exhibit, last, "second")
    place = _raw(
        gr.Slider(
            0, 1, 0.5, step=0.01, label="From the first to the second", elem_id="place", buttons=[]
        )
    )
    start = blended(exhibit, pick(exhibit, 0), pick(exhibit, last), 0.5)
    drawn = gr.HTML(start, elem_id="between")
    answer = _spoken(lambda *values: blended(exhibit, *values))
    inputs = [first, second, place]
    forget = FORGET % len(inputs)
    place.change(answer, inputs, drawn, api_name="between", js=forget, **WHILE_DRAGGED)
    for event in (*first_events, *second_events):
        event.then(answer, inputs, drawn, api_visibility="private", **ONE_AT_A_TIME)


def _edit_tab(exhibit: Exhibit, attributes: Attributes) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            chosen, events = _picker(exhibit, 0, "edited")
        with gr.Column(scale=3):
            still = [0.0] * len(attributes.names)
            start = edited(exhibit, pick(exhibit, 0), attributes, still)
            drawn = gr.HTML(start, elem_id="edit")
    sliders = []
    with gr.Row(elem_id="amounts"):
        for name, area in zip(attributes.names, attributes.auroc, strict=True):
            # How well the direction tells real images, where enough of them are known.
            told = name if math.isnan(area) else f"{name}, AUROC {area:.2f}"
            slider = _raw(
                gr.Slider(
                    -MOST_AMOUNT, MOST_AMOUNT, 0, step=0.05, label=told, min_width=220, buttons=[]
                )
            )
            sliders.append(slider)
    answer = _spoken(lambda image, *amounts: edited(exhibit, image, attributes, amounts))
    inputs = [chosen, *sliders]
    gr.on(
        [slider.change for slider in sliders],
        answer,
        inputs,
        drawn,
        api_name="edit",
        js=FORGET % len(inputs),
        **WHILE_DRAGGED,
    )
    for event in events:
        event.then(answer, inputs, drawn, api_visibility="private", **ONE_AT_A_TIME)


def _picker(exhibit: Exhibit, row: int, name: str) -> tuple[gr.State, list[Any]]:
    """Ways to choose an image; the one chosen, and the events after which it is another."""
    chosen = gr.State(pick(exhibit, row))
    gr.Markdown(f"Choose one of {plain(exhibit.origin)}, or upload one.")
    gallery = gr.Gallery(
        [to_pil(image, exhibit.levels) for image in exhibit.images],
        show_label=False,
        format="png",
        columns=8,
        height="auto",
        allow_preview=False,
        interactive=False,
        selected_index=row,
        buttons=[],
        elem_id=f"{name}-picks",
        elem_classes="picks",
    )
    classes = list(exhibit.class_names)
    label = _raw(gr.Dropdown(classes, label="Class of the upload", visible=bool(classes)))
    upload = gr.UploadButton("Upload an image", elem_id=f"{name}-upload")
    said = gr.Markdown(elem_id=f"{name}-said")

    def take_pick(event: gr.SelectData) -> tuple[Any, str]:
        try:
            return picked(exhibit, event.index), ""
        except GlowkitError as error:
            return gr.skip(), f"**{plain(error)}**"

    def take_upload(file: str | None, label: str) -> tuple[Any, str]:
        try:
            return uploaded(exhibit, file, label), "The uploaded image is shown."
        except GlowkitError as error:
            return gr.skip(), f"**{plain(error)}**"

    return chosen, [
        gallery.select(
            take_pick,
            None,
            [chosen, said],
            api_visibility="private",
            js=FORGET % 0,
            **ONE_AT_A_TIME,
        ),
        upload.upload(
            take_upload,
            [upload, label],
            [chosen, said],
            api_name=f"upload_{name}",
            js=FORGET % 2,
            **ONE_AT_A_TIME,
        ),
    ]


def _raw(component: Any) -> Any:
    """The component, whose value reaches the answer as it was sent.

    Gradio's own checks would print a traceback, and name what there is to choose from as HTML.
    """
    component.preprocess = lambda value: value
    return component


def _spoken(answer: Callable[..., str]) -> Callable[..., str]:
    """The same answer, with the sentence of a GlowkitError for the page."""

    @wraps(answer)
    def spoken(*values: Any) -> str:
        try:
            return answer(*values)
        except GlowkitError as error:
            # It stays until the next answer: see FORGET.
            raise gr.Error(
                plain(error), title="Not possible", duration=None, print_exception=False
            ) from error

    return spoken
