"""The first task of a phase goes alone until it has shown that it works."""

import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.advance import advance
from pipeline.canary import Sighting, Standing, release_step, standing
from pipeline.preview import preview
from pipeline.site import Site, open_site
from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import (
    CLUSTER,
    PROFILES,
    Cli,
    attempt_of,
    edit,
    only_pilot,
    state_of,
    write_profiles,
)

QUEUED, RUNNING, DONE = RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.DONE
FAILED = RunStatus.FAILED
GOOD = {"step": 10.0, "time": 1.0, "loss": 0.5}


@pytest.mark.parametrize(
    ("sightings", "expected"),
    [
        ([], Standing.ABSENT),
        ([Sighting(QUEUED, {})], Standing.OUT),
        ([Sighting(RUNNING, {})], Standing.OUT),
        ([Sighting(RUNNING, {**GOOD, "step": 9.0})], Standing.OUT),
        ([Sighting(RUNNING, GOOD)], Standing.PASSED),
        ([Sighting(RUNNING, {"step": 10.0, "time": 1.0})], Standing.OUT),
        ([Sighting(RUNNING, {**GOOD, "loss": math.nan})], Standing.OUT),
        ([Sighting(RUNNING, GOOD), Sighting(RUNNING, {"loss": math.inf})], Standing.OUT),
        ([Sighting(RUNNING, GOOD), Sighting(RUNNING, {})], Standing.PASSED),
        ([Sighting(DONE, {}), Sighting(FAILED, {})], Standing.PASSED),
        ([Sighting(FAILED, {}), Sighting(FAILED, {})], Standing.FAILED),
        ([Sighting(FAILED, {}), Sighting(RUNNING, {})], Standing.OUT),
    ],
)
def test_what_the_first_runs_tell(sightings: list[Sighting], expected: Standing) -> None:
    """A result, or a report at the step with nothing but finite values, lets the others go."""
    assert standing(sightings, 10) is expected


@given(total=st.integers(1, 10**9))
def test_the_release_step_is_a_hundredth_and_never_none(total: int) -> None:
    """At least the first step, at most the last, 1 % in between."""
    step = release_step(total)

    assert 1 <= step <= total
    assert step - 1 < total / 100 <= step or step == 1


@pytest.fixture
def phase_of_ten(workspace: Workspace, cluster: FakeSlurm) -> Workspace:
    """A pilot of ten tasks on a cluster whose profile leaves the canary on."""
    write_profiles(workspace, CLUSTER)
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1009"')
    only_pilot(workspace)
    cluster.configure(slots=0)
    return workspace


def site_of(workspace: Workspace) -> Site:
    """The study opened anew."""
    return open_site(workspace, None)


def report(workspace: Workspace, step: int, loss: float, age_s: float = 0.0) -> None:
    """Make the runs of the canary report, as a worker would."""
    for key in next(iter(state_of(workspace).jobs.values())).tasks[0].runs:
        record = {"loss": loss, "step": step, "total_steps": 3, "time": time.time() - age_s}
        attempt = attempt_of(workspace, key)
        attempt.mkdir(exist_ok=True)
        (attempt / "metrics.jsonl").write_text(json.dumps(record) + "\n")


def test_one_task_goes_first_and_words_say_what_the_others_wait_for(
    phase_of_ten: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """advance submits one task, status says so, a second advance changes nothing."""
    told = "canary: 1 task of pilot first; 9 wait until it reaches step 1 with a finite loss"

    first = cli("advance")

    assert told in first.stdout
    assert "submitted 2 runs in 1 task" in first.stdout
    assert len(cluster.jobs()) == 1
    assert told in cli("status").stdout
    cli("advance")  # sees the job in the queue
    before = (phase_of_ten.state_dir / "pipeline.json").read_bytes()
    assert "nothing new" in cli("advance").stdout
    assert (phase_of_ten.state_dir / "pipeline.json").read_bytes() == before
    assert len(cluster.jobs()) == 1


def test_a_dry_run_shows_the_canary_alone(phase_of_ten: Workspace) -> None:
    """What would be submitted now is one task."""
    assert "would submit 2 runs of pilot in 1 task" in " ".join(preview(site_of(phase_of_ten)).did)


def test_the_canary_is_released_by_its_step(phase_of_ten: Workspace, cluster: FakeSlurm) -> None:
    """The first finite report at the step lets the others go in one array, for good."""
    edit(phase_of_ten, "steps = 3", "steps = 3\nstep_s = 600.0")
    cluster.configure(slots=1)
    (job,) = advance(site_of(phase_of_ten)).state.jobs.values()
    assert job.job_id is not None
    cluster.wait(job.job_id, "RUNNING")
    deadline = time.monotonic() + 60
    while not list(phase_of_ten.runs_dir.glob("pilot/*/attempts/*/metrics.jsonl")):  # of step 0
        assert time.monotonic() < deadline
        time.sleep(0.05)
    advance(site_of(phase_of_ten))
    assert "submitted" not in " ".join(advance(site_of(phase_of_ten)).did)
    report(phase_of_ten, 1, 1.0, age_s=3600)
    assert "submitted" not in " ".join(advance(site_of(phase_of_ten)).did), "an earlier attempt's"
    report(phase_of_ten, 1, math.nan)
    assert "submitted" not in " ".join(advance(site_of(phase_of_ten)).did)
    report(phase_of_ten, 1, 0.5)

    step = advance(site_of(phase_of_ten))

    assert "canary: the first task of pilot works; the others go" in step.did
    assert "pilot: submitted 18 runs in 9 tasks (" in step.did[-1]
    assert step.state.phases["pilot"].canary_released
    report(phase_of_ten, 1, math.nan)
    assert not any("canary" in line for line in advance(site_of(phase_of_ten)).did)
    assert len(cluster.jobs()) == 10


def test_the_canary_is_released_by_its_result(
    phase_of_ten: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """A study on a cluster walks to its end with the canary on."""
    cluster.configure(slots=2)

    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    assert {run.status for run in state_of(phase_of_ten).runs.values()} == {DONE}
    assert sorted(len(job.tasks) for job in state_of(phase_of_ten).jobs.values()) == [1, 9]


def crash(workspace: Workspace) -> Path:
    """Make the trainer raise in every run."""
    toy = workspace.root / "toy.py"
    toy.write_text(toy.read_text().replace("if config.crash:", "if True:"))
    return toy


def test_a_canary_that_fails_burns_nothing_else(
    phase_of_ten: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """One task failed, nine were never submitted: exit 3, and words that say so."""
    toy = crash(phase_of_ten)
    cluster.configure(slots=2)

    done = cli("advance", "--watch")

    assert done.returncode == 3
    assert "canary: the first task of pilot failed; 9 other tasks not submitted" in done.stdout
    assert len(cluster.jobs()) == 1
    assert cli("advance").returncode == 3
    assert len(cluster.jobs()) == 1
    accept = cli("advance", "--accept-failed")
    assert accept.returncode == 2
    assert "canary = false" in accept.stderr

    toy.write_text(toy.read_text().replace("if True:", "if config.crash:"))
    (run, *_) = [key for key, r in state_of(phase_of_ten).runs.items() if r.status is FAILED]
    assert cli("retry", run).returncode == 0
    cli("advance")
    assert len(cluster.jobs()) == 2, "what is tried again goes first and alone"


@pytest.mark.parametrize("where", ["phase", "profile"])
def test_the_canary_can_be_switched_off(
    phase_of_ten: Workspace, cluster: FakeSlurm, where: str
) -> None:
    """canary = false in a phase or in the profile sends everything at once."""
    if where == "phase":
        edit(phase_of_ten, 'seeds = "1000-1009"', 'seeds = "1000-1009"\ncanary = false')
    else:
        write_profiles(phase_of_ten, PROFILES)

    step = advance(site_of(phase_of_ten))

    assert "submitted 20 runs in 10 tasks" in " ".join(step.did)
    assert len(cluster.jobs()) == 10


def test_switching_it_off_later_lets_the_others_go(
    phase_of_ten: Workspace, cluster: FakeSlurm
) -> None:
    """Who does not want to wait may say so while it is out."""
    advance(site_of(phase_of_ten))
    edit(phase_of_ten, 'seeds = "1000-1009"', 'seeds = "1000-1009"\ncanary = false')

    step = advance(site_of(phase_of_ten))

    assert "canary: switched off for pilot; the others go" in step.did
    assert len(cluster.jobs()) == 10


def test_a_phase_of_one_task_needs_no_canary(workspace: Workspace, cluster: FakeSlurm) -> None:
    """One task alone is submitted without a word."""
    write_profiles(workspace, CLUSTER)
    cluster.configure(slots=0)

    step = advance(site_of(workspace))

    assert not any("canary" in line for line in step.did)
    assert step.state.phases["pilot"].canary_step is None


def test_on_this_machine_the_canary_is_off_unless_asked_for(workspace: Workspace) -> None:
    """A local phase starts all its places at once; with canary = true it starts one task."""
    edit(workspace, "steps = 3", "steps = 1000\nstep_s = 0.1")
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1009"\ncanary = true')

    step = advance(site_of(workspace))

    assert "1 task of pilot first; 3 wait until it reaches step 10 " in " ".join(step.did)
    assert len(step.state.jobs) == 1
