"""The page: its tabs, and what its address sets in them."""

from typing import Any

import gradio as gr

from glowkit.app.answers import can_be_drawn
from glowkit.app.exhibit import Exhibit, plain
from glowkit.app.parts import ONE_AT_A_TIME, REMEMBER
from glowkit.app.state import Asked
from glowkit.app.tabs import Tab, between_tab, draw_tab, edit_tab, sample_tab
from glowkit.system.errors import GlowkitError
from glowkit.tasks.latent import check_meaning

WAITING = 200  # requests in the queue; who comes later is told to come again
# Not `location.search`: by now the first tab, as it appeared, has put its own state there.
OPENED_WITH = "() => new URL(performance.getEntriesByType('navigation')[0].name).search"


def build_page(exhibit: Exhibit) -> gr.Blocks:
    """The page of an exhibit, not served yet; it opens on an edit, where attributes are known."""
    channels, height, width = exhibit.image_shape
    with gr.Blocks(title=exhibit.title, analytics_enabled=False) as page:
        gr.Markdown(
            f"# {plain(exhibit.title)}\nImages of {width} x {height} pixels,"
            f" {channels} channel(s), {exhibit.levels} levels. A click on an image saves it."
        )
        made = []
        meaning = _meaning(exhibit)
        with gr.Tabs() as tabs:
            if meaning and exhibit.attributes is not None:
                with gr.Tab("Edit", id="edit") as tab:
                    made.append((tab, edit_tab(exhibit, exhibit.attributes)))
            drawable = can_be_drawn(exhibit)
            with gr.Tab("Draw" if drawable else "An image", id="draw") as tab:
                made.append((tab, draw_tab(exhibit, drawable)))
            if meaning:
                with gr.Tab("Between", id="between") as tab:
                    made.append((tab, between_tab(exhibit)))
            with gr.Tab("Sample", id="sample") as tab:
                made.append((tab, sample_tab(exhibit)))
        for tab, each in made:
            tab.select(None, each.query, None, js=REMEMBER, api_visibility="private")
        _follow_address(page, tabs, [each for _, each in made])
    return page.queue(max_size=WAITING)


def _meaning(exhibit: Exhibit) -> bool:
    """Whether directions and paths among the model's latents mean anything."""
    try:
        check_meaning(exhibit.model)
    except GlowkitError:
        return False
    return True


def _follow_address(page: gr.Blocks, tabs: gr.Tabs, made: list[Tab]) -> None:
    """Set what the address asks for when the page is opened."""
    asked_for = gr.Textbox(visible="hidden", show_label=False)

    def follow(query: object) -> list[Any]:
        asked = Asked(str(query or ""))
        nothing: list[Any] = [gr.skip()] * (1 + sum(len(each.outputs) for each in made))
        if not asked.tab:
            return nothing
        named = {each.name: each for each in made}
        try:
            if asked.tab not in named:
                raise GlowkitError(f"the address asks for a tab {asked.tab[:40]!r}; there is none")
            values = named[asked.tab].restore(asked)
        except GlowkitError as error:
            gr.Warning(plain(error), title="Not as the address asks", duration=None)
            return nothing
        found: list[Any] = [gr.Tabs(selected=asked.tab)]
        for each in made:
            found += values if each.name == asked.tab else [gr.skip()] * len(each.outputs)
        return found

    page.load(
        follow,
        asked_for,
        [tabs, *(output for each in made for output in each.outputs)],
        js=OPENED_WITH,
        api_visibility="private",
        show_progress="hidden",
        **ONE_AT_A_TIME,
    )
