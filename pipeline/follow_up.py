"""The follow-up job behind `advance --auto`: submitted, found again, aimed, ended.

As with tasks, the intent is on the disk before sbatch is called, so that a crash at any moment
leaves one chain: the record names the only follow-up that may act.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

from pipeline import chain
from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.provenance import age_s, new_token, now
from pipeline.reconcile import Event
from pipeline.scheduler import ACCOUNTING_LAG_S, FollowUp, HeldError, scheduler_for
from pipeline.site import Site
from pipeline.state import FollowUpRecord, JobRecord, State, TaskRecord, TaskState
from pipeline.workspace import Workspace

NEVER_SUBMITTED = "NEVER SUBMITTED"


def submit(
    site: Site,
    state: State,
    after: Sequence[str],
    *,
    submitter: str | None = None,
    silent: int = 0,
) -> State:
    """Submit the next follow-up; it waits for the jobs `after`, or without any for a while.

    Raises:
        HeldError: a limit is reached; the record is what it was.
        SchedulerUnreachableError: no answer; the intent stays and is looked up next time.
        PipelineError: the scheduler refuses the request; the record is what it was.
    """
    assert site.profile.backend == "slurm"
    scheduler = scheduler_for(site.profile.backend)
    scheduler.check()
    token = new_token()
    job = JobRecord(
        phase=chain.PHASE,
        profile=site.profile_name,
        backend=site.profile.backend,
        tasks=(TaskRecord(runs=()),),
        submitted_at=now(),
    )
    record = FollowUpRecord(
        token=token, job=job, waits_for=tuple(after), submitter=submitter, silent=silent
    )
    site.store.save(replace(state, follow_up=record))
    site.store.record([{"event": "follow-up intent", "token": token, "after": list(after)}])
    try:
        done = scheduler.follow_up(_request(site, token, after), site.profile)
    except SchedulerUnreachableError:
        raise  # the intent stays: the job may exist
    except (HeldError, PipelineError, OSError) as error:
        site.store.save(state)
        site.store.record([{"event": "follow-up refused", "token": token, "reason": str(error)}])
        raise
    state = replace(state, follow_up=replace(record, job=replace(job, job_id=done.job_id)))
    site.store.save(state)
    site.store.record([{"event": "follow-up", "token": token, "job_id": done.job_id}])
    return state


def _request(site: Site, token: str, after: Sequence[str]) -> FollowUp:
    assert site.profile.backend == "slurm"
    study, root = site.study.file.study.name, site.workspace.root
    command = ("advance", "--auto", "--workspace", str(root), "--follow-up", token)
    return FollowUp(
        token=token,
        name=f"{study}-{chain.PHASE}-{token}",
        comment=f"study-pipeline study={study} phase={chain.PHASE} token={token}",
        folder=site.workspace.job_dir(chain.PHASE, token),
        workspace=root,
        command=(sys.executable, "-P", "-m", "pipeline", *command),
        after=tuple(after),
        begin_min=0 if after else site.profile.auto.poll_min,
        profile_name=site.profile_name,
    )


def settle(workspace: Workspace, state: State) -> tuple[State, list[Event]]:
    """Learn what became of a follow-up whose job id was never written down.

    Raises:
        SchedulerUnreachableError: no answer; nothing may be concluded.
    """
    record = state.follow_up
    if record is None or not chain.is_alive(state) or record.job.job_id is not None:
        return state, []
    folder = workspace.job_dir(chain.PHASE, record.token)
    found = scheduler_for(record.job.backend).find(record.token, folder)
    if found is not None:
        job = replace(record.job, job_id=found.job_id)
        event = {"event": "adopted", "token": record.token, "job_id": found.job_id}
    elif age_s(record.job.submitted_at) >= ACCOUNTING_LAG_S:
        never = TaskRecord(runs=(), state=TaskState.ENDED, scheduler_state=NEVER_SUBMITTED)
        job = replace(record.job, tasks=(never,))
        event = {"event": "never submitted", "token": record.token}
    else:
        return state, []
    return replace(state, follow_up=replace(record, job=job)), [event]


def aim(site: Site, state: State, after: Sequence[str]) -> State:
    """Have the follow-up, which waits for a time, wait for jobs instead.

    Raises:
        SchedulerUnreachableError: it stays as it is and looks again at its time.
    """
    record = state.follow_up
    assert record is not None
    assert record.job.job_id is not None
    scheduler_for(record.job.backend).aim(record.job.job_id, after)
    state = replace(state, follow_up=replace(record, waits_for=tuple(after)))
    site.store.save(state)
    return state


def end(state: State, reason: str, *, own: str | None = None) -> tuple[State, list[Event]]:
    """Let no other follow-up act, and cancel the one that is queued or running.

    Args:
        state: whose chain ends; it is to be saved by the caller.
        reason: why, in one line.
        own: token of the follow-up that asks, which ends by itself.

    Raises:
        SchedulerUnreachableError: no answer; nothing was cancelled.
    """
    record = state.follow_up
    if record is None or record.ended is not None:
        return state, []
    if record.token != own and (asked := chain.asked(state)):
        scheduler_for(record.job.backend).cancel(asked)
    ended = replace(state, follow_up=replace(record, ended=reason))
    return ended, [{"event": "follow-ups ended", "token": record.token, "reason": reason}]
