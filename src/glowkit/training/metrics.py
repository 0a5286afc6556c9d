"""metrics.csv: one row of figures each logged step, none lost or repeated by a kill."""

import csv
import io
import math
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from glowkit.core.errors import GlowkitError
from glowkit.core.files import write_atomically
from glowkit.training.rows import rows_until
from glowkit.training.writing import sentences


class MetricsFile(Logger):
    """Lightning's CSVLogger deletes the rows of the run it resumes; this one goes on from them.

    after_step: the last step whose row counts. Rows of later steps, written before a kill but
    after the last checkpoint, are dropped, since the resumed run writes them again; so is a
    damaged end. Rows are appended, each in one piece, the one thing in a run folder that is not
    written whole; no step has two.

    Raises GlowkitError for a file that is damaged before its end, or cannot be written.
    """

    def __init__(self, path: Path, after_step: int, columns: Sequence[str]) -> None:
        super().__init__()
        self.columns = columns
        self.path = path
        self._file: io.FileIO | None = None
        self._last: dict[str, Any] = {}
        self._keep(after_step)

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Nothing: config.yaml has them."""

    @rank_zero_only
    def _keep(self, after_step: int) -> None:
        rows = rows_until(self.path, after_step)
        unknown = set(rows[0]) - set(self.columns) if rows else set()
        if unknown:
            raise GlowkitError(
                f"{self.path} has columns that this run does not write:"
                f" {', '.join(sorted(unknown))}; move the file away"
            )
        self._write(rows)

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the file by these rows."""
        self._close()
        head = io.StringIO(newline="")
        csv.DictWriter(head, self.columns, lineterminator="\n").writeheader()
        text = head.getvalue() + "".join(map(self._line, rows))
        write_atomically(self.path, text.encode())
        self._last = dict(rows[-1]) if rows else {}

    def _line(self, row: Mapping[str, Any]) -> str:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self.columns, lineterminator="\n").writerow(row)
        return text.getvalue()

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a row; a figure that is missing leaves its cell empty.

        A second row for the last step, such as its evaluation when a resumed run has another
        budget, completes the first.
        """
        row = {"step": step, **metrics}
        if str(step) == str(self._last.get("step")):
            known = {name: value for name, value in row.items() if not _missing(value)}
            self._write([*rows_until(self.path, int(self._last["step"]) - 1), self._last | known])
            return
        with sentences(self.path):
            if self._file is None:
                self._file = io.FileIO(self.path, "a")
            # One call of the system for a whole row: whoever reads meanwhile sees all or nothing.
            self._file.write(self._line(row).encode())
        self._last = row

    @rank_zero_only
    def save(self) -> None:
        """Sync, so that the rows are on disk before the checkpoint that relies on them."""
        if self._file is not None:
            with sentences(self.path):
                os.fsync(self._file.fileno())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _missing(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
