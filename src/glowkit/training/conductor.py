"""Conductor: what happens between batches - counting, evaluating, saving, stopping."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from glowkit.core.density import Density
from glowkit.core.finite import not_finite
from glowkit.models import save
from glowkit.nets.batchnorm import share_batch
from glowkit.nets.precision import set_precision
from glowkit.pictures.sheet import save_png
from glowkit.system.errors import GlowkitError
from glowkit.training.batches import VALIDATION_NOISE, Preparation, Split, mixed_seed
from glowkit.training.checkpoint import Checkpoint, fit_optimizer, write_checkpoint
from glowkit.training.ema import Ema
from glowkit.training.interrupt import Interruption
from glowkit.training.metrics import MetricsFile
from glowkit.training.module import FlowModule
from glowkit.training.objective import subject_of
from glowkit.training.progress import Report
from glowkit.training.run import RunFolder, sentences

LOG_EVERY_STEPS = 25
SAVE_EVERY_SECONDS = 60.0


class Conductor(Callback):
    """Keeps a FlowModule's run state and run folder, and ends the run when its budget is used up.

    Lightning is given one endless epoch, and this callback decides by the run's own state, which
    the checkpoint holds whole: a run can then stop and go on at any batch, in the middle of an
    epoch or of an evaluation, where Lightning's counters know a few such places only. Every rank
    comes to the same decision, because ranks first agree on the clock and on interruptions.
    """

    def __init__(
        self,
        folder: RunFolder,
        validation: Split,
        interruption: Interruption,
        report: Report,
        metrics: MetricsFile,
        resumed: Checkpoint | None,
    ) -> None:
        self.folder = folder
        self.validation = validation
        self.interruption = interruption
        self.report = report
        self.metrics = metrics
        self.resumed = resumed
        self.interrupted = False
        self.saved_step = resumed.state.step if resumed else 0
        self.trained_steps = 0
        self.trained_seconds = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module = _flow(pl_module)
        state = module.run_state
        self.interruption.listen()
        self.ema = Ema(module.model, module.plan.config.ema_decay)
        share_batch(module.model, module.share)  # after the copy, which sees whole batches
        precision = module.plan.config.precision
        if precision:  # after the copy, which is what is evaluated and saved
            set_precision(module.model, precision)
        self.started = time.monotonic() - state.elapsed
        self.saved_elapsed = state.elapsed
        if self.resumed is None:
            self._save(trainer, module)
        else:
            self.ema.load_state_dict(self.resumed.ema)
            path = self.folder.checkpoint
            fit_optimizer(trainer.optimizers[0], self.resumed.optimizer, path)
            self.resumed = None  # release memory
        self.report.start()
        if module.plan.evaluation_due(state):  # killed or interrupted before it was done
            self._evaluate(trainer, module)
        self._stop_when_done(trainer, module)
        self.mark = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module = _flow(pl_module)
        state, plan = module.run_state, module.plan
        seconds = time.monotonic() - self.mark
        self.trained_steps += 1
        self.trained_seconds += seconds
        loss, state.elapsed, self.interrupted = self._agree(trainer, module)
        state.step += 1
        state.window_steps += 1
        state.window_loss += loss
        state.window_norm += module.last_norm
        state.window_seconds += seconds
        if state.skipped_in_a_row == 0:
            self.ema.update()
        self.report.step(plan, state)
        due = plan.evaluation_due(state)
        if state.step % LOG_EVERY_STEPS == 0 and not due:
            self._log(trainer, module)
        if self.interrupted:
            self._save(trainer, module)
        elif due:
            self._evaluate(trainer, module)
        elif state.elapsed - self.saved_elapsed >= SAVE_EVERY_SECONDS:
            self._save(trainer, module)
        self._stop_when_done(trainer, module)
        self.mark = time.monotonic()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.report.stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self.report.stop()

    def _stop_when_done(self, trainer: Trainer, module: FlowModule) -> None:
        if self.interrupted or module.plan.progress(module.run_state) >= 1:
            trainer.should_stop = True

    def _agree(self, trainer: Trainer, module: FlowModule) -> tuple[float, float, bool]:
        """Mean loss of the whole batch, seconds elapsed and whether to stop, alike on all ranks."""
        loss, elapsed = module.last_loss, time.monotonic() - self.started
        interrupted = self.interruption.received > 0
        if trainer.world_size == 1:
            return loss, elapsed, interrupted
        weight = module.share.weight
        mine = torch.tensor(
            [weight * loss if weight else 0.0, elapsed, float(interrupted)],
            dtype=torch.float64,
            device=module.device,
        )
        every = trainer.strategy.all_gather(mine)
        return float(every[:, 0].mean()), float(every[:, 1].max()), bool(every[:, 2].max())

    def _evaluate(self, trainer: Trainer, module: FlowModule) -> None:
        """The figure of the averaged weights on the validation split; keep the best; save."""
        state, plan = module.run_state, module.plan
        self.ema.copy_buffers()
        self._check_weights(trainer, module)
        alone = trainer.world_size == 1
        total = share_of_figures(
            self.ema.model,
            self.validation,
            module.prepare,
            plan.epochs.batch_size,
            module.device,
            trainer.global_rank,
            trainer.world_size,
            # Several ranks finish the evaluation: they could not agree on where to break it off.
            lambda: alone and self.interruption.received > 0,
        )
        if total is None:
            self.interrupted = True
            self._save(trainer, module)
            return
        if not alone:
            total = trainer.strategy.all_gather(total.to(module.device)).sum(0)
        figure = float(total[0] / total[1])
        _, state.elapsed, _ = self._agree(trainer, module)
        state.evaluated_step, state.evaluated_elapsed = state.step, state.elapsed
        state.finished = plan.progress(state) >= 1
        # What is not finite, log p = +∞ included, is shown but never kept.
        if math.isfinite(figure) and figure < state.best_figure:
            state.best_figure, state.best_step = figure, state.step
            if trainer.is_global_zero:
                save(self.ema.model, self.folder.model)
        if trainer.is_global_zero and math.isfinite(figure):
            self._draw_samples(module)
        self._log(trainer, module, figure)
        self._save(trainer, module)

    def _check_weights(self, trainer: Trainer, module: FlowModule) -> None:
        """Refuse to evaluate or save weights that are not finite, on every rank if on one.

        A likelihood may hide them, and an average never gets rid of them.
        """
        averages = {f"the average of {n}": t for n, t in self.ema.model.state_dict().items()}
        wrong = not_finite({**module.model.state_dict(), **averages})
        lost = torch.tensor(float(len(wrong)), device=module.device)
        if trainer.world_size > 1:
            lost = trainer.strategy.all_gather(lost).max()
        if not lost:
            return
        named = f"{wrong[0]} and {len(wrong) - 1} more" if wrong[1:] else "".join(wrong)
        raise GlowkitError(
            f"at step {module.run_state.step} weights are not finite: {named or 'of another rank'};"
            f" the last good ones are kept, and the best model in {self.folder.model} if there was"
            " an evaluation: try a lower --learning-rate or a longer warm-up, from the start"
        )

    def _draw_samples(self, module: FlowModule) -> None:
        step = module.run_state.step
        try:
            sheet, broken = module.subject.draw(self.ema.model, module.device, self.validation)
        except GlowkitError as error:  # such as samples that are not numbers: no reason to stop
            self.report.note(f"no samples at step {step}: {error}")
            return
        if broken:
            self.report.note(f"samples at step {step}: {broken}")
        save_png(sheet, self.folder.samples(step))

    def _log(self, trainer: Trainer, module: FlowModule, validation: float | None = None) -> None:
        """One row: means since the last one, NaN where a step of them was."""
        state, plan, subject = module.run_state, module.plan, module.subject
        row = {
            "epoch": plan.epoch(state),
            "elapsed_seconds": state.elapsed,
            f"train_{subject.figure}": state.window_figure,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "gradient_norm": state.window_gradient_norm,
            f"{subject.things}_per_second": plan.images_per_second(state),
            "skipped_steps": state.skipped_steps,
        }
        if validation is not None:
            row[f"validation_{subject.figure}"] = validation
            self.report.evaluation(plan, state, validation)
        for logger in trainer.loggers:
            with sentences(self.folder.path):
                logger.log_metrics(row, state.step)
        state.clear_window()

    def _save(self, trainer: Trainer, module: FlowModule) -> None:
        """Write last.ckpt, except amid skipped steps: those weights may be past saving."""
        state = module.run_state
        if state.skipped_in_a_row:
            return
        self._check_weights(trainer, module)
        self.saved_step, self.saved_elapsed = state.step, state.elapsed
        if trainer.is_global_zero:
            self.metrics.save()
            optimizer = trainer.strategy.optimizer_state(trainer.optimizers[0])
            write_checkpoint(
                self.folder.checkpoint,
                Checkpoint(
                    state,
                    module.plan.epochs.images,
                    module.model.state_dict(),
                    self.ema.state_dict(),
                    optimizer,
                ),
            )


def _flow(module: LightningModule) -> FlowModule:
    assert isinstance(module, FlowModule)
    return module


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
    figure_of_each = subject_of(model.config).each
    total = torch.zeros(2, dtype=torch.float64)
    batches = -(-len(split) // batch_size)
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
