"""The rows of a metrics.csv, for those who write and those who read it."""

import csv
import io
from pathlib import Path

COLUMNS = (
    "step",
    "epoch",
    "elapsed_seconds",
    "train_bits_per_dim",
    "validation_bits_per_dim",
    "learning_rate",
    "gradient_norm",
    "images_per_second",
    "skipped_steps",
)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The whole rows of a metrics.csv, as text by column; none if there is no file."""
    if not path.is_file():
        return []
    text = path.read_text()
    # The last row counts only with its end of line: half a number also reads as a number.
    whole = text[: text.rfind("\n") + 1]
    return [row for row in csv.DictReader(io.StringIO(whole)) if None not in row.values()]
