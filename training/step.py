"""One optimiser step of a stack of models: gradient, clipping, Adam, average."""

from collections.abc import Callable

import torch
from torch import Tensor

from training.batches import Batch
from training.loss import Losses, loss_and_gradient
from training.optim import Adam, clip_by_model, update_average
from training.precision import for_products, product_mode
from training.stack import Stack, State
from training.weights import flatten, unflatten

# weights, moments, batch, 1 - beta1^step, 1 - beta2^step -> losses, gradient norms (S,)
_Descend = Callable[[Tensor, Adam, Batch, Tensor, Tensor], tuple[Losses, Tensor]]


class Step:
    """Takes steps of one stack."""

    def __init__(self, stack: Stack) -> None:
        self.config = stack.config
        self.descend = stack.compiler(_descend(stack))
        # Tensors, not numbers: those would be compiled into the step. Filled on the device, which
        # the host need not wait for.
        self.correction1, self.correction2 = (
            torch.zeros((), dtype=torch.float64, device=stack.device) for _ in range(2)
        )

    def __call__(self, state: State, batch: Batch) -> tuple[Losses, Tensor]:
        """Train on a batch, in place; return the losses and the norms of the gradients, (S,)."""
        config = self.config
        state.step += 1
        self.correction1.fill_(1 - config.adam_beta1**state.step)
        self.correction2.fill_(1 - config.adam_beta2**state.step)
        with product_mode(config.precision):
            losses, norms = self.descend(
                state.weights, state.adam, batch, self.correction1, self.correction2
            )
        update_average(
            state.average,
            state.weights,
            state.step,
            every=config.ema_every,
            warmup=config.ema_warmup,
            largest=config.ema_decay,
        )
        state.note_failures(losses.total)
        return losses, norms


def _descend(stack: Stack) -> _Descend:
    """Return the part of a step that is one graph."""
    config, layout = stack.config, stack.layout
    features, schedule = stack.features(), stack.schedule()

    def descend(
        weights: Tensor, adam: Adam, batch: Batch, correction1: Tensor, correction2: Tensor
    ) -> tuple[Losses, Tensor]:
        losses, gradient = loss_and_gradient(
            for_products(unflatten(weights, layout), config.precision),
            features,
            schedule,
            batch,
            config.mining,
            stack.contrastive_weight,
            stack.noise_scale,
            quirks=config.reference_quirks,
        )
        flat = flatten(gradient)
        norms = clip_by_model(flat, config.grad_clip)
        adam.update(
            weights,
            flat,
            correction1,
            correction2,
            stack.learning_rate,
            config.adam_beta1,
            config.adam_beta2,
        )
        return losses, norms

    return descend
