"""What to say when a run's files cannot be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glowkit.core.errors import GlowkitError


@contextmanager
def sentences(path: Path) -> Iterator[None]:
    """Turns a full disk or a forbidden folder into one sentence that says what to do."""
    try:
        yield
    except OSError as error:
        raise GlowkitError(
            f"cannot write {path}: {error.strerror or error}; what was saved before is intact: "
            "make room or allow writing there, then resume the run"
        ) from error
