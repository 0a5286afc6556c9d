"""What the commands share: finding a model, choosing a device, printing figures."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from glowkit.cli import completion
from glowkit.cli.speech import is_quiet, warn
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    import torch


# Under these --help lists the options that several commands have.
MODEL, MACHINE, OUTPUT = "Model", "Machine", "Output"

RUN = typer.Argument(
    metavar="RUN", help="A run or model folder, or hf:USER/NAME.", autocompletion=completion.runs
)
DATA = typer.Argument(
    metavar="DATA",
    help="Data; by default what the run was trained on.",
    autocompletion=completion.data,
)
JSON = typer.Option("--json", help="Print one JSON object instead of text.", rich_help_panel=OUTPUT)
SEED = typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of all randomness.")
DEVICE = typer.Option(
    "--device",
    help="auto, cpu, cuda, ...",
    rich_help_panel=MACHINE,
    autocompletion=completion.words(*completion.DEVICES),
)

KERNELS = "GLOWKIT_KERNELS"  # of the environment, so that processes started by this one see it too


def _switch_off(off: bool) -> bool:
    if off:
        os.environ[KERNELS] = "0"
    return off


NO_KERNELS = typer.Option(
    "--no-kernels",
    callback=_switch_off,
    help="Plain torch instead of compiled kernels.",
    rich_help_panel=MACHINE,
)


def _run_own(context: typer.Context, path: str | None) -> str | None:
    if path is not None and not context.resilient_parsing:  # a TAB runs nobody's code
        from glowkit.models.own import import_file

        import_file(path)
    return path


OWN = typer.Option(
    "--model",
    metavar="FILE.py",
    callback=_run_own,
    help="The Python file that defines a model of your own; its code is run.",
    rich_help_panel=MODEL,
)
SPLIT = typer.Option(
    "--split",
    help="train, validation or test.",
    autocompletion=completion.words(*completion.SPLITS),
)
IMPORTANCE = typer.Option(
    "--importance", help="Draws an example of a bound, as of dequantization; more tighten it."
)
DRAWS = typer.Option("--draws", help="Draws of a log p that is estimated, which are averaged.")
BASELINES = typer.Option(
    "--baselines", help="Fit a Gaussian and a mixture to large images and wide tables too."
)

DTYPES = ("float32", "float64")


T = TypeVar("T")

_line: list[str] = []


def given_line(line: Sequence[str] | None = None) -> list[str]:
    """The words after `glowkit` that this process was given; kept when `main` hands them over."""
    if line is not None:
        _line[:] = line
    return list(_line)


def check_dtype(name: str) -> None:
    """Refuse the name of a dtype that models are not computed in."""
    if name not in DTYPES:
        raise GlowkitError(f"dtype {name!r} does not exist; choose one of {', '.join(DTYPES)}")


def check_run_out(out: Path | None) -> None:
    """Refuse an address on the Hub for the folder of a new run."""
    from glowkit.models.hub import PREFIX

    if str(out).startswith(PREFIX):
        raise GlowkitError(f"{out} is on the Hub, and a run is a folder: train, then glowkit push")


def check_page(out: Path, option: str = "--out") -> None:
    """Refuse a name that browsers do not take for a page's."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise GlowkitError(
            f"this command writes a page; give {option} a name in .html, not {out.name}"
        )


HATCHED = "they are hatched in the picture"


def say_broken(
    broken: "Iterable[torch.Tensor]", remedy: str = "", shown: str = HATCHED, things: str = "images"
) -> dict[str, int]:
    """Tell the user how many images could not be computed, and return it for --json.

    broken: masks of any shape. remedy: what may help, by default what does for samples. shown: what
    stands in their place.
    """
    masks = list(broken)
    number, total = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
    say_number(number, total, remedy, shown, things)
    return {f"broken_{things}": number}


def say_unknown(number: int, total: int, things: str = "images") -> None:
    """Tell the user how many of the things have no finite likelihood, if any."""
    if number:
        sentence = f"{number} of {total} {things} have a log p that is not finite"
        warn(f"note: {sentence}, so that the mean is not either: train the model longer")


def say_number(number: int, total: int, remedy: str, shown: str, things: str = "images") -> None:
    """Tell the user how many of the things could not be computed, if any."""
    from glowkit.core.finite import LESS_HEAT, broken_sentence

    if sentence := broken_sentence(number, total, things, remedy or LESS_HEAT):
        warn(f"note: {sentence}; {shown}")


def bar(steps: Sequence[T], description: str) -> Iterator[T]:
    """The steps, with a progress bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = is_quiet() or not console.is_terminal
    yield from track(steps, description, console=console, transient=True, disable=hidden)


def show_json(figures: Mapping[str, Any]) -> None:
    """Print one JSON object, as docs/json.md says of each command.

    JSON has no NaN and no infinity: such a number is null, and `not_finite` says under its name
    which of them it was.
    """
    lost: dict[str, str] = {}
    plain = _plain(figures, "", lost)
    print(json.dumps(plain | ({"not_finite": lost} if lost else {}), allow_nan=False), flush=True)


def refuse_given(because: str, **options: object) -> None:
    """Refuse options that would change nothing; None and False are those that were not given."""
    given = [name for name, value in options.items() if value is not None and value is not False]
    if given:
        named = ", ".join("--" + name.strip("_").replace("_", "-") for name in given)
        raise GlowkitError(f"{because}: leave out {named}")


def _plain(value: Any, name: str, lost: dict[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each, f"{name}.{key}".strip("."), lost) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, f"{name}.{place}", lost) for place, each in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        lost[name] = "NaN" if math.isnan(value) else "infinity" if value > 0 else "-infinity"
        return None
    return value
