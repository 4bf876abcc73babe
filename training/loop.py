"""The training loop of a stack of models, visible in one place."""

import time
from collections.abc import Callable

from training.checkpoint import Checkpoints
from training.progress import Observer, Watch
from training.recorder import Recorder
from training.records import Records
from training.replay import Steps, cuda_graph
from training.stack import Stack, State


def train_stack(
    stack: Stack,
    observe: Observer,
    should_stop: Callable[[], bool],
    checkpoints: Checkpoints | None = None,
) -> State:
    """Train the runs of a stack; the state's `step` tells whether they were stopped early.

    Stops before the last step when asked to, or when no run has a finite loss any more. Goes on
    where the checkpoints end, and leaves one behind.

    Raises:
        OSError: stopped early, and the checkpoint to go on from could not be written.
    """
    config, source = stack.config, stack.batches()
    step = Steps(stack, source, cuda_graph if stack.device.type == "cuda" else None)
    state = State.initial(stack.initial_weights())
    recorder = None
    if config.diagnostics:
        state.records = Records.empty(len(stack.seeds), stack.device)
        recorder = Recorder(stack, state, state.records, config.diagnostics)
    if checkpoints:
        checkpoints.restore(state, source)
    started = time.monotonic() - state.seconds
    watch = Watch(stack, state, observe)
    watch.start()
    if recorder:
        started += recorder.start()
    while state.step < config.steps and not should_stop():
        losses, norms = step(state)
        state.seconds = time.monotonic() - started
        if watch.after_step(losses, norms) and all(state.failures()):
            break
        if recorder:  # its time is no part of training's
            started += recorder.after_step(norms)
        if checkpoints and checkpoints.due():
            checkpoints.save_if_possible(state, source)
    if checkpoints and state.step < config.steps and not all(state.failures()):
        checkpoints.save(state, source)  # all that a run which was stopped leaves
    elif checkpoints:
        checkpoints.save_if_possible(state, source)
    return state
