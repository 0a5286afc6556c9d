"""metrics.csv: one row of figures each logged step, none lost or repeated by a kill."""

import csv
import io
import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from glowkit.core.files import write_atomically
from glowkit.training.rows import read_rows
from glowkit.training.writing import sentences


class MetricsFile(Logger):
    """Lightning's CSVLogger deletes the rows of the run it resumes; this one goes on from them.

    after_step: rows of later steps, written before a kill but after the last checkpoint, are
    dropped, since the resumed run writes them again. Rows are appended, the one thing in a run
    folder that is not written whole; a torn last row is dropped the same way.
    """

    def __init__(self, path: Path, after_step: int, columns: Sequence[str]) -> None:
        super().__init__()
        self.columns = columns
        self.path = path
        self._file: io.TextIOWrapper | None = None
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
        rows = [row for row in read_rows(self.path) if int(row["step"]) <= after_step]
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, text.getvalue().encode())

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a row; a figure that is missing leaves its cell empty."""
        with sentences(self.path):
            if self._file is None:
                self._file = self.path.open("a", newline="")
            writer = csv.DictWriter(self._file, self.columns, lineterminator="\n")
            writer.writerow({"step": step, **metrics})
            self._file.flush()

    @rank_zero_only
    def save(self) -> None:
        """Sync, so that the rows are on disk before the checkpoint that relies on them."""
        if self._file is not None:
            with sentences(self.path):
                os.fsync(self._file.fileno())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
