"""What a command under the lock learns: the state as schedulers and run folders show it now.

Unlike `pipeline status` it may write: a result that an attempt ended with but did not come to
promote (killed between the two, or its place was taken) is promoted first, so that what the state
calls done is the run's result for good.
"""

from dataclasses import replace

from pipeline.attempts import ATTEMPTS
from pipeline.errors import PipelineError
from pipeline.observe import observe
from pipeline.promotion import make_way, promote
from pipeline.reconcile import Event, Facts, Outcome, reconcile
from pipeline.state import RunRecord, State
from pipeline.workspace import Workspace

_TURNS = 5  # attempts that run on may take the place that was just cleared; each once


def learned(workspace: Workspace, state: State) -> tuple[State, list[Event]]:
    """Bring the records up to what is seen; see `observe` and `reconcile`.

    Raises:
        SchedulerUnreachableError: a scheduler does not answer; nothing may be concluded.
        PipelineError: a result cannot be promoted, such as on a full disk; nothing is lost.
    """
    return reconcile(state, promoted(workspace, state, observe(workspace, state)))


def promoted(workspace: Workspace, state: State, facts: Facts) -> Facts:
    """The facts after every result that was left behind is promoted."""
    left = [key for key, outcome in facts.outcomes.items() if outcome.left_in]
    if not left:
        return facts
    settled = {key: _settled(workspace, key, state.runs[key]) for key in left}
    kept = {key: outcome for key, outcome in settled.items() if outcome is not None}
    others = {key: outcome for key, outcome in facts.outcomes.items() if key not in left}
    return replace(facts, outcomes=others | kept)


def _settled(workspace: Workspace, key: str, run: RunRecord) -> Outcome | None:
    """Promote until the result that counts is the run's, and say what it is."""
    from pipeline.collect import outcome_of  # builds pydantic models

    run_dir = workspace.run_dir(key)
    for _ in range(_TURNS):
        found = outcome_of(run_dir, key, run)
        if found is None or found.left_in is None:
            return found
        if not promote(run_dir, run_dir / ATTEMPTS / found.left_in):
            make_way(run_dir)
    raise PipelineError(
        f"{run_dir}: other attempts keep putting their result.json there; "
        "end them (squeue shows the jobs), then run the command again"
    )
