"""The rows of a metrics.csv, for those who read it."""

import re
from collections.abc import Iterator
from pathlib import Path

from glowkit.core.errors import GlowkitError

Row = dict[str, str]

_STEP = re.compile(r"[0-9]{1,18}")


def read_rows(path: Path) -> list[Row]:
    """The whole rows of a metrics.csv, as text by column; none if there is no file.

    The last one counts only with its end of line: half a number also reads as a number.
    Raises GlowkitError, naming the line, for one that is damaged.
    """
    rows = []
    for row in _rows(path):
        if isinstance(row, GlowkitError):
            raise row
        rows.append(row)
    return rows


def rows_until(path: Path, step: int) -> list[Row]:
    """The rows of the steps up to this one, in order, whatever is wrong behind them.

    Of several rows of a step, which two trainers in one folder once could leave, the last counts.
    Raises GlowkitError for damage that such a row follows: no kill leaves that.
    """
    rows: dict[int, Row] = {}
    damage: GlowkitError | None = None
    for row in _rows(path):
        if isinstance(row, GlowkitError):
            damage = damage or row
        elif int(row["step"]) <= step:
            if damage:
                raise damage
            rows[int(row["step"])] = row
    return [rows[number] for number in sorted(rows)]


def _rows(path: Path) -> Iterator[Row | GlowkitError]:
    """What each whole line holds: a row, or what to say about it.

    Raises GlowkitError when the first line, without which no other means anything, is damaged.
    """
    if not path.is_file():
        return
    try:
        text = path.read_bytes()
    except OSError as error:
        raise GlowkitError(f"cannot read {path}: {error.strerror}") from error
    head, *lines = text.decode("utf-8-sig", errors="replace").split("\n")
    if not lines:  # not even the first line is whole
        return
    columns = head.rstrip("\r").split(",")
    if "step" not in columns or len(set(columns)) < len(columns):
        raise _damage(path, 1, "it does not name the columns")
    for number, line in enumerate(lines[:-1], 2):
        cells = line.rstrip("\r").split(",")
        row = dict(zip(columns, cells, strict=False))
        if len(cells) != len(columns):
            yield _damage(path, number, f"it has {len(cells)} cells, not {len(columns)}")
        elif not _STEP.fullmatch(row["step"]):
            yield _damage(path, number, f"its step is {row['step'][:20]!r}")
        elif not all(map(_is_figure, cells)):
            yield _damage(path, number, "a cell is not a number")
        else:
            yield row


def _is_figure(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _damage(path: Path, number: int, what: str) -> GlowkitError:
    return GlowkitError(
        f"{path} is damaged in line {number}: {what}; repair or remove that line, or move the file"
        " away"
    )
