"""Rows of a table drawn from a model, given a context or not, into a file with their names."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glowkit.cli.common import bar
from glowkit.cli.opened import Opened
from glowkit.system.errors import GlowkitError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SUFFIXES = (".csv", ".parquet", ".npy")
AT_ONCE = 10_000


def check_rows_out(out: Path) -> None:
    """Refuse a name of no known kind. Raises GlowkitError."""
    if out.suffix.lower() not in SUFFIXES:
        raise GlowkitError(
            f"rows are not written as {out.name}; give --out a name in .csv, .parquet or .npy"
        )


def names_of(opened: Opened) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of x and of its context: those of the run's table, or numbers without a run."""
    if opened.run is not None and opened.run.columns:
        return opened.run.columns, opened.run.context_columns
    size = (opened.model.shape or (0,))[0]
    given = getattr(opened.model.config, "context_features", 0)
    return tuple(f"x{i}" for i in range(size)), tuple(f"c{i}" for i in range(given))


def contexts_of(opened: Opened, text: str | None, count: int | None) -> "tuple[Tensor | None, int]":
    """The context of every row to draw, or None, and how many rows these are.

    text: a file with the columns of the context, for each of whose rows `count` are drawn (1); or
    numbers, separated by commas, that all `count` rows (1000) are given.

    Raises GlowkitError for a context that is missing, of no use, or of other columns.
    """
    _, given = names_of(opened)
    if not given:
        if text is not None:
            raise GlowkitError("this model takes no context; leave out --context")
        return None, count or 1000
    if text is None:
        raise GlowkitError(
            f"this model is conditional on {', '.join(given)}: give --context a file with these"
            " columns, or their values separated by commas"
        )
    import torch

    path = Path(os.path.expanduser(text))
    if path.suffix.lower() in (".csv", ".tsv", ".parquet", ".npy") or os.path.isfile(path):
        each = _of_file(path, given).repeat_interleave(count or 1, 0)
    else:
        each = _of_values(text, given).expand(count or 1000, -1)
    if not torch.isfinite(each).all():
        raise GlowkitError(f"--context {text} holds NaN or infinity; every number must be finite")
    return each.contiguous().to(opened.device), len(each)


def _of_file(path: Path, given: Sequence[str]) -> "Tensor":
    import torch

    from glowkit.data.table import Choice, read_context

    if not os.path.isfile(path):
        raise GlowkitError(f"--context {path}: no such file")
    values = read_context(path, Choice(only=((), tuple(given))))
    if values.shape[1] != len(given):  # an array, which has no names to choose columns by
        raise GlowkitError(
            f"--context {path} has {values.shape[1]} column(s), and this model is conditional on"
            f" {len(given)}: {', '.join(given)}, in that order"
        )
    return torch.from_numpy(values).float()


def _of_values(text: str, given: Sequence[str]) -> "Tensor":
    import torch

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise GlowkitError(
            f"--context {text} is neither a file nor numbers; give {', '.join(given)}, separated by"
            " commas"
        ) from error
    if len(values) != len(given):
        raise GlowkitError(
            f"--context {text} has {len(values)} number(s), and this model is conditional on"
            f" {len(given)}: {', '.join(given)}"
        )
    return torch.tensor([values])


def draw_rows(
    opened: Opened, count: int, context: "Tensor | None", temperature: float, seed: int
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Rows (N, D + C), the context beside what was drawn, and which are not finite, (N,)."""
    import torch

    from glowkit.pictures.pairs import with_context
    from glowkit.tasks.latent import sampled

    generator = opened.generator(seed)
    parts, lost = [], []
    for start in bar(range(0, count, AT_ONCE), "sampling"):
        number = min(AT_ONCE, count - start)
        own = None if context is None else context[start : start + number]
        rows, broken = sampled(opened.model, number, temperature, own, generator)
        parts.append(with_context(rows, own).cpu())
        lost.append(broken.cpu())
    return torch.cat(parts), torch.cat(lost)


def write_rows(rows: "Tensor", names: Sequence[str], out: Path) -> None:
    """Write rows under their columns' names, all of the file or nothing. Raises GlowkitError."""
    from glowkit.system.files import replacing

    kind = out.suffix.lower()
    with replacing(out) as temporary:
        if kind == ".npy":
            import numpy as np

            np.save(temporary, rows.numpy())
            return
        import pyarrow

        table = pyarrow.table([pyarrow.array(column.numpy()) for column in rows.T], list(names))
        if kind == ".csv":
            from pyarrow import csv

            csv.write_csv(table, temporary, csv.WriteOptions(quoting_style="needed"))
        else:
            from pyarrow import parquet

            parquet.write_table(table, temporary)
