"""The rows of a metrics.csv, for those who read it."""

import csv
import io
from pathlib import Path


def read_rows(path: Path) -> list[dict[str, str]]:
    """The whole rows of a metrics.csv, as text by column; none if there is no file."""
    if not path.is_file():
        return []
    text = path.read_text()
    # The last row counts only with its end of line: half a number also reads as a number.
    whole = text[: text.rfind("\n") + 1]
    return [row for row in csv.DictReader(io.StringIO(whole)) if None not in row.values()]
