"""From tasks to Slurm jobs: what sbatch says and does not say, and what is made of it."""

import pytest

from pipeline.advance import advance
from pipeline.errors import SchedulerUnreachableError
from pipeline.scheduler import sbatch
from pipeline.scheduler.refusals import TABLE, UNKNOWN, Kind, recognise
from pipeline.site import open_site
from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import Cli, edit, only_pilot, statuses

FAILED = "sbatch: error: Batch job submission failed: "
POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


def named(limit: str) -> str:
    """How sbatch refuses for a limit with a name."""
    return f"sbatch: error: {limit}\n{FAILED}{POLICY}"


REAL_TEXTS = [
    (FAILED + "Unable to contact slurm controller (connect failure)", Kind.UNREACHABLE, ()),
    (FAILED + "Socket timed out on send/recv operation", Kind.UNREACHABLE, ()),
    (FAILED + "Zero Bytes were transmitted or received", Kind.UNREACHABLE, ()),
    (named("QOSMaxSubmitJobPerUserLimit"), Kind.LIMIT, ()),
    (named("QOSGrpSubmitJobsLimit"), Kind.LIMIT, ()),
    (named("AssocMaxSubmitJobLimit"), Kind.LIMIT, ()),
    (named("AssocGrpSubmitJobsLimit"), Kind.LIMIT, ()),
    (FAILED + POLICY, Kind.LIMIT, ()),
    ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
     Kind.BUSY, ()),
    (FAILED + "Resource temporarily unavailable", Kind.BUSY, ()),
    (named("QOSMaxWallDurationPerJobLimit"), Kind.MISTAKE, ("walltime_min", "qos")),
    (named("AssocMaxWallDurationPerJobLimit"), Kind.MISTAKE, ("walltime_min", "qos")),
    (named("QOSMaxGRESPerUser"), Kind.MISTAKE, ("gres", "qos")),
    (named("QOSMaxMemoryPerJob"), Kind.MISTAKE, ("mem_gb", "qos")),
    (named("QOSMaxCpuPerUserLimit"), Kind.MISTAKE, ("cpus_per_task", "qos")),
    (named("QOSMaxNodePerUserLimit"), Kind.MISTAKE, ("qos", "account")),
    ("sbatch: error: invalid partition specified: nosuch\n" + FAILED
     + "Invalid partition name specified", Kind.MISTAKE, ("partition",)),
    (FAILED + "Required partition not available (inactive or drain)",
     Kind.MISTAKE, ("partition",)),
    (FAILED + "Invalid account or account/partition combination specified",
     Kind.MISTAKE, ("account", "partition")),
    (FAILED + "Invalid qos specification", Kind.MISTAKE, ("qos",)),
    ("sbatch: error: Invalid generic resource (gres) specification", Kind.MISTAKE, ("gres",)),
    (FAILED + "Requested time limit is invalid (missing or exceeds some limit)",
     Kind.MISTAKE, ("walltime_min", "partition")),
    ("sbatch: error: Memory specification can not be satisfied\n" + FAILED
     + "Requested node configuration is not available", Kind.MISTAKE, ("mem_gb",)),
    (FAILED + "Requested node configuration is not available",
     Kind.MISTAKE, ("gres", "mem_gb", "cpus_per_task", "constraint")),
    (FAILED + "More processors requested than permitted", Kind.MISTAKE, ("cpus_per_task",)),
    (FAILED + "Invalid job array specification", Kind.MISTAKE, ("max_submitted",)),
    (FAILED + "Invalid feature specification", Kind.MISTAKE, ("constraint",)),
    (FAILED + "a text that nobody has met", Kind.MISTAKE, ()),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "keys"), REAL_TEXTS)
def test_each_text_of_sbatch_means_one_thing(text: str, kind: Kind, keys: tuple[str, ...]) -> None:
    """The name of a limit decides, not the sentence about policy that follows it."""
    refusal = recognise(text)

    assert (refusal.kind, refusal.keys) == (kind, keys)


def test_every_row_of_the_table_is_met_by_a_text() -> None:
    """No row stands behind another that takes all its texts."""
    met = {recognise(text) for text, _, _ in REAL_TEXTS}
    met.add(recognise(FAILED + "Node count specification invalid"))
    met.add(recognise(FAILED + "Job's QOS not permitted to use this partition"))

    assert met == {*TABLE, UNKNOWN}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("QOSMaxWallDurationPerJobLimit", "walltime_min (30)"),
        ("QOSMaxGRESPerUser", "gres (gpu:a100:1)"),
        ("Invalid account or account/partition combination specified", "account (not set)"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "walltime_min (30)"),
    ],
)
def test_a_mistake_ends_with_exit_2_the_sbatch_line_and_the_key_to_change(
    cluster: FakeSlurm, workspace: Workspace, cli: Cli, text: str, key: str
) -> None:
    """Waiting mends no mistake: one line says what Slurm minds, what to change, what was asked."""
    cluster.configure(reject=text, reject_next=1)

    done = cli("advance")

    assert done.returncode == 2
    assert text in done.stderr
    assert key in done.stderr
    assert "of profile cluster in slurm/profiles.toml" in done.stderr
    assert "sbatch --partition=main --gres=gpu:a100:1 --time=30" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert statuses(workspace, "pilot") == {RunStatus.PLANNED}
    assert not list(workspace.logs_dir.glob("*"))


def test_words_nobody_has_met_end_with_exit_2_and_the_words(cluster: FakeSlurm, cli: Cli) -> None:
    """A site's own plugin refuses in its own words: they are shown as they are."""
    cluster.configure(reject="Ask Alice before you use this", reject_next=1)

    done = cli("advance")

    assert done.returncode == 2
    assert "Ask Alice before you use this" in done.stderr


def test_a_dead_controller_ends_with_exit_4(cluster: FakeSlurm, cli: Cli) -> None:
    """Nobody answered: the intent stays, and is looked up before anything is submitted again."""
    cluster.configure(reject="Unable to contact slurm controller (connect failure)", reject_next=1)

    assert cli("advance").returncode == 4


def test_a_full_queue_holds_the_tasks_and_does_not_hang(
    workspace: Workspace, cluster: FakeSlurm
) -> None:
    """sbatch that sleeps and tries again is stopped: nothing is under way, the rest waits."""
    cluster.configure(queue_full=True, slots=0)

    step = advance(open_site(workspace, None))

    assert any("temporarily unable to accept job" in note for note in step.notes)
    assert not step.state.jobs
    cluster.configure(queue_full=False)
    assert "submitted 2 runs" in " ".join(advance(open_site(workspace, None)).did)


def test_a_job_whose_sbatch_never_answered_is_adopted_and_runs_to_its_results(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sbatch timed out, the job exists: it finds its tasks, and the next advance finds it."""
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1002"')
    only_pilot(workspace)
    monkeypatch.setattr(sbatch, "TIMEOUT_S", 1.0)
    cluster.configure(sbatch_answer_s=30.0)

    with pytest.raises(SchedulerUnreachableError, match="the job may exist"):
        advance(open_site(workspace, None))
    (array_id,) = {job.array_id for job in cluster.jobs()}
    cluster.wait(array_id, timeout=60)
    cluster.configure(sbatch_answer_s=0.0)

    done = cli("advance", "--watch")

    assert f"found job {array_id} again" in done.stdout
    assert statuses(workspace, "pilot") == {RunStatus.DONE}
    assert {job.array_id for job in cluster.jobs()} == {array_id}


def test_variables_of_an_outer_job_do_not_reach_the_submitted_one(
    workspace: Workspace, cluster: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submitted from inside a job, sbatch would hand that job's element and memory on."""
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "123")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    cluster.configure(slots=0)

    advance(open_site(workspace, None))

    (job,) = cluster.jobs()
    assert "SLURM_ARRAY_TASK_ID" not in job.spec.environment
    assert "SLURM_MEM_PER_NODE" not in job.spec.environment
    assert job.spec.environment["SLURM_CONF"] == "/etc/slurm/slurm.conf"


@pytest.mark.parametrize("limit", ["QOSMaxSubmitJobPerUserLimit", "AssocMaxSubmitJobLimit"])
def test_a_submit_limit_admits_what_fits_and_the_next_advance_goes_on(
    workspace: Workspace, cluster: FakeSlurm, limit: str
) -> None:
    """An array is refused as a whole: smaller ones go in, the rest waits in words."""
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1009"')
    cluster.configure(slots=0, max_submit=3, max_submit_reason=limit)

    step = advance(open_site(workspace, None))

    assert len(cluster.jobs()) == 3
    assert any(limit in note and "7 tasks held back" in note for note in step.notes)
    assert step.state.admitted == 3
    cluster.forget_calls()
    assert advance(open_site(workspace, None)).did == []
    assert len(cluster.calls("sbatch")) == 1
    cluster.configure(max_submit=100)
    step = advance(open_site(workspace, None))
    assert len(cluster.jobs()) == 10
    assert step.state.admitted is None


def test_a_limit_that_admits_nothing_leaves_all_runs_planned(
    workspace: Workspace, cluster: FakeSlurm
) -> None:
    """No job, no intent, no files of a submission stay behind."""
    cluster.configure(slots=0, max_submit=0)

    step = advance(open_site(workspace, None))

    assert "held back" in " ".join(step.notes)
    assert statuses(workspace, "pilot") == {RunStatus.PLANNED}
    assert not step.state.jobs
    assert not list(workspace.logs_dir.glob("*"))


def test_arrays_are_cut_at_the_largest_index_the_cluster_takes(
    workspace: Workspace, cluster: FakeSlurm
) -> None:
    """MaxArraySize 4 admits the indices 0 to 3: ten tasks are three arrays with names of theirs."""
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1009"')
    cluster.configure(slots=0, max_array_size=4)

    step = advance(open_site(workspace, None))

    assert "submitted 20 runs in 10 tasks, 3 arrays" in " ".join(step.did)
    arrays = {job.array_id: job.spec for job in cluster.jobs()}
    assert [len(spec.indices) for spec in arrays.values()] == [4, 4, 2]
    assert {spec.name for spec in arrays.values()} == {f"toy-pilot-{t}" for t in step.state.jobs}
    for token, job in step.state.jobs.items():
        comment = arrays[int(job.job_id or 0)].comment
        assert comment == f"study-pipeline study=toy phase=pilot token={token}"
    assert len(cluster.calls("scontrol")) == 1


def test_a_cluster_that_caps_the_tasks_of_an_array_is_obeyed(
    workspace: Workspace, cluster: FakeSlurm
) -> None:
    """SchedulerParameters may say max_array_tasks, which counts elements whatever their index."""
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1004"')
    cluster.configure(slots=0, max_array_tasks=2)

    advance(open_site(workspace, None))

    assert len({job.array_id for job in cluster.jobs()}) == 3
