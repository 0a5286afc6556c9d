"""Lightning without its remarks on things that are as they should be here."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Each is about a choice made on purpose.
_REMARKS = (
    r".*does not have many workers.*",  # one process reads: images are mapped from disk
    r".*is smaller than the logging interval.*",
    r".*LeafSpec.*",  # torch deprecates what Lightning uses
    r".*functional.all_gather is deprecated.*",
)
_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning")


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Warnings and errors of Lightning's still come through."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    with warnings.catch_warnings():
        for remark in _REMARKS:
            warnings.filterwarnings("ignore", message=remark)
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
