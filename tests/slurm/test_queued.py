"""What waits in the queue of a real Slurm: edits do not reach it, and size does not matter."""

from __future__ import annotations

import json

from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from tests.pipeline.conftest import Cli, edit, state_of
from tests.slurm.conftest import closed, set_profile
from tests.slurm.looks import only_job, queue, results_of, wait_for

TASKS = 1_000


def test_edits_to_the_code_while_queued_change_nothing(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """The pilot runs the code that was submitted, what is submitted later runs the edited code."""
    trainer = study.root / "toy.py"
    with closed(cluster):
        assert cli("advance").returncode == 0
        text = trainer.read_text(encoding="utf-8")
        assert "floor = run" in text
        trainer.write_text(text.replace("floor = run", "floor = 100 + run"), encoding="utf-8")

    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    losses, digests = {}, {}
    for phase in ("pilot", "multiseed"):
        found = results_of(study, phase).values()
        losses[phase] = [result.metrics["loss"].value for result in found]
        (digests[phase],) = {result.code.source_digest for result in found}
    assert max(losses["pilot"]) < 2
    assert min(losses["multiseed"]) > 100
    assert digests["pilot"] != digests["multiseed"]


def test_a_thousand_tasks_are_one_sbatch_and_one_look(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """One array of 1,000 elements; status counts them as the queue does; cancel ends them all."""
    set_profile(study, stack_size=1)
    edit(study, "seeds = [1000]", f'seeds = "1000-{1000 + TASKS // 2 - 1}"')
    with closed(cluster):
        submitted = cli("advance")
        assert submitted.returncode == 0, submitted.stderr
        job_id, job = only_job(study)
        assert len(job.tasks) == TASKS
        assert queue(cluster) == {f"{job_id}_{index}": "PENDING" for index in range(TASKS)}

        phase = json.loads(cli("status", "--json").stdout)["phases"][0]

        assert phase["runs"] == {
            "total": TASKS, "done": 0, "running": 0, "pending": TASKS, "failed": 0
        }  # fmt: skip
        assert phase["jobs"] == [{"job_id": job_id, "state": "PENDING", "tasks": TASKS}]
        assert cli("cancel", "--yes").returncode == 0
        wait_for(lambda: not queue(cluster))
    statuses = {run.status for run in state_of(study).runs_of("pilot").values()}
    assert statuses == {RunStatus.FAILED}
