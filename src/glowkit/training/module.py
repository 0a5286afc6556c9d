"""FlowModule: the loss, the optimiser, and the guard against numbers that are not finite."""

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from glowkit.core.density import Density
from glowkit.core.noise import Portion
from glowkit.nets.batchnorm import BatchShare, following_moments
from glowkit.system.errors import GlowkitError
from glowkit.training.batches import (
    TRAIN_NOISE,
    Batch,
    Preparation,
    Split,
    mixed_seed,
    train_loader,
)
from glowkit.training.config import learning_rate_factor, make_optimizer
from glowkit.training.objective import subject_of
from glowkit.training.state import Plan, RunState

MOST_SKIPPED_IN_A_ROW = 50


class FlowModule(LightningModule):
    """A density under training. `state` counts; the callback `Conductor` keeps it up to date.

    A step whose gradient is not finite is skipped: its gradients are dropped before the optimiser
    sees them. Raises GlowkitError when 50 in a row are skipped.
    """

    def __init__(
        self, model: Density, plan: Plan, state: RunState, split: Split, prepare: Preparation
    ) -> None:
        super().__init__()
        self.model = model
        self.subject = subject_of(model.config)
        self.plan = plan
        self.run_state = state
        self.split = split
        self.prepare = prepare
        self.last_loss = math.nan
        self.last_norm = math.nan
        self.share = BatchShare(plan.epochs.batch_size)
        self._trained = [p for p in model.parameters() if p.requires_grad]

    def setup(self, stage: str) -> None:
        """Learn which share of each batch is this rank's; the ranks do what one would do alone.

        Losses are weighted by examples, noise and dropout belong to an example's place in the whole
        batch, and batch norm sums over all ranks.
        """
        ranks = self.trainer.world_size
        # A group of its own: sums in a backward pass must not meet those that average gradients.
        group = torch.distributed.new_group() if ranks > 1 else None
        self.share = BatchShare(self.plan.epochs.batch_size, self.global_rank, ranks, group)

    def train_dataloader(self) -> "DataLoader[tuple[Tensor, int]]":
        # Reading ahead pays only beside another processor.
        workers = 0 if self.device.type == "cpu" else 2
        return train_loader(
            self.split,
            self.plan.epochs,
            self.prepare,
            self.run_state.step,
            self.share,
            workers,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        config = self.plan.config
        return make_optimizer(
            config.optimizer, self._trained, config.learning_rate, config.weight_decay
        )

    def learning_rate(self) -> float:
        """Of the next step."""
        config, state = self.plan.config, self.run_state
        progress = self.plan.progress(state)
        return config.learning_rate * learning_rate_factor(
            state.step, progress, config.warmup_steps
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean figure of a batch, plus what a classifier head adds, as this rank's part of it.

        All randomness is seeded by the step, so that a step taken again is the same: the
        dequantization by a generator, dropout by torch's own. Every rank draws for the whole batch
        and keeps what belongs to its examples.
        """
        x, context = batch
        seed = mixed_seed(TRAIN_NOISE, self.plan.config.seed, self.run_state.step, 0)
        # Not torch.manual_seed, which takes milliseconds to seed devices that are not there.
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)
        whole = torch.Generator(self.device).manual_seed(seed)
        share = self.share
        generator = Portion(whole, share.rows, share.size) if share.ranks > 1 else whole
        with following_moments(self.model):
            loss, figure = self.subject.loss(self.model, x, context, generator)
        self.last_loss = figure.item()
        # A loss that is not finite may have a finite gradient on this rank. This factor, 1 or
        # NaN, makes the gradient NaN too, so that one look at its norm, which DDP has already
        # averaged, tells every rank the same.
        return share.weight * loss * (1 + 0 * loss.detach())

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.learning_rate()

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any
    ) -> None:
        """Clip the gradient, or drop it when its norm is not finite."""
        clip = self.plan.config.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(
            self._trained, math.inf if clip is None else clip, foreach=True
        )
        self.last_norm = norm.item()
        state = self.run_state
        if math.isfinite(self.last_norm):
            state.skipped_in_a_row = 0
            return
        for parameter in self._trained:
            parameter.grad = None
        state.skipped_steps += 1
        state.skipped_in_a_row += 1
        if state.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            raise GlowkitError(
                f"{state.skipped_in_a_row} steps in a row, up to step {state.step + 1}, had a loss "
                "or gradient that is not finite; the last good weights are kept: try a lower "
                "--learning-rate or a longer warm-up, from the start"
            )
