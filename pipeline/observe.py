"""Looks at schedulers and run folders; writes nothing and concludes nothing."""

from collections.abc import Mapping, Sequence

from pipeline import chain
from pipeline.reconcile import OPEN, Facts, Outcome
from pipeline.scheduler import TaskStatus, scheduler_for
from pipeline.state import RunRecord, State
from pipeline.workspace import Workspace


def observe(workspace: Workspace, state: State) -> Facts:
    """Ask the schedulers first, then look for results: a task seen as ended has written its own.

    Raises:
        SchedulerUnreachableError: a scheduler does not answer; nothing may be concluded.
    """
    live = {token: job for token, job in state.live_jobs().items() if job.job_id is not None}
    live |= chain.asked(state)
    statuses: dict[str, Sequence[TaskStatus]] = {}
    for backend in sorted({job.backend for job in live.values()}):
        jobs = {token: job for token, job in live.items() if job.backend == backend}
        statuses |= scheduler_for(backend).query(jobs)
    open_runs = {key: run for key, run in state.runs.items() if run.status in OPEN}
    return Facts(statuses, _outcomes(workspace, open_runs))


def _outcomes(workspace: Workspace, runs: Mapping[str, RunRecord]) -> dict[str, Outcome]:
    """Outcomes of the runs that have a file of their current attempt."""
    found: dict[str, Outcome] = {}
    for key, run in runs.items():
        folder = workspace.run_dir(key)
        if (folder / "result.json").exists() or (folder / "failure.json").exists():
            from pipeline.collect import outcome_of  # builds pydantic models

            outcome = outcome_of(folder, key, run)
            if outcome is not None:
                found[key] = outcome
    return found
