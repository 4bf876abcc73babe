"""`pipeline retry`: a person has failed runs tried again."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import PipelineError
from pipeline.lock import exclusive
from pipeline.provenance import now
from pipeline.site import Site, fresh
from pipeline.state import RunRecord, RunStatus
from pipeline.step import Step, look, save
from pipeline.words import count


def retry(
    site: Site,
    keys: Sequence[str],
    *,
    mem_gb: int | None = None,
    walltime_min: int | None = None,
) -> Step:
    """Plan failed runs anew, all of them when `keys` is empty; the next step submits them.

    Their tries are counted from the beginning: a person has looked.

    Args:
        site: what to work on.
        keys: runs by key or by run id.
        mem_gb: memory that their next attempts ask for.
        walltime_min: time that their next attempts ask for.

    Raises:
        PipelineError: a key names no failed run.
    """
    with exclusive(site.workspace.lock_file):
        site = fresh(site)
        step = look(site)
        failed = [
            key
            for key, run in step.state.runs.items()
            if run.status is RunStatus.FAILED and run.in_plan
        ]
        chosen = [_named(key, failed) for key in keys] or failed
        if not chosen:
            raise PipelineError("no run has failed; there is nothing to retry")
        runs, phases = dict(step.state.runs), dict(step.state.phases)
        for key in chosen:
            runs[key] = _planned_again(runs[key], mem_gb, walltime_min)
            phase = runs[key].phase
            phases[phase] = replace(phases[phase], accepted_failed=False, retried_at=now())
        events = [{"event": "retry", "run": key} for key in chosen]
        save(site, step, replace(step.state, runs=runs, phases=phases), events)
        step.did.append(f"{count(len(chosen), 'failed run')} planned again")
        return step


def _planned_again(run: RunRecord, mem_gb: int | None, walltime_min: int | None) -> RunRecord:
    return replace(
        run.moved(RunStatus.PLANNED),
        job=None,
        task=None,
        uncounted=run.tries,
        mem_gb=mem_gb or run.mem_gb,
        walltime_min=walltime_min or run.walltime_min,
        resumes=f"{run.job}/{run.task}",
    )


def _named(key: str, failed: Sequence[str]) -> str:
    """The failed run that a user means by its key or its run id alone."""
    found = [name for name in failed if key in (name, name.partition("/")[2])]
    if not found:
        raise PipelineError(f'no failed run is called "{key}"; `pipeline status` lists them')
    return found[0]
