"""Benchmarks of glowkit; what the figures mean is in docs/performance.md."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.app import time_page
from benchmarks.case import Case
from benchmarks.drift import measure_drift
from benchmarks.families.measure import measure_all, read_cells
from benchmarks.families.page import write_families
from benchmarks.gpu import measure_gpu_memory, time_gpu_steps
from benchmarks.memory import measure_memory
from benchmarks.page import write_page
from benchmarks.plan import PLANS, Plan
from benchmarks.record import record, record_large, record_processes, record_steps
from benchmarks.results import read_results
from glowkit import GlowkitError, keep_freed_memory

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

Out = Annotated[Path, typer.Option(help="Results file; its other sections stay.")]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds, after one of warm-up.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of torch.")]
Widths = Annotated[str, typer.Option(help="Widths of the conditioners, with commas.")]
Precisions = Annotated[str, typer.Option(help="float32, bfloat16 or both, with a comma.")]
Depths = Annotated[str, typer.Option(help="Steps K of each level, with commas.")]
Size = Annotated[int, typer.Option(help="Side of the images.")]
Levels = Annotated[int, typer.Option(help="Levels L.")]
Steps = Annotated[int, typer.Option(help="Steps K of each level.")]
Width = Annotated[int, typer.Option(help="Width of the conditioners.")]
Batch = Annotated[int, typer.Option(min=2, help="Images in a batch.")]
RESULTS = Path("benchmark-results.json")
DEPTHS = "4,8,16,32,64"

SECTIONS: dict[str, Callable[[Plan, Path, int, int], None]] = {
    "steps": lambda plan, out, rounds, threads: record_steps(
        out, plan.steps, rounds, threads, plan.compiled
    ),
    "memory": lambda plan, out, *_: record(
        out, "memory", lambda: measure_memory(plan.deep, plan.depths)
    ),
    "drift": lambda plan, out, *_: record(
        out, "drift", lambda: measure_drift(plan.deep, plan.depths)
    ),
    "ddp": lambda plan, out, rounds, threads: record_processes(
        out, plan.processes, rounds, threads
    ),
    "large": lambda plan, out, _, threads: record_large(out, plan.large, plan.gib, threads),
}
"""What a whole run measures, in this order."""


@app.command("all")
def everything(
    plan: Annotated[str, typer.Option(help=f"{' or '.join(PLANS)}.")] = "full",
    sections: Annotated[str, typer.Option(help="Which of them, with commas.")] = ",".join(SECTIONS),
    rounds: Rounds = 20,
    threads: Threads = 2,
    out: Out = RESULTS,
) -> None:
    """Every section, on the cases of a plan."""
    if plan not in PLANS:
        raise GlowkitError(f"plan {plan!r} does not exist; choose one of {', '.join(PLANS)}")
    chosen = sections.split(",")
    for name in chosen:
        if name not in SECTIONS:
            raise GlowkitError(f"section {name!r} does not exist; there are {', '.join(SECTIONS)}")
    for name in chosen:
        SECTIONS[name](PLANS[plan], out, rounds, threads)


@app.command()
def steps(
    widths: Widths = "64",
    precisions: Precisions = "float32",
    size: Size = 32,
    levels: Levels = 3,
    steps: Steps = 8,
    batch: Batch = 64,
    rounds: Rounds = 20,
    threads: Threads = 2,
    compiled: Annotated[bool, typer.Option(help="FrEIA under torch.compile, too.")] = False,
    out: Out = RESULTS,
) -> None:
    """Training step, density evaluation and sampling of every subject, in turns."""
    cases = [
        Case(size, levels, steps, width, batch, precision)
        for width in _numbers(widths)
        for precision in precisions.split(",")
    ]
    record_steps(out, cases, rounds, threads, compiled)


@app.command()
def gpu(
    widths: Widths = "512",
    precisions: Precisions = "bfloat16,float32",
    size: Size = 32,
    levels: Levels = 3,
    steps: Steps = 8,
    batch: Batch = 64,
    depths: Depths = "8,32",
    rounds: Rounds = 20,
    compiled: Annotated[bool, typer.Option(help="glowkit under torch.compile, too.")] = False,
    out: Out = RESULTS,
) -> None:
    """Steps, and peak memory of a training step against depth, on a CUDA device."""
    cases = [
        Case(size, levels, steps, width, batch, precision)
        for width in _numbers(widths)
        for precision in precisions.split(",")
    ]
    record(
        out,
        "gpu steps",
        lambda: (row for case in cases for row in time_gpu_steps(case, rounds, compiled)),
    )
    record(out, "gpu memory", lambda: measure_gpu_memory(cases[0], _numbers(depths)))


@app.command()
def memory(
    depths: Depths = DEPTHS,
    size: Size = 32,
    levels: Levels = 3,
    width: Width = 64,
    batch: Batch = 8,
    out: Out = RESULTS,
) -> None:
    """Peak memory of a training step of every subject against depth."""
    case = Case(size, levels, width=width, batch=batch)
    record(out, "memory", lambda: measure_memory(case, _numbers(depths)))


@app.command()
def drift(
    depths: Depths = DEPTHS,
    size: Size = 32,
    levels: Levels = 3,
    width: Width = 64,
    batch: Batch = 8,
    out: Out = RESULTS,
) -> None:
    """Errors of the memory modes' gradients against depth."""
    case = Case(size, levels, width=width, batch=batch)
    record(out, "drift", lambda: measure_drift(case, _numbers(depths)))


@app.command()
def ddp(
    size: Size = 32,
    levels: Levels = 3,
    steps: Steps = 8,
    width: Width = 64,
    batch: Batch = 64,
    rounds: Rounds = 20,
    threads: Threads = 2,
    out: Out = RESULTS,
) -> None:
    """A training step of two processes against one, on the same global batch."""
    record_processes(out, Case(size, levels, steps, width, batch), rounds, threads)


@app.command()
def large(
    size: Size = 256,
    levels: Levels = 6,
    steps: Steps = 32,
    width: Width = 512,
    batch: Batch = 8,
    gib: Annotated[int, typer.Option(min=1, help="Memory that a process may have.")] = 16,
    threads: Threads = 2,
    out: Out = RESULTS,
) -> None:
    """The largest batch of a training step that fits into memory, for every subject."""
    record_large(out, Case(size, levels, steps, width, batch), gib, threads)


@app.command()
def families(
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each cell.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Processor time a model of points.")] = 30,
    digits: Annotated[float, typer.Option(min=0.1, help="Processor time a model of digits.")] = 60,
    only: Annotated[str, typer.Option(help="Cells whose name has this word, and no other.")] = "",
    write: Annotated[bool, typer.Option(help="Only write the page of what there is.")] = False,
    fashion: Annotated[Path | None, typer.Option(help="JSON of rows on Fashion-MNIST.")] = None,
    out: Annotated[Path, typer.Option(help="JSON of cells; those in it are not run.")] = Path(
        "benchmarks/families/cells.json"
    ),
    docs: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("docs"),
) -> None:
    """Every family of flows at equal parameters and processor time; writes docs/families.md."""
    budgets = {"points": seconds, "digits": digits}
    if not write:
        torch.set_num_threads(1)
        for name, found in measure_all(out, seeds, budgets, only):
            print(f"{name}: {found['figure']:.4f} after {found['steps']} steps", flush=True)
    print(write_families(docs, read_cells(out), seeds, budgets, fashion))


@app.command("app")
def page_of(
    run: Annotated[str, typer.Argument(help="A run of images, with attributes.")],
    rounds: Rounds = 30,
    threads: Threads = 2,
) -> None:
    """How soon the page of `glowkit app` follows a slider, in a headless Chromium."""
    for tab, times in time_page(run, rounds, threads).items():
        print(f"{tab}: median {times['median']:.0f} ms, longest {times['longest']:.0f} ms")


@app.command()
def report(
    results: Annotated[Path, typer.Argument(help="Results file.")],
    docs: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("docs"),
) -> None:
    """Write performance.md and its pictures from a results file."""
    print(write_page(read_results(results), docs))


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise GlowkitError(f"{text!r} is not a list of whole numbers like 64,128") from error


if __name__ == "__main__":
    keep_freed_memory()  # for every subject alike
    try:
        app()
    except GlowkitError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        sys.exit(2)
