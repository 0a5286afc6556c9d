"""What a person sees while a model trains."""

import math
import time

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from glowkit.training.module import FlowModule

_REFRESH_SECONDS = 0.2


class Report:
    """A progress bar on a terminal; elsewhere, such as in a log file, a line an evaluation.

    Writes to stderr: stdout belongs to results. Lightning's own bars count batches of an epoch,
    where a run here has one budget, by epochs or minutes.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bar: Progress | None = None


class ProgressReport(Callback):
    pass
