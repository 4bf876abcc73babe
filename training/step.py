"""One optimiser step of a stack of models: gradient, clipping, Adam, average."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from training.batches import Batch
from training.loss import Losses, loss_and_gradient
from training.optim import Adam, clip_by_model, update_average
from training.precision import for_products, product_mode
from training.stack import Stack, State
from training.strategies import Mining, mining_at
from training.weights import flatten, unflatten


class _PerModel(NamedTuple):
    """The settings that are numbers of a model."""

    learning_rate: Tensor  # (S, 1)
    contrastive_weight: Tensor  # (S,)
    noise_scale: Tensor  # (S, 1, 1)


# weights, moments, batch, settings, 1 - beta1^step, 1 - beta2^step -> losses, norms (S,)
Descend = Callable[[Tensor, Adam, Batch, _PerModel, Tensor, Tensor], tuple[Losses, Tensor]]


class Step:
    """Takes steps of one stack.

    A step has three parts, so that the second can be recorded and replayed: it is all of the
    arithmetic, and reads nothing of the host that differs from step to step.
    """

    def __init__(self, stack: Stack) -> None:
        self.config, self.groups = stack.config, stack.groups
        self.stack = stack
        self.graphs: dict[Mining, Descend] = {}
        # Tensors, not numbers: those would be compiled into the step. Written on the device, which
        # the host need not wait for, and always in the same place.
        numbers = (stack.learning_rates.settings, *stack.numbers)
        self.settings = _PerModel(*(number.clone() for number in numbers))
        self.correction1, self.correction2 = (
            torch.zeros((), dtype=torch.float64, device=stack.device) for _ in range(2)
        )

    def __call__(self, state: State, batch: Batch) -> tuple[Losses, Tensor]:
        """Train on a batch, in place; return the losses and the norms of the gradients, (S,)."""
        graph = self.begin(state)
        losses, norms = self.descend(graph, state, batch)
        self.end(state, losses)
        return losses, norms

    def begin(self, state: State) -> Descend:
        """Count the step, bring the numbers of the device to it; return its graph."""
        config = self.config
        state.step += 1
        self.correction1.fill_(1 - config.adam_beta1**state.step)
        self.correction2.fill_(1 - config.adam_beta2**state.step)
        self.stack.learning_rates.write(self.settings.learning_rate, state.step)
        numbers = self.stack.mining_numbers(state.step)
        if numbers is not self.stack.numbers:
            self.settings.contrastive_weight.copy_(numbers.contrastive_weight)
            self.settings.noise_scale.copy_(numbers.noise_scale)
        return self._graph(state.step)

    def descend(self, graph: Descend, state: State, batch: Batch) -> tuple[Losses, Tensor]:
        """Change weights and moments in place; return the losses and norms, (S,)."""
        with product_mode(self.config.precision):
            results = [self._descend_group(graph, state, batch, group) for group in self.groups]
        by_model = (_joined(parts) for parts in zip(*(part for part, _ in results), strict=True))
        losses = Losses(*by_model)  # type: ignore[arg-type]
        return losses, torch.cat([norms for _, norms in results])

    def end(self, state: State, losses: Losses) -> None:
        """Bring the averages up to date, and remember which models failed."""
        config = self.config
        update_average(
            state.average,
            state.weights,
            state.step,
            every=config.ema_every,
            warmup=config.ema_warmup,
            largest=config.ema_decay,
        )
        state.note_failures(losses.total)

    def _graph(self, step: int) -> Descend:
        """Return the part of a step that is one graph: one per length that a curriculum has."""
        mining = mining_at(self.config.mining, step, self.config.steps)
        if mining not in self.graphs:
            self.graphs[mining] = self.stack.compiler(_descend(self.stack, mining))
        return self.graphs[mining]

    def _descend_group(
        self, graph: Descend, state: State, batch: Batch, group: slice
    ) -> tuple[Losses, Tensor]:
        return graph(
            state.weights[group],
            Adam(*(moment[group] for moment in state.adam)),
            Batch(*(None if part is None else part[group] for part in batch)),  # type: ignore[arg-type]
            _PerModel(*(numbers[group] for numbers in self.settings)),
            self.correction1,
            self.correction2,
        )


def _joined(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    """Join what groups of models returned; None where their strategy has no such loss."""
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None


def _descend(stack: Stack, mining: Mining) -> Descend:
    """Return the part of a step that is one graph, for the strategy as it is then."""
    config, layout = stack.config, stack.layout
    features, schedule = stack.features(), stack.schedule()
    # Read here, once: the graph closes over numbers, whatever watches who reads the config.
    precision, quirks = config.precision, config.reference_quirks
    clip, beta1, beta2 = config.grad_clip, config.adam_beta1, config.adam_beta2

    def descend(
        weights: Tensor,
        adam: Adam,
        batch: Batch,
        settings: _PerModel,
        correction1: Tensor,
        correction2: Tensor,
    ) -> tuple[Losses, Tensor]:
        losses, gradient = loss_and_gradient(
            for_products(unflatten(weights, layout), precision),
            features,
            schedule,
            batch,
            mining,
            settings.contrastive_weight,
            settings.noise_scale,
            quirks=quirks,
        )
        flat = flatten(gradient)
        norms = clip_by_model(flat, clip)
        adam.update(
            weights,
            flat,
            correction1,
            correction2,
            settings.learning_rate,
            beta1,
            beta2,
        )
        return losses, norms

    return descend
