"""Who may write a run's files, and what to say when they cannot be written."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from glowkit.core.errors import GlowkitError
from glowkit.core.files import remove_abandoned
from glowkit.core.locks import Lock
from glowkit.training.folder import RunFolder


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


@contextmanager
def only_trainer(folder: RunFolder) -> Iterator[Lock]:
    """Hold the lock of a run, so that nobody else trains into it; rank 0 does, for all ranks.

    Makes the folder if there is none, and removes it again, with the parents that were made for it,
    if the block leaves it empty. What killed processes left half-written in it is removed. Other
    commands need no lock: they replace whole files.

    Raises GlowkitError, naming the process that holds the lock.
    """
    path = folder.path
    lock = Lock(path / ".lock")
    made = [parent for parent in path.parents if not parent.exists()]
    with sentences(path):
        path.mkdir(parents=True, exist_ok=True)
        holder = lock.take()
    if holder is not None:
        raise GlowkitError(
            f"{path} is being trained by {holder}; wait for it, stop it, or choose another folder"
            " with --out"
        )
    try:
        for part in (path, folder.model, folder.checkpoint.parent, folder.samples(0).parent):
            remove_abandoned(part)
        yield lock
    finally:
        lock.give_back()
        with suppress(OSError):
            for empty in (path, *made):
                empty.rmdir()
