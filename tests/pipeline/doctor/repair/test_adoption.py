"""What was submitted is found by its folders, its results and the scheduler, and taken over."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from pipeline.advance import advance
from pipeline.doctor.repair import plan_repair, repair
from pipeline.errors import PipelineError
from pipeline.observe import observe
from pipeline.reconcile import Outcome
from pipeline.remains import remains_in, submission_folders
from pipeline.site import open_site
from pipeline.state import RunStatus
from pipeline.store import StateStore, encode
from tests.pipeline.doctor.repair.midway import OLD, Midway, mended


def test_a_submission_that_the_last_good_copy_does_not_know_is_adopted(midway: Midway) -> None:
    """The copy is one save older: going on from it as it is would submit the phase twice."""
    store = midway.store
    (token,) = midway.state.jobs
    runs = {
        key: replace(
            run, status=RunStatus.PLANNED, job=None, task=None, tries=0, result_digest=None,
            device_seconds=None, gpu_seconds=None, fingerprint=None,
        )
        if run.job == token
        else run
        for key, run in midway.state.runs.items()
    }  # fmt: skip
    jobs = {t: job for t, job in midway.state.jobs.items() if t != token}
    store.backup.write_bytes(encode(replace(midway.state, runs=runs, jobs=jobs)))
    store.changes.path.unlink()
    store.path.write_bytes(b"")

    state = mended(midway.workspace)

    midway.assert_nothing_is_lost(state)
    assert state.jobs[token].profile == "cluster"
    assert state.jobs[token].mem_gb == 1
    assert {job.array_id for job in midway.cluster.jobs()} == {
        int(job.job_id or 0)
        for job in advance(open_site(midway.workspace, None)).state.jobs.values()
    }


def test_results_whose_submission_left_no_folder_are_kept(midway: Midway) -> None:
    """Results name the attempt that they are of; that is enough to accept them."""
    midway.lose_state()
    done = {k: r for k, r in midway.state.runs.items() if r.status is RunStatus.DONE}
    for folder in submission_folders(midway.workspace).values():
        shutil.rmtree(folder)
    for path in midway.workspace.runs_dir.glob("*/*/attempt.json"):
        if f"{path.parts[-3]}/{path.parts[-2]}" not in done:
            path.unlink()

    state = mended(midway.workspace)

    kept = {key: run.result_digest for key, run in state.runs.items() if run.result_digest}
    assert kept == {key: run.result_digest for key, run in done.items()}


def test_a_result_that_is_not_in_its_place_yet_is_left_to_the_next_advance(
    midway: Midway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is called done when its result lies where the report reads it."""
    key = next(k for k, run in midway.state.runs.items() if run.status is RunStatus.RUNNING)
    elsewhere = {key: Outcome(result_digest="f" * 64)}
    monkeypatch.setattr(
        "pipeline.doctor.repair.observe",
        lambda *seen: replace(observe(*seen), outcomes=elsewhere),
    )
    midway.store.path.write_bytes(b"")

    state = mended(midway.workspace)

    assert state.runs[key] == midway.state.runs[key]


def test_a_job_of_which_nothing_tells_what_it_runs_stops_the_repair(midway: Midway) -> None:
    """Its runs may be under way: they are not submitted again before a person has looked."""
    midway.lose_state()
    for folder in submission_folders(midway.workspace).values():
        shutil.rmtree(folder)

    with pytest.raises(PipelineError, match="it is not known what it runs; nothing was changed"):
        repair(midway.workspace, None, lambda _: None)
    assert not StateStore(midway.workspace.state_dir).path.exists()


def test_files_of_a_submission_that_never_came_to_pass_are_no_submission(midway: Midway) -> None:
    """A command that was killed after it had written them, and before it wrote its intent."""
    folder = next(iter(submission_folders(midway.workspace).values()))
    copy = folder.with_name("multiseed-0123456789")
    copy.mkdir()
    task = json.loads((folder / "task-0000.json").read_bytes())
    (copy / "task-0000.json").write_text(json.dumps({**task, "token": "0123456789"}))
    os.utime(copy / "task-0000.json", (OLD, OLD))

    assert plan_repair(midway.workspace).state is None

    StateStore(midway.workspace.state_dir).path.unlink()
    assert mended(midway.workspace) == midway.state


def test_what_a_folder_tells_is_what_was_submitted(midway: Midway) -> None:
    """Tasks with their runs, the code and the job's id are read from the submission's own files."""
    for token, folder in submission_folders(midway.workspace).items():
        told, job = remains_in(folder), midway.state.jobs[token]
        assert told.tasks == tuple(task.runs for task in job.tasks)
        assert (told.token, told.phase, told.code) == (token, job.phase, job.code)
        assert told.job_id == job.job_id
        assert all(len(entry.config_digest) == 64 for entry in told.runs.values())
