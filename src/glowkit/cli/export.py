"""`glowkit export`: a model as one file for other runtimes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glowkit.cli.common import JSON, OWN, RUN, show_json
from glowkit.cli.opened import open_model
from glowkit.cli.speech import QUIET, show

if TYPE_CHECKING:
    from glowkit.tasks.exporting import Port


def export(
    run: Annotated[Path, RUN],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="A name in .onnx, or .pt2 for torch.export.load.")
    ],
    what: Annotated[str, typer.Option(help="decode, encode or log-prob.")] = "decode",
    own: Annotated[str | None, OWN] = None,
    as_json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Write a model as one file that other runtimes compute, without glowkit: ONNX, or torch's.

    decode: noise to examples and log p; encode: back; log-prob: examples, and draws of
    dequantization noise, to log p; any number of examples at a time. What cannot be exported is
    refused by name. ONNX needs pip install 'glowkit[export]'.

    Example: `glowkit export runs/digits-glow-tiny --what decode --out digits.onnx`
    """
    from glowkit.tasks.exporting import check_export
    from glowkit.tasks.exporting import export as export_model

    check_export(out, what)
    opened = open_model(run, "cpu")
    done = export_model(opened.model, out, what)
    size = out.stat().st_size
    if as_json:
        figures = {
            "run": str(run),
            "what": what,
            "path": str(out),
            "bytes": size,
            "inputs": _figures(done.inputs),
            "outputs": _figures(done.outputs),
            "largest_difference": done.error,
        }
        show_json(figures)
        return
    text = {"what": what, "file": f"{out}, {size / 1e6:.1f} MB"}
    text |= {"inputs": _text(done.inputs), "outputs": _text(done.outputs)}
    text["largest difference"] = f"{done.error:.2g} from the model, of log p in nats a dimension"
    show(str(run), text)


def _figures(ports: "tuple[Port, ...]") -> list[dict[str, object]]:
    return [{"name": p.name, "dtype": p.dtype, "shape": ["N", *p.shape]} for p in ports]


def _text(ports: "tuple[Port, ...]") -> str:
    return ", ".join(f"{p.name} ({', '.join(['N', *map(str, p.shape)])}) {p.dtype}" for p in ports)
