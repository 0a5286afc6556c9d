"""What a run of training came to."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainResult:
    """The figures of a run.

    best_figure: on the validation split, bits/dim of images or nats of points, of the weights in
        `run`/model; infinite before the first evaluation.
    step, epochs, elapsed_seconds: over all resumptions; the saved ones when interrupted.
    images_per_second: of this process, evaluations left out.
    rank: of this process; rank 0 wrote the run folder.
    interrupted: whether Ctrl-C or SIGTERM ended it; `run` is saved and resumes.
    """

    run: Path
    best_figure: float
    step: int
    epochs: float
    elapsed_seconds: float
    images_per_second: float
    skipped_steps: int
    rank: int
    interrupted: bool
