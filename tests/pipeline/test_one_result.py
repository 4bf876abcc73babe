"""Whatever finishes late, twice, or dies on the way: one accepted result per run, the rest told."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.claim import current_folder
from pipeline.collect import outcome_of, row_of
from pipeline.digest import digest_of
from pipeline.promotion import results_aside
from pipeline.provenance import now
from pipeline.results import FailureFile, read_result
from pipeline.state import JobRecord, PhaseRecord, RunRecord, RunStatus, State, TaskRecord
from pipeline.status import current_view
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import (
    Cli,
    attempt_of,
    only_pilot,
    reports_of,
    state_of,
    toy_result,
    wait_for,
)

OUTCOME = "yield self._outcome(run, first, total)"
"""The line of the toy trainer that says how a run ended."""
DIES = f"""import pipeline.claim
            pipeline.claim.Claim.promote = lambda self: os.kill(os.getpid(), signal.SIGKILL)
            {OUTCOME}"""
"""It dies between writing its result and promoting it."""
WAITS = f"""last = HOLD.with_name("last")
            while last.read_text() in ("", run.directory.name):
                time.sleep(0.05)
            {OUTCOME}"""
"""It has taken its last step, and waits while the file is empty or names its folder."""


@pytest.fixture
def pilot(workspace: Workspace) -> Workspace:
    """A study of one phase with two runs."""
    only_pilot(workspace)
    return workspace


def patch(workspace: Workspace, new: str) -> None:
    """Have the trainer end otherwise."""
    path = workspace.root / "toy.py"
    text = path.read_text(encoding="utf-8")
    assert OUTCOME in text
    path.write_text(text.replace(OUTCOME, new), encoding="utf-8")


def accepted(workspace: Workspace) -> dict[str, str | None]:
    """Digests of the accepted results by run."""
    return {key: run.result_digest for key, run in state_of(workspace).runs.items()}


def on_disk(workspace: Workspace) -> dict[str, str | None]:
    """Digests of what lies in the runs' folders as their results."""
    paths = {key: workspace.run_dir(key) / "result.json" for key in state_of(workspace).runs}
    return {key: digest_of(p.read_bytes()) if p.exists() else None for key, p in paths.items()}


def aside(workspace: Workspace) -> list[Path]:
    """All results that were set aside."""
    keys = sorted(state_of(workspace).runs)
    return [path for key in keys for path in results_aside(workspace.run_dir(key), None)]


def only_job(workspace: Workspace) -> str:
    """Id of the only live job."""
    (job,) = state_of(workspace).live_jobs().values()
    assert job.job_id is not None
    return job.job_id


def test_a_result_whose_process_died_before_it_was_promoted_is_not_lost(
    pilot: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Status already tells of it and writes nothing; advance promotes it, and repeats nothing."""
    patch(pilot, DIES)
    cli("advance")
    cluster.wait(only_job(pilot))
    first, second = sorted(state_of(pilot).runs, key=lambda key: "worse" in key)
    left = attempt_of(pilot, first) / "result.json"
    assert left.exists()

    (phase,) = json.loads(cli("status", "--json").stdout)["phases"]
    assert phase["runs"]["done"] == 1
    assert on_disk(pilot) == {first: None, second: None}
    cli("advance")

    assert state_of(pilot).runs[first].status is RunStatus.DONE
    assert left.samefile(pilot.run_dir(first) / "result.json")
    assert cli("advance", "--watch").returncode == 0
    assert on_disk(pilot) == accepted(pilot)
    assert [state_of(pilot).runs[key].tries for key in (first, second)] == [1, 2]
    assert aside(pilot) == []


@pytest.mark.parametrize("requeue", [False, True], ids=["submitted again", "queued again"])
def test_a_late_result_is_set_aside_and_reported(
    pilot: Workspace, cluster: FakeSlurm, cli: Cli, *, requeue: bool
) -> None:
    """The node was lost, not the process: it ends after its successor, and nothing is mixed."""
    patch(pilot, WAITS)
    last = pilot.root / "last"
    last.write_text("")
    cli("advance")
    job_id = only_job(pilot)
    key = next(key for key in state_of(pilot).runs if "baseline" in key)
    wait_for(lambda: reports_of(pilot, key) == 4)
    zombie = attempt_of(pilot, key)
    last.write_text(zombie.name)
    cluster.kill(job_id, "NODE_FAIL", requeue=requeue, survive=True)
    assert cli("advance", "--watch").returncode == 0
    before = accepted(pilot)
    assert on_disk(pilot) == before

    last.write_text("none")
    wait_for(lambda: aside(pilot))

    assert aside(pilot) == [zombie / "result.json"]
    assert (accepted(pilot), on_disk(pilot)) == (before, before)
    assert not (zombie / "failure.json").exists()
    assert json.loads(cli("status", "--json").stdout)["set_aside"] == 1
    assert "1 result set aside (late or duplicate attempts)" in cli("status").stdout
    told = " ".join(cli("why", key).stdout.split())
    assert "the same numbers as the accepted result, to the last bit" in told
    assert cli("report", "--check").returncode == 3
    assert cli("report").returncode == 0
    text = pilot.report_file.read_text(encoding="utf-8")
    assert "1 result of a late or second attempt is set aside and does not count (the same" in text
    assert f"{zombie.name}/result.json" in text


def test_a_task_that_is_queued_again_after_its_results_are_in_ends_at_once(
    pilot: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """No GPU-hour for what is there already, and no second result."""
    cli("advance")
    job_id = only_job(pilot)
    cluster.wait(job_id)
    before = on_disk(pilot)

    cluster.requeue(job_id)
    cluster.wait(job_id)

    (log,) = pilot.logs_dir.glob("*/*_log.out")
    assert "there is nothing to do" in log.read_text()
    assert on_disk(pilot) == before
    assert cli("advance", "--watch").returncode == 0
    assert accepted(pilot) == before
    assert aside(pilot) == []


def test_a_look_at_runs_under_way_lists_no_folder(
    pilot: Workspace, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status of very many runs must stay cheap: what they write is found by name."""
    (pilot.root / "hold").touch()
    cli("advance")
    key = next(key for key in state_of(pilot).runs if "baseline" in key)
    wait_for(lambda: reports_of(pilot, key))
    iterdir = Path.iterdir

    def watched(path: Path) -> Iterator[Path]:
        assert pilot.runs_dir not in (path, *path.parents)
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", watched)

    view, _ = current_view(pilot)

    assert view.phases[0].runs["running"] == 2


@pytest.mark.parametrize("content", ["{", "", '{"schema_version": 9}', "foreign"])
def test_a_foreign_result_stands_in_nobody_s_way(pilot: Workspace, cli: Cli, content: str) -> None:
    """Broken, or of another submission: it is kept aside, and the run's own one counts."""
    hold = pilot.root / "hold"
    hold.touch()
    cli("advance")
    for key in state_of(pilot).runs:
        text = toy_result(pilot, key, "an0ther") if content == "foreign" else content
        (pilot.run_dir(key) / "result.json").write_text(text)
    hold.unlink()

    assert cli("advance", "--watch").returncode == 0

    assert on_disk(pilot) == accepted(pilot)
    assert {run.tries for run in state_of(pilot).runs.values()} == {1}
    assert len(aside(pilot)) == 2


@pytest.mark.parametrize("claimed", [None, {"token": "t0k3n", "start": "ab"}])
def test_what_attempts_of_earlier_versions_left_still_counts(
    tmp_path: Path, claimed: dict[str, str] | None
) -> None:
    """Result, curve and failure lie in the run's folder itself, in a workspace from before."""
    key, workspace = "p/a-s0", Workspace(tmp_path)
    run = RunRecord(phase="p", condition="a", seed=0, config_digest="0" * 64, job="t0k3n", task=0,
                    status=RunStatus.RUNNING, tries=1)  # fmt: skip
    job = JobRecord(phase="p", profile="x", backend="slurm", job_id="7", submitted_at=now(),
                    tasks=(TaskRecord(runs=(key,)),))  # fmt: skip
    state = State(study="s", study_digest="0" * 64, profile="x", runs={key: run},
                  phases={"p": PhaseRecord(kind="pilot")}, jobs={"t0k3n": job})  # fmt: skip
    StateStore(workspace.state_dir).save(state)
    text, folder = toy_result(workspace, key, "t0k3n"), workspace.run_dir(key)
    attempt = json.loads(text)["attempt"]
    failure = FailureFile(run_id="a-s0", attempt=attempt, message="it broke", at=datetime.now(UTC))
    folder.mkdir(parents=True)
    (folder / "failure.json").write_text(failure.model_dump_json())
    if claimed:
        (folder / "attempt.json").write_text(json.dumps(claimed))

    broke = outcome_of(folder, key, run)
    assert broke is not None
    assert broke.problem == "it broke"
    (folder / "result.json").write_text(text)
    done = outcome_of(folder, key, run)
    assert done is not None
    assert (done.result_digest, done.left_in) == (digest_of(text.encode()), None)
    found = read_result(folder / "result.json")
    assert found is not None
    assert row_of(found[0], "runs/p/a-s0/result.json").facts.folder == "runs/p/a-s0"
    assert results_aside(folder, current_folder(folder)) == []


def test_a_refused_result_does_not_block_the_retry(pilot: Workspace, cli: Cli) -> None:
    """A run that failed for a file of another run is tried again, and done."""
    patch(pilot, "raise RuntimeError('no result of its own')")
    cli("advance")
    state = state_of(pilot)
    baseline, worse = sorted(state.runs)
    text = toy_result(pilot, baseline, state.runs[worse].job or "")
    (pilot.run_dir(worse) / "result.json").write_text(text)
    assert cli("advance", "--watch").returncode == 3
    path = pilot.root / "toy.py"
    path.write_text(path.read_text().replace("raise RuntimeError('no result of its own')", OUTCOME))

    assert cli("retry").returncode == 0
    assert cli("advance", "--watch").returncode == 0

    assert on_disk(pilot) == accepted(pilot)
    assert len(aside(pilot)) == 1
    assert "set aside and does not count (of another run)" in pilot.report_file.read_text()
