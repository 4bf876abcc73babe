"""`pipeline cancel`: end what is queued or running. Needs no valid study: jobs cost GPU-hours."""

from dataclasses import replace

from pipeline import follow_up
from pipeline.errors import PipelineError
from pipeline.lock import exclusive
from pipeline.observe import observe
from pipeline.reconcile import reconcile
from pipeline.scheduler import scheduler_for
from pipeline.state import RunStatus
from pipeline.store import StateStore
from pipeline.submit import settle_intents
from pipeline.words import count
from pipeline.workspace import Workspace

_REASON = "cancelled with `pipeline cancel`"


def cancel(workspace: Workspace) -> str:
    """End all jobs of the study; their unfinished runs count as failed until they are retried.

    Returns:
        What was done, in words.

    Raises:
        SchedulerUnreachableError: a scheduler does not answer; nothing was changed.
    """
    store = StateStore(workspace.state_dir)
    with exclusive(workspace.lock_file):
        state = store.load()
        if state is None:
            raise PipelineError("nothing was submitted yet; there is nothing to cancel")
        state, events = settle_intents(workspace, state)
        state, found = follow_up.settle(workspace, state)
        state, ended_chain = follow_up.end(state, _REASON)
        events += [*found, *ended_chain]
        state, seen = reconcile(state, observe(workspace, state))
        live = {token: job for token, job in state.live_jobs().items() if job.job_id}
        for backend in sorted({job.backend for job in live.values()}):
            jobs = {token: job for token, job in live.items() if job.backend == backend}
            scheduler_for(backend).cancel(jobs)
        ended = {
            key: run.moved(RunStatus.FAILED, _REASON)
            for key, run in state.runs.items()
            if run.status in (RunStatus.QUEUED, RunStatus.RUNNING) and run.job in live
        }
        store.save(replace(state, runs={**state.runs, **ended}))
        store.record([*events, *seen, *({"event": "cancelled", "run": key} for key in ended)])
    jobs_words = count(len(live), "job")
    chained = "; no follow-up goes on" if ended_chain else ""
    return f"cancelled {jobs_words} with {count(len(ended), 'unfinished run')}{chained}"
