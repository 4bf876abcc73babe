"""Submissions that a state does not know: what became of them, as folders and scheduler tell."""

import json
from contextlib import suppress
from pathlib import Path

from pipeline.collect import mismatch
from pipeline.doctor.rebuild import Found
from pipeline.errors import PipelineError
from pipeline.files import read_bytes
from pipeline.needs import terms
from pipeline.provenance import age_s, node_name
from pipeline.remains import CLAIM, Remains, remains_in, remains_of
from pipeline.results import ResultFileError, RunResult, read_result
from pipeline.scheduler import ACCOUNTING_LAG_S, scheduler_for
from pipeline.site import Site
from pipeline.state import RunStatus, State


def fate(site: Site, folder: Path) -> Found | None:
    """What became of a submission that the state does not know; None when it was never made.

    Raises:
        SchedulerUnreachableError: that cannot be known now.
        PipelineError: it exists, and its files do not tell what it runs.
    """
    token = folder.name.rpartition("-")[2]
    try:
        remains = remains_in(folder)
    except PipelineError as error:
        _refuse_live(site, token, folder, str(error))
        return None
    job_id = remains.job_id
    if job_id is None:
        found = scheduler_for(remains.backend).find(token, folder)
        job_id = found.job_id if found is not None else None
    lag_s = ACCOUNTING_LAG_S if remains.backend == "slurm" else 0
    if job_id is None and age_s(remains.made_at) >= lag_s:
        return None
    return _found(site, remains, job_id)


def _found(site: Site, remains: Remains, job_id: str | None, *, over: bool = False) -> Found:
    """With the profile that it was probably submitted to."""
    same = site.profile.backend == remains.backend
    known = terms(site.profile) if same else {}
    host = {"host": remains.host or node_name()} if remains.backend == "local" else {}
    name = site.profile_name if same else remains.backend
    return Found(remains, job_id, name, {**known, **host}, over)


def _refuse_live(site: Site, token: str, folder: Path, why: str) -> None:
    """Stop where a submission exists of which we do not know what it runs."""
    found = scheduler_for(site.profile.backend).find(token, folder)
    if found is not None:
        raise PipelineError(
            f"{why}; job {found.job_id} was submitted as {token}, and it is not known what it "
            "runs; nothing was changed: put the files back from a copy; or, once that job is over "
            f"(scancel {found.job_id}), remove {folder} and what names {token} in runs/*/*/"
            "attempt.json"
        )


def of_results_alone(site: Site, state: State) -> list[Found]:
    """Submissions whose folder is gone, as far as valid results tell of them."""
    results: list[RunResult] = []
    for key, run in state.runs.items():
        path = site.workspace.run_dir(key) / "result.json"
        if run.status is RunStatus.DONE or not path.exists():
            continue
        with suppress(ResultFileError):
            read = read_result(path)
            if read and read[0].attempt.token not in state.jobs and not mismatch(read[0], key, run):
                results.append(read[0])
    made = remains_of(results, site.profile.backend)
    return [_found(site, one, one.job_id, over=True) for one in made if one.job_id is not None]


def refuse_unknown_claims(site: Site, state: State) -> None:
    """Stop where a run may be under way in a job of which nothing tells that it runs it."""
    asked: set[str] = set()
    for key, run in state.runs.items():
        if run.status is not RunStatus.PLANNED:
            continue
        token = _claimant(site.workspace.run_dir(key) / CLAIM)
        if token is None or token in asked or _holds(state, token, key):
            continue
        asked.add(token)
        folder = site.workspace.job_dir(run.phase, token)
        if not folder.exists():
            _refuse_live(site, token, folder, f"{folder}: is gone")


def _claimant(path: Path) -> str | None:
    """The submission that a run was granted to last."""
    try:
        return str(json.loads(read_bytes(path))["token"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _holds(state: State, token: str, key: str) -> bool:
    return token in state.jobs and any(key in task.runs for task in state.jobs[token].tasks)
