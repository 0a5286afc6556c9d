"""Where a run stands: its plan, its counts, averaged weights, and the checkpoint of it all."""

import math
from copy import deepcopy
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from glowkit.core.density import Density
from glowkit.core.finite import not_finite
from glowkit.models.importers.files import is_plain, read_torch
from glowkit.system.errors import GlowkitError
from glowkit.system.files import replacing
from glowkit.training.allowance import allowance, between_evaluations, of_first_evaluation
from glowkit.training.batches import Epochs
from glowkit.training.config import TrainConfig, ema_decay_at, learning_rate_factor
from glowkit.training.run import RunFolder

UPDATES = "ema updates"
"""The name of their number in the state dict of averages."""


class Ema:
    """A second model whose parameters follow the trained one's; it is evaluated and saved."""

    def __init__(self, model: Density, decay: float) -> None:
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        self._followed = model
        # Listed once: walking through a deep model takes longer than the update.
        self._averages: list[Tensor] = list(self.model.parameters())
        self._weights: list[Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the model's present parameters."""
        weight = 1 - ema_decay_at(self.updates, self.decay)
        torch._foreach_lerp_(self._averages, self._weights, weight)
        self.updates += 1

    @torch.no_grad()
    def copy_buffers(self) -> None:
        """Take over what is state but not weights (running statistics, flags).

        Only saved buffers: an unsaved one may be a cache that belongs to the other's parameters.
        """
        mine = self.model.state_dict(keep_vars=True)
        for name, value in self._followed.state_dict(keep_vars=True).items():
            if not isinstance(value, torch.nn.Parameter):
                mine[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor | int]:
        return {**self.model.state_dict(), UPDATES: self.updates}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        tensors = {name: value for name, value in state.items() if name != UPDATES}
        self.model.load_state_dict(tensors)
        self.updates = int(state[UPDATES])


_MOST_STEPS = 2**53  # at a thousand a second, in 280,000 years


@dataclass
class RunState:
    """Counters of a run. Every number needed to go on exactly where it stopped.

    step: batches taken from the data, skipped ones included.
    skipped_in_a_row: steps skipped since the last good one.
    elapsed: seconds of training so far, evaluations included.
    best_figure: the lowest on the validation split, bits/dim of images or nats of points.
    aside: of initialisation and evaluations, seconds of no training step.
    evaluated_step, evaluated_elapsed: when the last evaluation happened; evaluation_seconds: how
        long it took.
    evaluated_examples: how many of the validation split each evaluation takes, 0 for all of it.
    window_*: sums since the last row of metrics, so that a resumed run writes the same rows.
    """

    step: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    elapsed: float = 0.0
    aside: float = 0.0
    evaluated_step: int = 0
    evaluated_elapsed: float = 0.0
    evaluation_seconds: float = 0.0
    evaluated_examples: int = 0
    best_figure: float = math.inf
    best_step: int = 0
    finished: bool = False
    window_loss: float = 0.0
    window_norm: float = 0.0
    window_seconds: float = 0.0
    window_steps: int = 0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunState":
        """Of a checkpoint; TypeError for a value that no run has, KeyError for no step."""
        known = {field.name: type(field.default) for field in fields(cls)}
        found = {name: value for name, value in values.items() if name in known}
        for name, value in found.items():
            if type(value) not in (known[name], int if known[name] is float else known[name]):
                raise TypeError(f"{name} is {value!r:.60}")
            if known[name] is int and not 0 <= value < _MOST_STEPS:
                raise TypeError(f"{name} is {value!r:.60}")
        state = cls(**found | {"step": values["step"]})
        for name in ("elapsed", "aside", "evaluation_seconds"):
            if not 0 <= getattr(state, name) < math.inf:
                raise TypeError(f"{name} is {getattr(state, name)}")
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
            steps = max(1, round(self.config.epochs * self.epochs.steps_an_epoch))
            return min(1.0, state.step / steps)
        assert self.config.minutes is not None
        return min(1.0, state.elapsed / (60 * self.config.minutes))

    def done(self, state: RunState) -> bool:
        """Whether the budget is used up."""
        return self.progress(state) >= 1

    def learning_rate(self, state: RunState) -> float:
        """Of the next step."""
        factor = learning_rate_factor(state.step, self.progress(state), self.config.warmup_steps)
        return self.config.learning_rate * factor

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
        since = state.elapsed - state.evaluated_elapsed
        # Until one is timed, as long as a step: one batch of it, and samples, take about that.
        takes = state.evaluation_seconds if state.evaluated_step else self._step_seconds(state)
        if since < between_evaluations(self.config, takes):
            return False
        if self.config.evaluate_every is None:
            return state.step % self.epochs.steps_an_epoch == 0
        return since >= 60 * self.config.evaluate_every

    def chooses_examples(self, state: RunState) -> bool:
        """Whether the time of the evaluation at this step says how many examples all take."""
        return not state.evaluated_step and math.isfinite(allowance(self.config))

    def evaluation_seconds(self, state: RunState) -> float:
        """How long that evaluation may take."""
        every = self.config.evaluate_every
        epoch = self._step_seconds(state) * self.epochs.steps_an_epoch
        interval = epoch if every is None else 60 * every
        return of_first_evaluation(self.config, state.elapsed, max(interval, 1e-3))

    def _step_seconds(self, state: RunState) -> float:
        return state.elapsed / max(state.step, 1)

    def images_per_second(self, state: RunState) -> float:
        """Since the last row of metrics, evaluations left out."""
        return self.epochs.batch_size * state.window_steps / (state.window_seconds or math.nan)

    def epoch(self, state: RunState) -> float:
        return state.step / self.epochs.steps_an_epoch


_VERSION = 1

T = TypeVar("T")


@dataclass
class Checkpoint:
    """The state dicts of a run, and the number of training images that its data order is for."""

    state: RunState
    images: int
    model: dict[str, Any]
    ema: dict[str, Any]
    optimizer: dict[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint; GlowkitError, and the former one in its place, if that fails."""
    content = {"version": _VERSION, **vars(checkpoint), "state": asdict(checkpoint.state)}
    # Through a file object: given a path, torch reports a full disk as an internal error.
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file, on the CPU. Raises GlowkitError for one that is damaged."""
    try:
        content = read_torch(path)
        version = _checked(content, dict).get("version")
        if _checked(version, int) > _VERSION:
            raise GlowkitError(f"{path} was written by a newer glowkit; upgrade glowkit to use it")
        return Checkpoint(
            RunState.from_dict(_checked(content["state"], dict)),
            _checked(content["images"], int),
            _tensors(content["model"]),
            _tensors(content["ema"], int),
            _optimizer(content["optimizer"]),
        )
    except (KeyError, TypeError) as error:
        raise _damage(path) from error
    except GlowkitError as error:
        if "newer glowkit" in str(error):
            raise
        raise _damage(path) from error


def resume_point(folder: RunFolder, plan: Plan, model: Density) -> Checkpoint | None:
    """Load the last checkpoint into the model; None for a run killed before it wrote one."""
    path = folder.checkpoint
    if not path.exists():
        return None
    checkpoint = read_checkpoint(path)
    state = checkpoint.state
    if checkpoint.images != plan.epochs.images:
        raise GlowkitError(
            f"{folder.path} was trained on {checkpoint.images} images, but the data now has "
            f"{plan.epochs.images}; resume with the same data, or start a new run"
        )
    if state.finished and plan.done(state):
        raise GlowkitError(
            f"{folder.path} is finished: its budget was used up at step {state.step}; "
            "give a larger budget of epochs or minutes to train it further"
        )
    state.finished = False
    try:
        model.load_state_dict(checkpoint.model)
        _check_averages(model, checkpoint.ema)
    except (RuntimeError, KeyError, TypeError) as error:
        raise GlowkitError(
            f"{path} does not fit the model in {folder.config}; start a new run"
        ) from error
    for tensors in (checkpoint.model, checkpoint.ema):
        wrong = not_finite({name: t for name, t in tensors.items() if isinstance(t, Tensor)})
        if wrong:
            raise GlowkitError(
                f"{path} holds weights that are not finite, {wrong[0]} among them; the best model"
                f" so far is in {folder.model}, and a new run can start from the same config.yaml"
            )
    return checkpoint


def _check_averages(model: Density, averages: dict[str, Any]) -> None:
    """Raises RuntimeError when the averaged weights are not this model's."""
    for name, tensor in model.state_dict().items():
        if not isinstance(averages[name], Tensor) or averages[name].shape != tensor.shape:
            raise RuntimeError(f"{name} does not fit")
    updates = averages[UPDATES]
    if len(averages) != len(model.state_dict()) + 1 or not 0 <= updates < 2**53:
        raise RuntimeError("there are more averages, or fewer, than weights")


def fit_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], path: Path) -> None:
    """Give an optimizer the state in a checkpoint. Raises GlowkitError for one of another model."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, values in state["state"].items():
        shapes = {tuple(t.shape) for t in values.values() if isinstance(t, Tensor)}
        if not 0 <= number < len(parameters) or shapes - {(), tuple(parameters[number].shape)}:
            raise _damage(path)
    # How it works follows from the config and this torch; the rate alone from where the run was.
    groups = optimizer.state_dict()["param_groups"]
    for group, held in zip(groups, state["param_groups"], strict=False):
        rate = held.get("lr")
        if held["params"] != group["params"] or type(rate) is not float or not 0 <= rate < math.inf:
            raise _damage(path)
        group["lr"] = rate
    if len(groups) != len(state["param_groups"]):
        raise _damage(path)
    try:
        optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise _damage(path) from error


def _damage(path: Path) -> GlowkitError:
    return GlowkitError(
        f"{path} is damaged or not a glowkit checkpoint; the best model so far is in "
        f"{path.parent.parent / 'model'}, and a new run can start from the same config.yaml"
    )


def _checked(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} in place of {kind.__name__}")
    return value


def _tensors(state: Any, *others: type) -> dict[str, Any]:
    """A state dict: tensors, and values of other types, by their names."""
    if not isinstance(state, dict):  # torch's own kind of it, too
        raise TypeError("no state dict")
    for name, value in state.items():
        if not isinstance(name, str) or not (is_plain(value) or type(value) in others):
            raise TypeError("a state dict holds other things than tensors")
    return state


def _optimizer(state: Any) -> dict[str, Any]:
    for number, values in _checked(_checked(state, dict)["state"], dict).items():
        _checked(number, int)
        for value in _tensors(values, int, float).values():
            if isinstance(value, Tensor) and not bool(value.isfinite().all()):
                raise TypeError("a moment is not finite")
    for group in _checked(state["param_groups"], list):
        _checked(_checked(group, dict)["params"], list)
    return state
