"""The page on the network: on this machine alone unless asked otherwise, and without telemetry."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from glowkit.app.address import OnlyByName, free_port
from glowkit.app.exhibit import CSS, MOST_BYTES, Exhibit
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

SYSTEM_FONT = ("system-ui", "sans-serif")
FIXED_FONT = ("ui-monospace", "monospace")
# Gradio's own are below 4.5 : 1, which WCAG asks of text.
CONTRAST = {
    "color_accent": "*primary_600",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "*neutral_300",
    "block_label_text_color": "*neutral_700",
    "block_label_text_color_dark": "*neutral_200",
    "block_title_text_color": "*neutral_700",
    "block_title_text_color_dark": "*neutral_200",
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_300",
}


@contextmanager
def serving(exhibit: Exhibit, host: str, port: int | None) -> Iterator[str]:
    """Serve the page of an exhibit; gives its address, and stops at the end.

    port: by default the first free one from 7860. Uploads lie in a temporary folder that goes too.

    Raises:
        GlowkitError: where Gradio is not installed, or nothing can be served at this address.
    """
    # Read when Gradio is first imported: no request leaves this machine.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio as gr
    except ImportError as error:
        raise GlowkitError("the page needs Gradio: pip install 'glowkit[app]'") from error
    from starlette.middleware import Middleware

    with tempfile.TemporaryDirectory(prefix="glowkit-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        from glowkit.app.page import build_page

        page = build_page(exhibit)
        # As late as can be: of two pages that start at once, each takes its own.
        port = free_port(host, port)
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port,
                share=False,
                ssr_mode=False,
                prevent_thread_lock=True,
                quiet=True,
                max_file_size=MOST_BYTES,
                footer_links=[],
                app_kwargs={
                    "exception_handlers": {Exception: _not_answered},
                    "middleware": [Middleware(OnlyByName, host)],
                },
                css=CSS,
                theme=gr.themes.Default(
                    primary_hue="blue", font=SYSTEM_FONT, font_mono=FIXED_FONT
                ).set(**CONTRAST),
            )
        except OSError as error:
            raise GlowkitError(
                f"the page cannot be served at {host}:{port}; give another --host or --port"
            ) from error
        try:
            yield address
        finally:
            page.close(verbose=False)


def _not_answered(request: "Request", error: Exception) -> "Response":
    """What Gradio fails to read would be a page that says Internal Server Error.

    Errors of answers do not come here: the queue tells them to those who asked.
    """
    from starlette.responses import JSONResponse

    return JSONResponse({"detail": "the page cannot read this request"}, status_code=400)
