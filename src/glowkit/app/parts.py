"""The parts that tabs of the page are made of."""

from collections.abc import Callable
from functools import wraps
from html import escape
from typing import Any

import gradio as gr

from glowkit.app.answers import drawing_of, picked, uploaded
from glowkit.app.chosen import Chosen, pick
from glowkit.app.exhibit import Exhibit, plain, script
from glowkit.pictures.sheet import to_pil
from glowkit.system.errors import GlowkitError

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
# Puts the state of a tab into the address, without loading anything. A theme asked for there stays.
REMEMBER = """query => {
  const theme = new URLSearchParams(location.search).get('__theme');
  history.replaceState(null, '', '?' + query + (theme ? '&__theme=' + theme : ''));
}"""


def raw(component: Any) -> Any:
    """The component, whose value reaches the answer as it was sent.

    Gradio's own checks would print a traceback, and name what there is to choose from as HTML.
    """
    component.preprocess = lambda value: value
    return component


def spoken(answer: Callable[..., Any]) -> Callable[..., Any]:
    """The same answer, with the sentence of a GlowkitError for the page."""

    @wraps(answer)
    def speaking(*values: Any) -> Any:
        try:
            return answer(*values)
        except GlowkitError as error:
            # It stays until the next answer: see FORGET.
            raise gr.Error(
                plain(error), title="Not possible", duration=None, print_exception=False
            ) from error

    return speaking


def slider(name: str, low: float, high: float, value: float, step: float, **look: Any) -> Any:
    """A slider whose value is checked by the answer."""
    return raw(gr.Slider(low, high, value, step=step, label=name, buttons=[], **look))


def said_below(tab: str, line: str, query: str) -> tuple[Any, Any]:
    """Where a tab says its command, to be copied, and, out of sight, its state in the address."""
    shown = gr.Textbox(
        line,
        label="The same by a command",
        interactive=False,
        buttons=["copy"],
        elem_id=f"{tab}-line",
        lines=1,
        max_lines=4,
    )
    hidden = gr.Textbox(query, visible="hidden", show_label=False)
    hidden.change(None, hidden, None, js=REMEMBER, api_visibility="private")
    return shown, hidden


class Picker:
    """Ways to choose an image: one of the exhibit's in a gallery, or an upload.

    chosen: the state with the image chosen. events: after them it is another. gallery: to mark one.
    """

    def __init__(self, exhibit: Exhibit, row: int, name: str) -> None:
        self.chosen = gr.State(pick(exhibit, row))
        gr.Markdown(f"Choose one of {plain(exhibit.origin)}, or upload one.")
        named = [
            (to_pil(image, exhibit.levels), title)
            for image, title in zip(exhibit.images, exhibit.names, strict=True)
        ]
        self.gallery = gr.Gallery(
            named,
            show_label=False,
            label="Images to choose from",
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
        label = raw(gr.Dropdown(classes, label="Class of the upload", visible=bool(classes)))
        upload = gr.UploadButton("Upload an image", elem_id=f"{name}-upload", size="sm")
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

        self.events = [
            self.gallery.select(
                take_pick,
                None,
                [self.chosen, said],
                api_visibility="private",
                js=FORGET % 0,
                **ONE_AT_A_TIME,
            ),
            upload.upload(
                take_upload,
                [upload, label],
                [self.chosen, said],
                api_name=f"upload_{name}",
                js=FORGET % 2,
                **ONE_AT_A_TIME,
            ),
        ]


def canvas(exhibit: Exhibit, chosen: Chosen) -> Any:
    """A canvas of the model's own pixels, on which `chosen` lies; its value is a PNG as an address.

    Gradio's editor of images draws on pixels of its own and sends files, when a stroke is over.
    """
    channels, height, width = exhibit.image_shape
    ink = (
        '<label>Ink <input class="ink" type="range" min="0" max="255" value="255"></label>'
        if channels == 1
        else '<label>Colour <input class="ink" type="color" value="#d03030"></label>'
    )
    about = escape(
        "The image, to draw on with the pointer, or with arrow keys to move and space to draw"
    )
    most = max(2, min(width, height) // 4)
    template = (
        f'<div class="sheet"><canvas width="{width}" height="{height}" tabindex="0"'
        f' role="application" aria-label="{about}">{about}</canvas>'
        '<span class="at" style="left:50%;top:50%"></span>'
        f'</div><div class="brush">{ink}<label>Size <input class="size" type="range" min="1"'
        f' max="{most}" step="0.5" value="{max(1, most // 2)}"></label>'
        '<button type="button" class="fill">Fill</button></div>'
    )
    return gr.HTML(
        drawing_of(exhibit, chosen),
        html_template=template,
        js_on_load=script("canvas"),
        elem_id="canvas",
        apply_default_css=False,
    )
