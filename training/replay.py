"""Steps of a stack, its batches included; on a GPU recorded once and replayed from then on.

A step of a small stack is some hundred kernels of a few microseconds, and the host needs longer to
launch each of them than the GPU to run it. Replayed, they are one launch. Drawing stays outside: so
a random stream stands where it would without recording, and a checkpoint finds it there.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from training.batches import BatchSource, Drawn
from training.loss import Losses
from training.stack import Stack, State
from training.step import Descend, Step

# Steps of a graph before it is recorded: in the first it is compiled, and libraries set up what
# they cannot while they are recorded.
WARM_UP = 3

Work = Callable[[], tuple[Losses, Tensor]]
"""Does the arithmetic of a step in place; returns the losses and the norms of the gradients."""

log = logging.getLogger(__name__)


def cuda_graph(work: Work) -> Work:
    """Record work on the GPU without doing it; what is returned does it, and writes where it did.

    Raises:
        RuntimeError: something in it cannot be recorded.
    """
    graph = torch.cuda.CUDAGraph()
    # Around it, because a recording that fails would leave its own stream the current one. What
    # other threads do on the GPU meanwhile is none of the recording's business.
    with (
        torch.cuda.stream(torch.cuda.current_stream()),
        torch.cuda.graph(graph, capture_error_mode="thread_local"),
    ):
        results = work()

    def replay() -> tuple[Losses, Tensor]:
        graph.replay()
        return results

    return replay


class Steps:
    """Draws a batch and takes a step on it, again and again."""

    def __init__(
        self, stack: Stack, source: BatchSource, record: Callable[[Work], Work] | None
    ) -> None:
        self.step, self.source, self.record = Step(stack), source, record
        self.drawn: Drawn | None = None
        self.recorded: dict[Descend, Work] = {}
        self.taken: dict[Descend, int] = {}  # steps of each graph

    def __call__(self, state: State) -> tuple[Losses, Tensor]:
        """Train on the next batch, in place; return the losses and the gradients' norms, (S,).

        Where steps are recorded, the next step overwrites what this one returned.
        """
        graph = self.step.begin(state)
        drawn = self.source.draw(self.drawn)
        if self.record:
            self.drawn = drawn  # read by what is recorded, so always the same tensors
        losses, norms = self._work(graph, state, drawn)()
        self.step.end(state, losses)
        return losses, norms

    def _work(self, graph: Descend, state: State, drawn: Drawn) -> Work:
        """Return the arithmetic of a step: recorded, unless it is too early or cannot be."""

        def work() -> tuple[Losses, Tensor]:
            return self.step.descend(graph, state, self.source.batch(drawn))

        if graph in self.recorded:
            return self.recorded[graph]
        self.taken[graph] = self.taken.get(graph, 0) + 1
        if self.record is None or self.taken[graph] <= WARM_UP:
            return work
        try:
            self.recorded[graph] = self.record(work)
        except RuntimeError as error:  # nothing was done yet, so this step is like those before
            log.warning("training goes on, but steps cannot be recorded: %s", error)
            self.record = None
            return work
        return self.recorded[graph]
