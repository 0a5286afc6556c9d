"""The forward and backward pass of a training step; on a GPU as one CUDA graph."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from glowkit.core.density import Density
from glowkit.core.noise import Generator
from glowkit.nets.following import following
from glowkit.training.subject import Objective

WARM_UP = 3
"""Passes before a graph is captured, so that libraries have chosen and allocated."""

Passes = Callable[[Tensor, Tensor | None, Generator], Tensor]
"""Both passes on a batch with its noise: the figure, and gradients in the parameters' `grad`."""


class Loss(nn.Module):
    """What training minimises, and the figure alone, two scalars, of a batch."""

    def __init__(self, model: Density, subject: Objective) -> None:
        super().__init__()
        self.model = model
        self.subject = subject

    def forward(self, x: Tensor, context: Tensor | None, noise: Generator) -> tuple[Tensor, Tensor]:
        with following(self.model):
            loss, figure = self.subject.loss(self.model, x, context, noise)
        return loss, figure.detach()


def guarded(loss: Tensor, weight: float) -> Tensor:
    """The loss as this rank's part of the batch's, times a factor of 1, or NaN if not finite.

    A loss that is not finite may have a finite gradient on this rank. The factor makes the gradient
    NaN too, so that one look at its norm, which DDP has already averaged, tells every rank the
    same.
    """
    return weight * loss * (1 + 0 * loss.detach())


class Captured:
    """The passes as they are done once, and from then on replayed: launched without Python.

    A flow is many small operations, and on a GPU Python launches them more slowly than they run.
    The same kernels run on the same numbers, from the same seeds. Batches have one shape.
    `passes` must be those of one process, and end with gradients that are None where it began.

    Args:
        passes: what is captured; run as it is where that fails, which `say` is told.
        model: its buffers are left as they were by the passes before the capture.
        say: takes the sentence.
    """

    def __init__(
        self,
        passes: Passes,
        model: nn.Module,
        parameters: Sequence[nn.Parameter],
        say: Callable[[str], object],
    ) -> None:
        self.passes = passes
        self.model = model
        self.parameters = parameters
        self.say = say
        self.graph: torch.cuda.CUDAGraph | None = None
        self.captures = True

    def __call__(self, x: Tensor, context: Tensor | None, noise: Generator) -> Tensor:
        if not isinstance(noise, torch.Generator) or not self.captures:
            return self.passes(x, context, noise)
        seed = noise.initial_seed()
        if self.graph is None:
            try:
                self._capture(x, context)
            except RuntimeError as error:  # of many kinds: what a kernel library cannot do
                self.captures = False
                reason = str(error).strip().splitlines()[0]
                self.say(f"note: steps are not captured as a CUDA graph, and are slower: {reason}")
                _clear(self.parameters)
                torch.cuda.manual_seed(seed)
                return self.passes(x, context, noise)
        assert self.graph is not None
        self.x.copy_(x)
        if context is not None:
            self.context.copy_(context)
        self.noise.manual_seed(seed)
        torch.cuda.manual_seed(seed)  # of dropout, as a step's noise is seeded
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.figure

    def _capture(self, x: Tensor, context: Tensor | None) -> None:
        self.x, self.context = x.clone(), torch.empty(0) if context is None else context.clone()
        self.noise = torch.Generator(x.device)
        given = self.x, None if context is None else self.context, self.noise
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    self.passes(*given)
                    _clear(self.parameters)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self.noise)
            with torch.cuda.graph(graph):
                self.figure = self.passes(*given)
            self.gradients = [parameter.grad for parameter in self.parameters]
            self.graph = graph
        finally:  # after a failure too, where the passes are then run as they are
            torch.cuda.current_stream().wait_stream(aside)
            with torch.no_grad():
                for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                    buffer.copy_(before)


def _clear(parameters: Sequence[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None
