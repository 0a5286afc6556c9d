"""docs/performance.md, made from results."""

from pathlib import Path
from typing import Any

import jinja2

from benchmarks.pictures import draw
from benchmarks.tables import tables
from glowkit.system.files import write_atomically

TEMPLATE = "performance.md.jinja"


def write_page(results: dict[str, Any], docs: Path) -> Path:
    """Write DOCS/performance.md and its pictures in DOCS/images; returns the page's path."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown, made of figures
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template(TEMPLATE).render(
        sections={
            name: section | {"tables": tables(name, section["rows"])}
            for name, section in results.items()
        },
        pictures=draw(results, docs / "images"),
    )
    path = docs / "performance.md"
    write_atomically(path, page.encode())
    return path
