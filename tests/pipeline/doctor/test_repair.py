"""`pipeline doctor --repair`: whatever has become of `.state/`, no run is lost or made twice."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.advance import advance
from pipeline.doctor.rebuild import Found, adopted, with_decisions
from pipeline.doctor.repair import plan_repair, repair
from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.observe import observe
from pipeline.reconcile import Outcome
from pipeline.remains import Remains, remains_in, submission_folders
from pipeline.results import RunEntry
from pipeline.site import open_site
from pipeline.state import RunStatus, State, TaskState
from pipeline.store import BrokenStateError, StateStore, encode
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import TOY_STUDY, Cli, edit, make_toy, state_of, wait_for
from tests.pipeline.doctor.conftest import PROFILES, lines
from tests.pipeline.test_store import a_state

ANYWHERE = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
OLD = time.time() - 7200


STUDY = TOY_STUDY.replace("[phases.pilot]\nseeds = [1000]\n", "")


@dataclass(frozen=True)
class Midway:
    """A study in the middle of its phase, on a cluster where nothing moves."""

    workspace: Workspace
    cluster: FakeSlurm
    state: State
    files: dict[Path, bytes]

    @property
    def store(self) -> StateStore:
        """The store as a new command opens it."""
        return StateStore(self.workspace.state_dir)

    def restore(self) -> StateStore:
        """Put all files back as they were."""
        for path in files_of(self.workspace).keys() - self.files.keys():
            path.unlink(missing_ok=True)
        for path in self.workspace.state_dir.glob("before-repair-*"):
            shutil.rmtree(path)
        for path, content in self.files.items():
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return self.store

    def lose_state(self) -> None:
        """Remove every file of `.state/`; the copy of the code that jobs run from stays."""
        for path in self.workspace.state_dir.iterdir():
            if path.is_file():
                path.unlink()

    def assert_nothing_is_lost(self, state: State) -> None:
        """Every submission is known, every result kept, nothing that lives would go in again."""
        ids = {str(job.array_id) for job in self.cluster.jobs()}
        assert {job.job_id for job in state.jobs.values()} == ids
        assert state.runs.keys() == self.state.runs.keys()
        for key, run in state.runs.items():
            before = self.state.runs[key]
            assert (run.status, run.job, run.task) == (before.status, before.job, before.task)
            assert (run.result_digest, run.tries) == (before.result_digest, 1)

    def assert_it_ends_with_what_was_submitted(self) -> None:
        """Let the cluster go on, and the study to its end: no run goes in twice."""
        arrays = {job.array_id for job in self.cluster.jobs()}
        (self.workspace.root / "hold").unlink()
        self.cluster.configure(slots=4)
        site = open_site(self.workspace, None)
        wait_for(lambda: not any(job.live for job in self.cluster.jobs()))
        state = advance(site).state
        assert {run.status for run in state.runs.values()} == {RunStatus.DONE}
        assert {run.tries for run in state.runs.values()} == {1}
        assert {job.array_id for job in self.cluster.jobs()} == arrays
        for key, before in self.state.runs.items():
            assert before.result_digest in (None, state.runs[key].result_digest)


def files_of(workspace: Workspace) -> dict[Path, bytes]:
    """Every file of a workspace, but what its jobs may be writing."""
    folders = (workspace.state_dir, workspace.runs_dir, workspace.logs_dir)
    paths = (path for folder in folders for path in folder.rglob("*"))
    return {path: path.read_bytes() for path in paths if path.is_file()}


@contextmanager
def gone_midway(folder: Path) -> Iterator[Midway]:
    """One task is done, one runs and never ends, one waits."""
    place = make_toy(folder / "ws", STUDY)
    profiles = place.root / "slurm" / "profiles.toml"
    profiles.parent.mkdir()
    profiles.write_text(f"{PROFILES}stack_size = 4\ncanary = false\n", encoding="utf-8")
    edit(place, 'name = "toy"', 'name = "toy"\nprofile = "cluster"')
    forget_trainer()
    with pytest.MonkeyPatch.context() as patch, FakeSlurm(folder / "slurm", slots=1) as cluster:
        for name, value in cluster.environment().items():
            patch.setenv(name, value)
        hold = place.root / "hold"
        hold.write_text("no such node", encoding="utf-8")
        site = open_site(place, None)
        advance(site)
        wait_for(lambda: len(list(place.runs_dir.glob("*/*/result.json"))) == 4)
        hold.write_text("", encoding="utf-8")
        wait_for(lambda: [j.state for j in cluster.jobs()] == ["COMPLETED", "RUNNING", "PENDING"])
        wait_for(lambda: advance(site).state == advance(site).state)
        yield Midway(place, cluster, state_of(place), files_of(place))
        hold.unlink(missing_ok=True)
    forget_trainer()


def forget_trainer() -> None:
    """The next workspace has a trainer of its own."""
    sys.modules.pop("toy", None)
    sys.path[:] = [entry for entry in sys.path if not Path(entry, "toy.py").exists()]


@pytest.fixture(scope="module")
def standing_still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Midway]:
    """One such study for all tests that let it stand."""
    with gone_midway(tmp_path_factory.mktemp("midway")) as study:
        yield study


@pytest.fixture
def midway(standing_still: Midway) -> Iterator[Midway]:
    """It, with all files as they were."""
    standing_still.restore()
    forget_trainer()
    yield standing_still
    standing_still.cluster.configure(unreachable=False)


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Midway]:
    """One for a test that carries it on."""
    with gone_midway(tmp_path) as study:
        yield study


@pytest.fixture
def workspace(midway: Midway) -> Workspace:
    """Where `cli` works."""
    return midway.workspace


def mended(workspace: Workspace) -> State:
    """The state after a repair."""
    repair(workspace, None, lambda _: None)
    return state_of(workspace)


def broken(store: StateStore) -> bool:
    """Whether the state file can be read no more."""
    try:
        store.load()
    except BrokenStateError:
        return True
    return False


@ANYWHERE
@given(data=st.data())
def test_a_state_file_cut_off_anywhere_is_rebuilt_to_the_byte(
    midway: Midway, data: st.DataObject
) -> None:
    """The log of changes has every save; what is rebuilt is what was lost."""
    store = midway.restore()
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 3))])
    cut = store.path.read_bytes()

    assert mended(midway.workspace) == midway.state
    assert store.path.read_bytes() == store.backup.read_bytes() == whole
    (kept,) = store.dir.glob("before-repair-*")
    assert (kept / "pipeline.json").read_bytes() == cut


@ANYWHERE
@given(data=st.data())
def test_damaged_bytes_are_found_and_mended_or_leave_a_state(
    midway: Midway, data: st.DataObject
) -> None:
    """What still is a valid state passes for an edit by hand, and is left as it is."""
    store = midway.restore()
    content = bytearray(store.path.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    store.path.write_bytes(content)

    if broken(store):
        assert mended(midway.workspace) == midway.state
    else:
        assert plan_repair(midway.workspace).state is None


@pytest.mark.parametrize("copy", ["gone", "broken"])
def test_without_state_and_copy_the_log_tells_all(midway: Midway, copy: str) -> None:
    """What was saved last is there again."""
    store = midway.store
    store.path.unlink()
    store.backup.unlink() if copy == "gone" else store.backup.write_bytes(b"{")

    assert mended(midway.workspace) == midway.state


def test_after_a_repair_the_study_goes_on_as_if_nothing_had_happened(moving: Midway) -> None:
    """Its jobs are waited for, its results are kept."""
    moving.store.path.write_bytes(moving.store.path.read_bytes()[:1000])
    repair(moving.workspace, None, lambda _: None)

    moving.assert_it_ends_with_what_was_submitted()


def test_without_any_state_the_study_goes_on_all_the_same(moving: Midway) -> None:
    """Folders and scheduler tell what was submitted."""
    moving.lose_state()
    with pytest.raises(BrokenStateError, match="the state is gone, but there are submissions"):
        open_site(moving.workspace, None)
    repair(moving.workspace, None, lambda _: None)

    moving.assert_nothing_is_lost(state_of(moving.workspace))
    moving.assert_it_ends_with_what_was_submitted()


@ANYWHERE
@given(data=st.data())
def test_with_a_log_cut_off_anywhere_folders_and_scheduler_tell_the_rest(
    midway: Midway, data: st.DataObject
) -> None:
    """Neither state nor copy is there, and the log ends somewhere."""
    store = midway.restore()
    store.path.unlink()
    store.backup.unlink()
    store.seal.unlink()
    log = store.changes.path.read_bytes()
    store.changes.path.write_bytes(log[: data.draw(st.integers(0, len(log)))])
    journal = store.journal.read_bytes()
    store.journal.write_bytes(journal[: data.draw(st.integers(0, len(journal)))])

    midway.assert_nothing_is_lost(mended(midway.workspace))


def test_with_nothing_left_of_the_state_nothing_is_submitted_anew(midway: Midway, cli: Cli) -> None:
    """No command takes it for a fresh start; the repair finds all, and says what it cannot know."""
    midway.lose_state()

    for command in ("advance", "status"):
        done = cli(command)
        assert done.returncode == 2
        assert "`pipeline doctor --repair`" in done.stderr

    done = cli("doctor", "--repair")

    assert done.returncode == 0, done.stderr
    assert "adopted with 12 runs of multiseed" in done.stdout
    assert "not known any more" in done.stdout
    midway.assert_nothing_is_lost(state_of(midway.workspace))


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


def test_a_scheduler_that_does_not_answer_stops_the_repair(midway: Midway, cli: Cli) -> None:
    """Exit 4, and nothing is changed."""
    store = midway.store
    store.path.write_bytes(b"{")
    midway.cluster.configure(unreachable=True)
    before = {p: p.read_bytes() for p in midway.workspace.state_dir.iterdir() if p.is_file()}

    done = cli("doctor", "--repair")
    assert done.returncode == 4, done.stdout
    with pytest.raises(SchedulerUnreachableError):
        plan_repair(midway.workspace)

    after = {p: p.read_bytes() for p in midway.workspace.state_dir.iterdir() if p.is_file()}
    assert after == before
    assert not list(store.dir.glob("before-repair-*"))


def test_the_repair_of_an_intact_workspace_changes_nothing(midway: Midway, cli: Cli) -> None:
    """Not a byte, in no file."""

    before = files_of(midway.workspace)

    done = cli("doctor", "--repair")

    assert (done.returncode, done.stdout) == (0, "nothing to repair\n")
    assert files_of(midway.workspace) == before
    assert "repair" not in lines(cli("doctor"))
    assert cli("doctor", "--repair", "--json").returncode == 2


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


def test_the_doctor_says_what_a_repair_would_do_and_how_to_go_back(
    midway: Midway, cli: Cli
) -> None:
    """Without the option nothing is changed; with it, the old files are kept beside."""
    store = midway.store
    store.path.write_bytes(b"{ by hand")

    told = cli("doctor")
    assert told.returncode == 2
    assert "pipeline.json:1:3: not valid JSON" in told.stdout
    assert "to be done: state taken from the log of changes" in told.stdout
    assert store.path.read_bytes() == b"{ by hand"

    done = cli("doctor", "--repair")
    assert done.returncode == 0, done.stderr
    assert "state taken from the log of changes changes.jsonl, to the last save" in done.stdout
    back = done.stdout.partition("to go back: ")[2].splitlines()[0]
    assert cli("status").returncode == 0

    subprocess.run(["bash", "-c", back], cwd=midway.workspace.root, check=True)
    assert store.path.read_bytes() == b"{ by hand"


def test_status_shows_the_last_good_copy_with_a_warning(midway: Midway, cli: Cli) -> None:
    """Who only looks sees what there is; who would write is sent to the doctor."""
    store = midway.store
    store.path.write_bytes(b"")

    done = cli("status")

    assert done.returncode == 2
    assert "THE STATE FILE IS BROKEN" in done.stdout
    assert "multiseed" in done.stdout
    assert "`pipeline doctor --repair`" in done.stderr
    assert cli("advance").returncode == 2


def test_leftovers_of_killed_commands_are_removed_when_they_are_old(
    midway: Midway, cli: Cli
) -> None:
    """What may be under way stays, and so does the copy of the code that jobs run from."""
    root, state_dir = midway.workspace.root, midway.workspace.state_dir
    run_dir = next(midway.workspace.runs_dir.glob("*/*"))
    old = [
        state_dir / ".pipeline.json.0123abcd",
        run_dir / ".result.json.0123abcd",
        run_dir / "attempts" / ".07-dead-89ab" / "checkpoint.pt",
        root / ".RESULTS.md.0123abcd",
        state_dir / ".lease.0123456789abcdef" / "0123456789abcdef",
        state_dir / "code" / ".new-0123abcd" / "a.py",
        state_dir / "code" / ("0" * 64) / "a.py",
    ]
    young = [run_dir / ".checkpoint.pt.89abcdef"]
    for path in (*old, *young):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for path in old:
        os.utime(path, (OLD, OLD))
        os.utime(path.parent, (OLD, OLD))
    code = {job.code for job in midway.state.jobs.values()}

    assert "leftovers of killed commands removed" in cli("doctor").stdout
    assert all(path.exists() for path in old)
    assert cli("doctor", "--repair").returncode == 0

    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in young)
    assert {path.name for path in (state_dir / "code").iterdir() if path.is_dir()} == code
    assert state_of(midway.workspace) == midway.state


def remains(token: str, made_at: str) -> Remains:
    """A submission of one task with one run of `a_state`."""
    entry = RunEntry(run_id="a-s1", condition="a", seed=1, config={}, config_digest="d" * 64)
    key = "multiseed/a-s1"
    return Remains(token, "multiseed", "slurm", made_at, ((key,),), {key: entry})


def test_of_two_submissions_that_claim_a_run_the_newest_has_it_and_both_are_tracked() -> None:
    """Whatever the order in which they are found."""
    old = Found(remains("older", "2026-01-23T11:00:00+00:00"), "7", "a100", {})
    new = Found(remains("newer", "2026-01-23T12:00:00+00:00"), "8", "a100", {})
    oldest = Found(remains("oldest", "2026-01-23T09:00:00+00:00"), "6", "a100", {})
    found = [old, new, oldest]
    random.Random(1).shuffle(found)

    state = adopted(a_state(), found)

    run = state.runs["multiseed/a-s1"]
    assert (run.job, run.status, run.tries) == ("newer", RunStatus.QUEUED, 3)
    assert list(state.jobs) == ["oldest", "t0k3n", "older", "newer"]
    assert {task.state for job in state.jobs.values() for task in job.tasks} == {
        TaskState.QUEUED,
        TaskState.RUNNING,
    }


def test_a_run_that_is_done_stays_so_whoever_claims_it() -> None:
    """Its result was accepted."""
    key = "multiseed/a-s3"
    late = replace(
        remains("newer", "2026-01-23T12:00:00+00:00"),
        tasks=((key,),),
        runs={key: remains("x", "").runs["multiseed/a-s1"]},
    )

    state = adopted(a_state(), [Found(late, "8", "a100", {})])

    assert state.runs[key] == replace(a_state().runs[key], tries=1)
    assert "newer" in state.jobs


def test_decisions_are_read_from_the_journal() -> None:
    """Overrides, accepted failures and the freeze; what was retried later is accepted no more."""
    at = "2026-01-23T12:00:00+00:00"
    gate: dict[str, object] = {
        "at": at,
        "event": "gate overridden",
        "phase": "multiseed",
        "gate": "g",
        "reason": "r",
    }
    events: list[dict[str, object]] = [
        {"at": at, "event": "plan frozen", "digest": "d" * 64},
        gate,
        {"at": at, "event": "accepted failed", "phase": "multiseed", "runs": []},
        {"event": "accepted failed", "phase": "gone"},
        {"event": 7},
    ]

    state = with_decisions(with_decisions(a_state(), events), events)

    phase = state.phases["multiseed"]
    assert (state.frozen_plan, state.plan_frozen_at) == ("d" * 64, at)
    assert [(made.gate, made.reason, made.at) for made in phase.overrides] == [("g", "r", at)]
    assert phase.accepted_failed
    retried = with_decisions(state, [{"at": at, "event": "retry", "run": "multiseed/a-s1"}])
    assert not retried.phases["multiseed"].accepted_failed


def test_what_a_folder_tells_is_what_was_submitted(midway: Midway) -> None:
    """Tasks with their runs, the code and the job's id are read from the submission's own files."""
    for token, folder in submission_folders(midway.workspace).items():
        told, job = remains_in(folder), midway.state.jobs[token]
        assert told.tasks == tuple(task.runs for task in job.tasks)
        assert (told.token, told.phase, told.code) == (token, job.phase, job.code)
        assert told.job_id == job.job_id
        assert all(len(entry.config_digest) == 64 for entry in told.runs.values())
