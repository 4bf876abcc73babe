"""The training loop of a stack of models, visible in one place."""

import time
from collections.abc import Callable

from training.checkpoint import Checkpoints
from training.loss import loss_and_gradient
from training.optim import clip_by_model, update_average
from training.progress import Observer, Watch
from training.stack import Stack, State
from training.weights import flatten, unflatten


def train_stack(
    stack: Stack,
    observe: Observer,
    should_stop: Callable[[], bool],
    checkpoints: Checkpoints | None = None,
) -> State:
    """Train the runs of a stack; the state's `step` tells whether they were stopped early.

    Stops before the last step when asked to, or when no run has a finite loss any more. Goes on
    where the checkpoints end, and leaves one behind.
    """
    config, layout = stack.config, stack.layout
    features, schedule, source = stack.features(), stack.schedule(), stack.batches()
    state = State.initial(stack.initial_weights())
    if checkpoints:
        checkpoints.restore(state, source)
    started = time.monotonic() - state.seconds
    watch = Watch(stack, state, observe)
    watch.start()
    while state.step < config.steps and not should_stop():
        batch = source.next()
        losses, gradient = loss_and_gradient(
            unflatten(state.weights, layout),
            features,
            schedule,
            batch,
            config.mining,
            stack.contrastive_weight,
            stack.noise_scale,
            quirks=config.reference_quirks,
        )
        flat_gradient = flatten(gradient)
        norms = clip_by_model(flat_gradient, config.grad_clip)
        state.step += 1
        state.adam.update(
            state.weights,
            flat_gradient,
            state.step,
            stack.learning_rate,
            config.adam_beta1,
            config.adam_beta2,
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
        state.seconds = time.monotonic() - started
        if watch.after_step(losses, norms) and all(state.failures()):
            break
        if checkpoints and checkpoints.due():
            checkpoints.save(state, source)
    if checkpoints:
        checkpoints.save(state, source)
    return state
