"""What a run knows about itself; the same on every rank, and saved in every checkpoint."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from glowkit.training.batches import Epochs
from glowkit.training.config import TrainConfig, learning_rate_factor

_MOST_STEPS = 2**53  # at a thousand a second, in 280,000 years


@dataclass
class RunState:
    """Counters of a run. Every number needed to go on exactly where it stopped.

    step: batches taken from the data, skipped ones included.
    skipped_in_a_row: steps skipped since the last good one.
    elapsed: seconds of training so far, evaluations included.
    best_figure: the lowest on the validation split, bits/dim of images or nats of points.
    evaluated_step, evaluated_elapsed: when the last evaluation happened.
    window_*: sums since the last row of metrics, so that a resumed run writes the same rows.
    """

    step: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    elapsed: float = 0.0
    evaluated_step: int = 0
    evaluated_elapsed: float = 0.0
    best_figure: float = math.inf
    best_step: int = 0
    finished: bool = False
    window_loss: float = 0.0
    window_norm: float = 0.0
    window_seconds: float = 0.0
    window_steps: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunState":
        """What `to_dict` gave; TypeError for a value that no run has, KeyError for no step."""
        known = {field.name: type(field.default) for field in fields(cls)}
        found = {name: value for name, value in values.items() if name in known}
        for name, value in found.items():
            if type(value) not in (known[name], int if known[name] is float else known[name]):
                raise TypeError(f"{name} is {value!r:.60}")
            if known[name] is int and not 0 <= value < _MOST_STEPS:
                raise TypeError(f"{name} is {value!r:.60}")
        state = cls(**found | {"step": values["step"]})
        if not 0 <= state.elapsed < math.inf:
            raise TypeError(f"elapsed is {state.elapsed}")
        return state

    @property
    def logged_step(self) -> int:
        """The step of the last row of metrics."""
        return self.step - self.window_steps

    @property
    def window_figure(self) -> float:
        """Mean training loss since the last row; NaN if a step of them was."""
        return self.window_loss / (self.window_steps or math.nan)

    @property
    def window_gradient_norm(self) -> float:
        return self.window_norm / (self.window_steps or math.nan)

    def clear_window(self) -> None:
        self.window_loss = self.window_norm = self.window_seconds = 0.0
        self.window_steps = 0


@dataclass(frozen=True)
class Plan:
    """What a config and a data set demand of a run, as questions about its state."""

    config: TrainConfig
    epochs: Epochs

    def progress(self, state: RunState) -> float:
        """The part of the budget used, in [0, 1]."""
        if self.config.epochs is not None:
            return min(1.0, state.step / self.total_steps(self.config.epochs))
        assert self.config.minutes is not None
        return min(1.0, state.elapsed / (60 * self.config.minutes))

    def done(self, state: RunState) -> bool:
        """Whether the budget is used up."""
        return self.progress(state) >= 1

    def learning_rate(self, state: RunState) -> float:
        """Of the next step."""
        factor = learning_rate_factor(state.step, self.progress(state), self.config.warmup_steps)
        return self.config.learning_rate * factor

    def total_steps(self, epochs: float) -> int:
        return max(1, round(epochs * self.epochs.steps_an_epoch))

    def seconds_left(self, state: RunState) -> float:
        """Until the budget is used up: known by minutes, extrapolated by epochs."""
        if self.config.minutes is not None:
            return max(0.0, 60 * self.config.minutes - state.elapsed)
        done = self.progress(state)
        return state.elapsed / done * (1 - done) if done else math.nan

    def evaluation_due(self, state: RunState) -> bool:
        """Whether the validation split is to be evaluated at this step, and has not been."""
        if state.step == state.evaluated_step:
            return False
        if self.done(state):
            return True
        if self.config.evaluate_every is None:
            return state.step % self.epochs.steps_an_epoch == 0
        return state.elapsed - state.evaluated_elapsed >= 60 * self.config.evaluate_every

    def images_per_second(self, state: RunState) -> float:
        """Since the last row of metrics, evaluations left out."""
        return self.epochs.batch_size * state.window_steps / (state.window_seconds or math.nan)

    def epoch(self, state: RunState) -> float:
        return state.step / self.epochs.steps_an_epoch
