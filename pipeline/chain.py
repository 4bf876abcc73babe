"""The chain of follow-up jobs behind `advance --auto`, as the state tells it. Pure.

There is one chain at most, and it is as long as one record: the follow-up whose turn is next.
`pipeline status` asks too, so nothing heavy is imported here.
"""

from collections.abc import Mapping

from pipeline.state import JobRecord, RunStatus, State, TaskState

PHASE = "auto"
"""Where a study's phase stands in the name and folder of a job of the study."""


MAKES_SURE = (
    "`pipeline advance --auto` looks for it, and once two minutes have passed submits another if "
    "there is none"
)


def asked(state: State) -> Mapping[str, JobRecord]:
    """The follow-up (by token) when the scheduler is to be asked about it."""
    follow_up = state.follow_up
    if follow_up is None or follow_up.job.ended or follow_up.job.job_id is None:
        return {}
    return {follow_up.token: follow_up.job}


def admits(state: State, token: str) -> bool:
    """Whether a follow-up that runs now may act: it is the recorded one, or was about to be.

    While it is not known whether the next one was submitted, the one that tried goes on trying.
    """
    follow_up = state.follow_up
    if follow_up is None or follow_up.ended is not None:
        return False
    untold = follow_up.job.job_id is None
    return follow_up.token == token or (untold and follow_up.submitter == token)


def is_alive(state: State) -> bool:
    """Whether some follow-up is queued, running, or perhaps just being submitted."""
    follow_up = state.follow_up
    return follow_up is not None and follow_up.ended is None and not follow_up.job.ended


def places(state: State) -> int:
    """Submitted jobs that the chain takes of a limit: the next one, and the one that made it."""
    if not is_alive(state):
        return 0
    assert state.follow_up is not None
    return 1 if state.follow_up.submitter is None else 2


def awaited(state: State) -> tuple[str, ...]:
    """Ids of the jobs whose end tells that there is something to do; empty: only time tells."""
    live = state.live_jobs().values()
    ids = tuple(sorted({job.job_id for job in live if job.job_id is not None}, key=int))
    begun = {job.phase for job in live}
    waiting = any(
        run.phase in begun and run.in_plan and run.status is RunStatus.PLANNED
        for run in state.runs.values()
    )
    untold = any(job.job_id is None for job in live)
    return () if waiting or untold else ids


def words(state: State, *, finished: bool) -> list[str]:
    """What status says of the chain: nothing without one, or when the study is complete."""
    follow_up = state.follow_up
    if follow_up is None or finished:
        return []
    name = f"follow-up job {follow_up.job.job_id}"
    if follow_up.ended is not None:
        return [f"auto: ended: {follow_up.ended}; `pipeline advance --auto` begins anew"]
    if follow_up.job.job_id is None and not follow_up.job.ended:
        meant = f"a follow-up job was to be submitted at {follow_up.job.submitted_at}"
        return [f"auto: {meant} and its id is not known yet; {MAKES_SURE}"]
    if follow_up.job.ended:
        return [f"auto: {_broken(state)}"]
    if follow_up.job.tasks[0].state is TaskState.RUNNING:
        return [f"auto: {name} carries the study on now"]
    if follow_up.waits_for:
        jobs = ", ".join(follow_up.waits_for)
        return [f"auto: {name} waits for job{'s' * (len(follow_up.waits_for) > 1)} {jobs}"]
    return [f"auto: {name} waits for its time to look again"]


def is_untold(state: State) -> bool:
    """Whether it is not known if the follow-up was submitted: a command died, or had no answer."""
    follow_up = state.follow_up
    return is_alive(state) and follow_up is not None and follow_up.job.job_id is None


def is_broken(state: State) -> bool:
    """Whether the follow-up is gone and left no other: nothing carries the study on."""
    follow_up = state.follow_up
    return follow_up is not None and follow_up.ended is None and follow_up.job.ended


def _broken(state: State) -> str:
    assert state.follow_up is not None
    job = state.follow_up.job
    log = f"slurm/logs/{PHASE}-{state.follow_up.token}/follow-up.log"
    if job.job_id is None:
        return "the chain is broken: its next follow-up was never submitted"
    task = job.tasks[0]
    return (
        f"the chain is broken: follow-up job {job.job_id} ended "
        f"({task.scheduler_state or 'unknown'}) and left no other; its log: {log}"
    )
