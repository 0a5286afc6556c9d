"""The training loop: batch, loss, guard, clip, step, average, evaluate, keep, stop."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import InitVar, dataclass
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from glowkit.bijections.standardize import scale_of
from glowkit.core.density import Density
from glowkit.core.finite import not_finite
from glowkit.core.noise import Generator
from glowkit.models import save
from glowkit.nets.batchnorm import BatchShare, share_batch
from glowkit.nets.fast import set_precision
from glowkit.pictures.sheet import save_png
from glowkit.system.errors import GlowkitError
from glowkit.training.allowance import spread
from glowkit.training.batches import (
    Batch,
    Jitter,
    Perturb,
    Preparation,
    noise_of_step,
    train_loader,
    validation_batches,
)
from glowkit.training.companions import Interruption
from glowkit.training.config import make_optimizer
from glowkit.training.metrics import Loggers, Report
from glowkit.training.passes import Captured, Loss, Passes, guarded
from glowkit.training.run import RunFolder, sentences
from glowkit.training.state import (
    Checkpoint,
    Ema,
    Plan,
    RunState,
    fit_optimizer,
    write_checkpoint,
)
from glowkit.training.subject import Objective
from glowkit.training.validation import Rounds, share_of_figures

LOG_EVERY_STEPS = 25
SAVE_EVERY_SECONDS = 60.0
MOST_SKIPPED_IN_A_ROW = 50


@dataclass(eq=False)
class Training:
    """A density under training: what the loop works with, on this process's device.

    fresh: whether this is a run's beginning. trained: the parameters that are. average: the
    averaged weights. share: this rank's part of each batch; the ranks do what one would do alone:
    losses are weighted by examples, noise and dropout belong to an example's place in the whole
    batch, and batch norm sums over all ranks. loggers: rank 0 has some.
    """

    fabric: Fabric
    folder: RunFolder
    model: Density
    subject: Objective
    plan: Plan
    state: RunState
    splits: Mapping[str, Any]
    prepare: Preparation
    report: Report
    loggers: Loggers
    interruption: Interruption
    resumed: InitVar[Checkpoint | None]

    def __post_init__(self, resumed: Checkpoint | None) -> None:
        fabric, model, config = self.fabric, self.model, self.plan.config
        self.perturb = Perturb(config.perturb, model.levels)
        self.loss = fabric.setup_module(Loss(model, self.subject))
        self.jitter = Jitter(config.noise, scale_of(model))  # after the move to the device
        # A group of its own: sums in a backward pass must not meet those that average gradients.
        group = torch.distributed.new_group() if fabric.world_size > 1 else None
        size = self.plan.epochs.batch_size
        self.share = BatchShare(size, fabric.global_rank, fabric.world_size, group)
        self.average = Ema(model, config.ema_decay)
        share_batch(model, self.share)  # after the copy, which sees whole batches
        if config.precision:  # after the copy, which is what is evaluated and saved
            set_precision(model, config.precision)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(
            config.optimizer,
            model,
            config.learning_rate,
            config.weight_decay,
            config.beta2,
        )
        self.fresh = resumed is None
        if resumed is not None:
            self.average.load_state_dict(resumed.ema)
            fit_optimizer(self.optimizer, resumed.optimizer, self.folder.checkpoint)
        self.passes: Passes = self.forward_and_backward
        if fabric.device.type == "cuda" and fabric.world_size == 1:
            self.passes = Captured(self.passes, model, self.trained, self.report.note)
        self.interrupted = False
        self.saved_step, self.saved_elapsed = self.state.step, self.state.elapsed
        self.trained_steps, self.trained_seconds = 0, 0.0
        self.started = time.monotonic() - self.state.elapsed

    def forward_and_backward(self, x: Tensor, context: Tensor | None, noise: Generator) -> Tensor:
        """The figure of a batch, and the gradients of its loss, which DDP averages."""
        loss, figure = self.loss(x, context, noise)
        self.fabric.backward(guarded(loss, self.share.weight))
        return figure

    @property
    def seconds_unsaved(self) -> float:
        return self.state.elapsed - self.saved_elapsed


def train_loop(run: Training) -> None:
    """Train until the budget is used up or somebody interrupts.

    Each step follows from the weights and `run.state` alone, which a checkpoint holds whole: a run
    can stop and go on at any of them, in the middle of an epoch or of an evaluation. Every rank
    comes to the same decisions, because `count` makes them agree on the clock and on interruptions.
    """
    plan, state = run.plan, run.state
    run.report.examples(state.evaluated_examples, len(run.splits["validation"]))
    due = plan.evaluation_due(state)  # killed or interrupted before it was done
    if due:
        evaluate(run)
    if due or run.fresh:
        keep(run)
    batches = read_batches(run)
    while not (run.interrupted or plan.done(state)):
        begun = time.monotonic()
        for group in run.optimizer.param_groups:
            group["lr"] = plan.learning_rate(state)
        x, context = next(batches)
        noise = noise_of_step(plan.config.seed, state.step, run.fabric.device, run.share)
        x = run.jitter(run.perturb(x, noise), noise)
        figure = run.passes(x, context, noise)
        norm = clip(run.trained, plan.config.clip_norm)
        if math.isfinite(norm):
            run.optimizer.step()
            run.average.update()
            state.skipped_in_a_row = 0
        else:
            skip(state)
        run.optimizer.zero_grad()
        count(run, figure.item(), norm, time.monotonic() - begun)
        run.report.step(plan, state)

        due = plan.evaluation_due(state)
        if due and not run.interrupted:
            evaluate(run)
        elif not due and state.step % LOG_EVERY_STEPS == 0:
            log(run)
        if due or run.interrupted or run.seconds_unsaved >= SAVE_EVERY_SECONDS:
            keep(run)


def read_batches(run: Training) -> Iterator[Batch]:
    """This rank's share of the batch of the present step, of the one after it, and so on."""
    # Reading ahead pays only beside another processor.
    workers = 0 if run.fabric.device.type == "cpu" else 2
    loader = train_loader(
        run.splits["train"], run.plan.epochs, run.prepare, run.state.step, run.share, workers
    )
    return (run.fabric.to_device(batch) for batch in loader)


def clip(parameters: list[nn.Parameter], longest: float | None) -> float:
    """Scale the gradients down to this Euclidean norm, if any; their norm before."""
    limit = math.inf if longest is None else longest
    return torch.nn.utils.clip_grad_norm_(parameters, limit, foreach=True).item()


def skip(state: RunState) -> None:
    """Leave out a step whose gradient is not finite. Raises GlowkitError after 50 in a row."""
    state.skipped_steps += 1
    state.skipped_in_a_row += 1
    if state.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
        raise GlowkitError(
            f"{state.skipped_in_a_row} steps in a row, up to step {state.step + 1}, had a loss "
            "or gradient that is not finite; the last good weights are kept: try a lower "
            "--learning-rate or a longer warm-up, from the start"
        )


def count(run: Training, figure: float, norm: float, seconds: float) -> None:
    """Add a step to the run's state, alike on all ranks."""
    state = run.state
    figure, state.elapsed, run.interrupted = agree(run, figure)
    state.step += 1
    state.window_steps += 1
    state.window_loss += figure
    state.window_norm += norm
    state.window_seconds += seconds
    run.trained_steps += 1
    run.trained_seconds += seconds


def agree(run: Training, figure: float = math.nan) -> tuple[float, float, bool]:
    """Mean figure of the whole batch, seconds elapsed and whether to stop, alike on all ranks."""
    elapsed, interrupted = time.monotonic() - run.started, run.interruption.received > 0
    if run.fabric.world_size == 1:
        return figure, elapsed, interrupted
    weight = run.share.weight
    mine = [weight * figure if weight else 0.0, elapsed, float(interrupted)]
    every = gather(run, torch.tensor(mine, dtype=torch.float64))
    return float(every[:, 0].mean()), float(every[:, 1].max()), bool(every[:, 2].max())


def gather(run: Training, mine: Tensor) -> Tensor:
    """The tensors of all ranks, (ranks, ...)."""
    every: Any = run.fabric.all_gather(mine) if run.fabric.world_size > 1 else mine[None]
    return every


def evaluate(run: Training) -> None:
    """The figure of the averaged weights on the validation split; the best weights are kept.

    Under a budget in minutes the first evaluation takes as much of the split as there is time for,
    and all later ones, in a resumed run too, take the same, so that their figures compare.
    """
    state, plan = run.state, run.plan
    run.average.copy_buffers()
    check_weights(run)
    fabric, split, size = run.fabric, run.splits["validation"], plan.epochs.batch_size
    rank, ranks = fabric.global_rank, fabric.world_size
    first, whole = plan.chooses_examples(state), len(split)
    taken = whole if first else state.evaluated_examples
    examples = spread(whole, taken) if taken else None
    batches = validation_batches(
        split, run.prepare, size, fabric.device, rank, ranks, examples, run.perturb
    )
    # Drawing samples takes time too.
    until = state.elapsed + (plan.evaluation_seconds(state) * 2 / 3 if first else math.inf)
    rounds = Rounds(batches, -(-whole // (size * ranks)), lambda: first and agree(run)[1] >= until)

    def stop() -> bool:
        # Several ranks finish the evaluation: they could not agree on where to break it off.
        return ranks == 1 and run.interruption.received > 0

    total = share_of_figures(run.average.model, rounds, stop, run.subject)
    if total is None:
        run.interrupted = True
        return
    figures, examples = gather(run, total).sum(0)
    figure = float(figures / examples)
    # What is not finite, log p = +∞ included, is shown but never kept.
    if math.isfinite(figure) and figure < state.best_figure:
        state.best_figure, state.best_step = figure, state.step
        if run.fabric.is_global_zero:
            save(run.average.model, run.folder.model)
    if run.fabric.is_global_zero and math.isfinite(figure):
        draw_samples(run)
    begun = state.elapsed
    _, state.elapsed, _ = agree(run)
    state.evaluated_step, state.evaluated_elapsed = state.step, state.elapsed
    state.evaluation_seconds = max(0.0, state.elapsed - begun)
    state.aside += state.evaluation_seconds
    state.finished = plan.done(state)
    if first:
        state.evaluated_examples = min(whole, rounds.done * size * ranks)
        run.report.examples(state.evaluated_examples, whole)
    log(run, figure)


def draw_samples(run: Training) -> None:
    step = run.state.step
    try:
        sheet, broken = run.subject.draw(
            run.average.model, run.fabric.device, run.splits["validation"], run.prepare
        )
    except GlowkitError as error:  # such as samples that are not numbers: no reason to stop
        run.report.note(f"no samples at step {step}: {error}")
        return
    if broken:
        run.report.note(f"samples at step {step}: {broken}")
    save_png(sheet, run.folder.samples(step))


def log(run: Training, validation: float | None = None) -> None:
    """One row: means since the last one, NaN where a step of them was."""
    state, plan = run.state, run.plan
    values = (
        plan.epoch(state),
        state.elapsed,
        state.window_figure,
        validation,
        run.optimizer.param_groups[0]["lr"],
        state.window_gradient_norm,
        plan.images_per_second(state),
        state.skipped_steps,
    )
    named = zip(run.subject.columns[1:], values, strict=True)  # all but the step
    row = {name: value for name, value in named if value is not None}
    if validation is not None:
        run.report.evaluation(plan, state, validation)
    for logger in run.loggers:
        with sentences(run.folder.path):
            logger.log_metrics(row, state.step)
    state.clear_window()


def keep(run: Training) -> None:
    """Write last.ckpt, except amid skipped steps: those weights may be past saving."""
    state = run.state
    if state.skipped_in_a_row:
        return
    check_weights(run)
    run.saved_step, run.saved_elapsed = state.step, state.elapsed
    if not run.fabric.is_global_zero:
        return
    for logger in run.loggers:  # the rows that the checkpoint relies on come first
        with sentences(run.folder.path):
            logger.save()
    write_checkpoint(
        run.folder.checkpoint,
        Checkpoint(
            state,
            run.plan.epochs.images,
            run.model.state_dict(),
            run.average.state_dict(),
            run.optimizer.state_dict(),
        ),
    )


def check_weights(run: Training) -> None:
    """Refuse to evaluate or save weights that are not finite, on every rank if on one.

    A likelihood may hide them, and an average never gets rid of them.
    """
    averages = {f"the average of {n}": t for n, t in run.average.model.state_dict().items()}
    wrong = not_finite({**run.model.state_dict(), **averages})
    if not gather(run, torch.tensor(len(wrong))).max():
        return
    named = f"{wrong[0]} and {len(wrong) - 1} more" if wrong[1:] else "".join(wrong)
    raise GlowkitError(
        f"at step {run.state.step} weights are not finite: {named or 'of another rank'};"
        f" the last good ones are kept, and the best model in {run.folder.model} if there was"
        " an evaluation: try a lower --learning-rate or a longer warm-up, from the start"
    )
