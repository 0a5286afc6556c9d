"""The training loop: batch, loss, guard, clip, step, average, evaluate, keep, stop."""

from __future__ import annotations  # PIL's types are named without importing it

import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from glowkit.core.density import Density, Generator, Portion
from glowkit.core.finite import not_finite
from glowkit.core.freezing import frozen
from glowkit.models import save
from glowkit.pictures.sheet import save_png
from glowkit.system.errors import GlowkitError
from glowkit.training.batches import (
    TRAIN_NOISE,
    VALIDATION_NOISE,
    Batch,
    Preparation,
    Split,
    mixed_seed,
    train_loader,
)
from glowkit.training.objective import objective_of
from glowkit.training.run import sentences
from glowkit.training.state import Checkpoint, RunState, write_checkpoint

if TYPE_CHECKING:
    from glowkit.training.start import Training

LOG_EVERY_STEPS = 25
SAVE_EVERY_SECONDS = 60.0
MOST_SKIPPED_IN_A_ROW = 50


def train_loop(run: Training) -> None:
    """Train until the budget is used up or somebody interrupts.

    Each step follows from the weights and `run.state` alone, which a checkpoint holds whole: a run
    can stop and go on at any of them, in the middle of an epoch or of an evaluation. Every rank
    comes to the same decisions, because `count` makes them agree on the clock and on interruptions.
    """
    plan, state = run.plan, run.state
    due = plan.evaluation_due(state)  # killed or interrupted before it was done
    if due:
        evaluate(run)
    if due or run.fresh:
        keep(run)
    batches = read_batches(run)
    while not (run.interrupted or plan.done(state)):
        begun = time.monotonic()
        set_rate(run.optimizer, plan.learning_rate(state))
        x, context = next(batches)
        loss, figure = run.loss(x, context, noise_of_step(run))
        run.fabric.backward(guarded(loss, run.share.weight))
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


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def noise_of_step(run: Training) -> Generator:
    """Seed all randomness by the step, so that a step taken again is the same.

    Of the dequantization by what is returned, of dropout by torch's own generator. Every rank draws
    for the whole batch and keeps what belongs to its examples.
    """
    device, share = run.fabric.device, run.share
    seed = mixed_seed(TRAIN_NOISE, run.plan.config.seed, run.state.step, 0)
    # Not torch.manual_seed, which takes milliseconds to seed devices that are not there.
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
    whole = torch.Generator(device).manual_seed(seed)
    return Portion(whole, share.rows, share.size) if share.ranks > 1 else whole


def guarded(loss: Tensor, weight: float) -> Tensor:
    """The loss as this rank's part of the batch's, times a factor of 1, or NaN if not finite.

    A loss that is not finite may have a finite gradient on this rank. The factor makes the gradient
    NaN too, so that one look at its norm, which DDP has already averaged, tells every rank the
    same.
    """
    return weight * loss * (1 + 0 * loss.detach())


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
    if run.fabric.world_size == 1:
        return mine[None]
    mine = mine.to(run.fabric.device)
    every = [torch.empty_like(mine) for _ in range(run.fabric.world_size)]
    dist.all_gather(every, mine)
    return torch.stack(every)


def evaluate(run: Training) -> None:
    """The figure of the averaged weights on the validation split; the best weights are kept."""
    state, plan = run.state, run.plan
    run.average.copy_buffers()
    check_weights(run)
    alone = run.fabric.world_size == 1
    total = share_of_figures(
        run.average.model,
        run.splits["validation"],
        run.prepare,
        plan.epochs.batch_size,
        run.fabric.device,
        run.fabric.global_rank,
        run.fabric.world_size,
        # Several ranks finish the evaluation: they could not agree on where to break it off.
        lambda: alone and run.interruption.received > 0,
    )
    if total is None:
        run.interrupted = True
        return
    figures, examples = gather(run, total).sum(0)
    figure = float(figures / examples)
    _, state.elapsed, _ = agree(run)
    state.evaluated_step, state.evaluated_elapsed = state.step, state.elapsed
    state.finished = plan.done(state)
    # What is not finite, log p = +∞ included, is shown but never kept.
    if math.isfinite(figure) and figure < state.best_figure:
        state.best_figure, state.best_step = figure, state.step
        if run.fabric.is_global_zero:
            save(run.average.model, run.folder.model)
    if run.fabric.is_global_zero and math.isfinite(figure):
        draw_samples(run)
    log(run, figure)


def draw_samples(run: Training) -> None:
    step = run.state.step
    try:
        sheet, broken = run.subject.draw(
            run.average.model, run.fabric.device, run.splits["validation"]
        )
    except GlowkitError as error:  # such as samples that are not numbers: no reason to stop
        run.report.note(f"no samples at step {step}: {error}")
        return
    if broken:
        run.report.note(f"samples at step {step}: {broken}")
    save_png(sheet, run.folder.samples(step))


def log(run: Training, validation: float | None = None) -> None:
    """One row: means since the last one, NaN where a step of them was."""
    state, plan, subject = run.state, run.plan, run.subject
    row = {
        "epoch": plan.epoch(state),
        "elapsed_seconds": state.elapsed,
        f"train_{subject.figure}": state.window_figure,
        "learning_rate": run.optimizer.param_groups[0]["lr"],
        "gradient_norm": state.window_gradient_norm,
        f"{subject.things}_per_second": plan.images_per_second(state),
        "skipped_steps": state.skipped_steps,
    }
    if validation is not None:
        row[f"validation_{subject.figure}"] = validation
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


@torch.no_grad()
def share_of_figures(
    model: Density,
    split: Split,
    prepare: Preparation,
    batch_size: int,
    device: torch.device,
    rank: int = 0,
    ranks: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> Tensor | None:
    """Sum of the figure and number of examples of every `ranks`-th batch, float64; None if stopped.

    The ranks' results add up to the whole split's, without padding or a dropped batch. The
    dequantization noise is the same at every evaluation and for any number of ranks, so that their
    differences are the model's.
    """
    figure_of_each = objective_of(model).each
    total = torch.zeros(2, dtype=torch.float64)
    batches = -(-len(split) // batch_size)
    with frozen(model):
        for number in range(rank, batches, ranks):
            if stop():
                return None
            rows = range(len(split))[number * batch_size : (number + 1) * batch_size]
            x, context = prepare(split.__getitems__(list(rows)))
            generator = torch.Generator(device).manual_seed(mixed_seed(VALIDATION_NOISE, number, 0))
            context = None if context is None else context.to(device)
            each = figure_of_each(model, x.to(device), context, generator)
            total += torch.stack([each.cpu().double().sum(), torch.tensor(float(len(each)))])
    return total
