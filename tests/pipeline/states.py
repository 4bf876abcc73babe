"""A state with a run in every status."""

from pipeline.failures.kinds import FailureClass
from pipeline.state import (
    BadNode,
    JobRecord,
    PhaseRecord,
    RunRecord,
    RunStatus,
    State,
    TaskRecord,
    TaskState,
)


def a_state() -> State:
    """A state with a run in every status."""
    runs = {
        f"multiseed/a-s{index}": RunRecord(
            phase="multiseed",
            condition="a",
            seed=index,
            config_digest="d" * 64,
            status=status,
            job="t0k3n" if status is not RunStatus.PLANNED else None,
            task=0 if status is not RunStatus.PLANNED else None,
            reason="loss is nan at step 3" if status is RunStatus.FAILED else None,
            settled=status is RunStatus.FAILED,
            result_digest="f" * 64 if status is RunStatus.DONE else None,
        )
        for index, status in enumerate(RunStatus)
    }
    task = TaskRecord(
        runs=("multiseed/a-s1",), state=TaskState.RUNNING, scheduler_state="RUNNING", node="n1"
    )
    job = JobRecord(
        phase="multiseed",
        profile="a100",
        backend="slurm",
        tasks=(task,),
        submitted_at="2026-01-23T10:00:00+00:00",
        job_id="56602458",
    )
    return State(
        study="s",
        study_digest="e" * 64,
        profile="a100",
        phases={"multiseed": PhaseRecord(kind="multiseed", confirmatory=True)},
        runs=runs,
        jobs={"t0k3n": job},
        bad_nodes={
            "n7": BadNode(
                kind=FailureClass.BAD_GPU,
                until="2026-01-24T10:00:00+00:00",
                run="multiseed/a-s1",
            )
        },
    )
