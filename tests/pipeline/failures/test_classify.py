"""The table of failures: realistic words of Slurm, PyTorch, kernels and shells, and garbage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.failures.classify import RULES, classify
from pipeline.failures.evidence import Evidence, Failure, Progress, Traces
from pipeline.failures.kinds import REMEDY, FailureClass

F = FailureClass
STOPPED = "stopped before its last step (the job was asked to end)"
TASK_FAILED = (
    "Traceback (most recent call last):\n"
    '  File "submission.py", line 55, in process_job\n'
    "pipeline.worker.TaskFailedError: baseline-s3: it failed"
)
CUDA_OOM = (
    "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity "
    "of 79.15 GiB of which 18.94 MiB is free. Process 1243 has 79.12 GiB memory in use."
)
CGROUP_OOM = (
    "slurmstepd: error: Detected 1 oom_kill event in StepId=37.0. Some of the step tasks have "
    "been OOM Killed.\nsrun: error: node1: task 0: Out Of Memory"
)
ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be"
NO_DRIVER = (
    "RuntimeError: CUDA driver initialization failed, you might not have a CUDA gpu; "
    "no CUDA-capable device is detected"
)
XID = "[612.7] NVRM: Xid (PCI:0000:3b:00): 79, pid=812, GPU has fallen off the bus."


def judged(**known: object) -> FailureClass:
    """The class of an attempt of which some things are known."""
    log = known.pop("log", "")
    traces = Traces(log=str(log), log_exists=bool(log))
    return classify(Evidence(**{"traces": traces, **known})).kind  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "kind"),
    [
        # The scheduler's own words.
        ({"state": "OUT_OF_MEMORY", "exit_code": "0:125"}, F.HOST_OUT_OF_MEMORY),
        ({"state": "FAILED", "exit_code": "1:0", "step_state": "OUT_OF_MEMORY"},
         F.HOST_OUT_OF_MEMORY),
        ({"state": "COMPLETED", "exit_code": "0:0", "step_state": "OUT_OF_MEMORY"},
         F.HOST_OUT_OF_MEMORY),
        ({"state": "TIMEOUT", "exit_code": "0:0", "message": STOPPED}, F.TIME_LIMIT),
        ({"state": "NODE_FAIL", "exit_code": "1:0"}, F.NODE_FAILURE),
        ({"state": "BOOT_FAIL"}, F.NODE_FAILURE),
        ({"state": "PREEMPTED", "exit_code": "0:0", "message": STOPPED}, F.PREEMPTED),
        ({"state": "CANCELLED", "reason": "by uid 1000"}, F.CANCELLED_BY_USER),
        ({"state": "CANCELLED", "reason": "DependencyNeverSatisfied"}, F.NEVER_STARTED),
        ({"state": "REVOKED"}, F.NEVER_STARTED),
        ({"state": "DEADLINE", "elapsed_s": 600.0}, F.TIME_LIMIT),
        ({"state": "DEADLINE"}, F.NEVER_STARTED),
        ({"state": "FAILED", "exit_code": "0:53"}, F.LOG_NOT_CREATABLE),
        ({"state": "FAILED", "exit_code": "0:9", "log": "step 10"}, F.KILLED_WITHOUT_TRACE),
        ({"state": "FAILED", "exit_code": "9:0", "log": "step 10"}, F.KILLED_WITHOUT_TRACE),
        ({"state": "FAILED", "exit_code": "137:0", "log": "step 10"}, F.KILLED_WITHOUT_TRACE),
        ({"state": "GONE", "node": "n1"}, F.KILLED_WITHOUT_TRACE),
        ({"state": "GONE"}, F.NEVER_STARTED),
        ({"state": "COMPLETED", "exit_code": "0:0", "log": "bye"}, F.UNKNOWN),
        # What the run said, with the scheduler's plain end.
        ({"state": "FAILED", "message": CUDA_OOM, "log": TASK_FAILED}, F.CUDA_OUT_OF_MEMORY),
        ({"state": "FAILED", "message": "RuntimeError: CUDA error: out of memory"},
         F.CUDA_OUT_OF_MEMORY),
        ({"state": "FAILED", "message": ECC}, F.BAD_GPU),
        ({"state": "FAILED", "message": NO_DRIVER}, F.BAD_GPU),
        ({"state": "FAILED", "message": "MemoryError: "}, F.HOST_OUT_OF_MEMORY),
        ({"message": "RuntimeError: [enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: "
          "can't allocate memory: you tried to allocate 64 bytes"}, F.HOST_OUT_OF_MEMORY),
        ({"message": "_ArrayMemoryError: Unable to allocate 3.50 GiB for an array"},
         F.HOST_OUT_OF_MEMORY),
        ({"message": "OSError: [Errno 122] Disk quota exceeded: '/home/u/runs/x'"}, F.DISK_QUOTA),
        ({"message": "OSError: [Errno 28] No space left on device"}, F.DISK_QUOTA),
        ({"message": "ModuleNotFoundError: No module named 'torch'"}, F.IMPORT_ERROR),
        ({"message": "ImportError: libcudart.so.12: cannot open shared object file"},
         F.IMPORT_ERROR),
        ({"message": "AssertionError: shapes differ"}, F.CODE_ERROR),
        ({"message": "RuntimeError: toy crash of worse-s1000"}, F.CODE_ERROR),
        ({"message": "the trainer ended without an outcome for this run"}, F.CODE_ERROR),
        ({"message": "loss is nan at step 311", "log": TASK_FAILED}, F.DIVERGED),
        ({"message": "validation_mse is inf after the last step"}, F.DIVERGED),
        ({"message": "result refused: metrics.loss.value = nan: Input should be a finite number"},
         F.DIVERGED),
        ({"message": "result.json is of another run: a instead of b"}, F.UNKNOWN),
        # The log, where the run could not speak.
        ({"state": "FAILED", "exit_code": "1:0", "log": CGROUP_OOM}, F.HOST_OUT_OF_MEMORY),
        ({"state": "COMPLETED", "log": CGROUP_OOM}, F.HOST_OUT_OF_MEMORY),
        ({"state": "FAILED", "log": "slurmstepd: error: Exceeded job memory limit"},
         F.HOST_OUT_OF_MEMORY),
        ({"state": "FAILED", "message": "RuntimeError: DataLoader worker exited",
          "log": "kernel: oom-kill:constraint=CONSTRAINT_MEMCG"}, F.HOST_OUT_OF_MEMORY),
        ({"state": "FAILED", "log": XID}, F.BAD_GPU),
        ({"state": "FAILED", "exit_code": "1:0",
          "log": "OSError: [Errno 122] Disk quota exceeded"}, F.DISK_QUOTA),
        ({"state": "FAILED", "exit_code": "1:0",
          "log": "Traceback (most recent call last):\nModuleNotFoundError: No module named 'x'"},
         F.IMPORT_ERROR),
        ({"state": "FAILED", "exit_code": "127:0",
          "log": "/var/spool/job1/slurm_script: line 9: module: command not found"},
         F.IMPORT_ERROR),
        ({"state": "FAILED", "exit_code": "1:0",
          "log": "Traceback (most recent call last):\n  File\nKeyError: 'seed'"}, F.CODE_ERROR),
        ({"state": "FAILED", "log": "slurmstepd: error: *** JOB 3 ON n1 CANCELLED AT "
          "2026-01-01T00:00:00 DUE TO TIME LIMIT ***"}, F.TIME_LIMIT),
        ({"state": "CANCELLED", "log": "slurmstepd: error: *** JOB 3 ON n1 CANCELLED AT "
          "2026-01-01T00:00:00 DUE TO PREEMPTION ***"}, F.PREEMPTED),
        ({"state": "FAILED", "log": "slurmstepd: error: *** JOB 3 ON n1 CANCELLED AT "
          "2026-01-01T00:00:00 DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***"},
         F.NODE_FAILURE),
        ({"state": "FAILED", "log": "slurmstepd: error: *** JOB 3 ON n1 CANCELLED AT "
          "2026-01-01T00:00:00 ***"}, F.CANCELLED_BY_USER),
        # The clock, and who asked it to end.
        ({"message": STOPPED, "elapsed_s": 3500.0, "limit_s": 3600.0, "lead_s": 120.0},
         F.TIME_LIMIT),
        ({"message": STOPPED, "log": "signal 12: asked to stop"}, F.TIME_LIMIT),
        ({"message": STOPPED, "elapsed_s": 25.0, "limit_s": 60.0, "lead_s": 45.0,
          "log": "signal 12: asked to stop"}, F.TIME_LIMIT),
        ({"message": STOPPED, "elapsed_s": 600.0, "limit_s": 3600.0, "lead_s": 120.0,
          "log": "signal 12: asked to stop"}, F.PREEMPTED),
        ({"message": STOPPED, "elapsed_s": 60.0, "limit_s": 3600.0,
          "log": "signal 15: asked to stop"}, F.PREEMPTED),
        ({"message": STOPPED, "backend": "local", "elapsed_s": 60.0, "limit_s": 3600.0},
         F.CANCELLED_BY_USER),
        ({"backend": "local", "state": "ENDED", "node": "me", "elapsed_s": 3590.0,
          "limit_s": 3600.0}, F.TIME_LIMIT),
        ({"backend": "local", "state": "ENDED", "node": "me"}, F.KILLED_WITHOUT_TRACE),
        # What we did ourselves comes before all else.
        ({"state": "CANCELLED", "message": STOPPED, "ended_by": "cancel"}, F.CANCELLED_BY_USER),
        ({"state": "CANCELLED", "message": STOPPED, "ended_by": "stall"}, F.STALLED),
        ({"backend": "local", "message": STOPPED, "ended_by": "pause"}, F.PAUSED),
    ],
)  # fmt: skip
def test_an_attempt_is_judged_by_the_most_telling_thing_known_of_it(
    known: dict[str, object], kind: FailureClass
) -> None:
    """Each row is a text or state as seen on a cluster, and the class a person would give it."""
    assert judged(**known) is kind


def test_a_failure_shows_its_evidence_the_most_telling_line_first() -> None:
    """The log line that decided, then the scheduler's words, times and progress, each once."""
    evidence = Evidence(
        state="FAILED",
        exit_code="1:0",
        elapsed_s=90.0,
        limit_s=3600.0,
        traces=Traces(log=CGROUP_OOM, log_exists=True, progress=Progress(400, 1000, 2.5, 3.0)),
    )

    assert classify(evidence) == Failure(
        F.HOST_OUT_OF_MEMORY,
        (
            "log: srun: error: node1: task 0: Out Of Memory",
            "scheduler: FAILED, exit code 1:0",
            "ran 1.5 of 60 min",
            "reached step 400 of 1,000 at 2.5 steps/s",
        ),
    )


words = st.none() | st.text(max_size=40)
seconds = st.none() | st.floats(allow_nan=False)


@given(
    state=words,
    step_state=words,
    exit_code=words,
    reason=words,
    message=words,
    log=st.text(max_size=400),
    elapsed_s=seconds,
    limit_s=seconds,
    backend=st.sampled_from(["local", "slurm"]),
)
def test_whatever_stands_in_the_evidence_a_class_comes_back(log: str, **known: object) -> None:
    """Garbage in any field is classified without an error, and evidence stays on its lines."""
    failure = classify(Evidence(**known, traces=Traces(log=log)))  # type: ignore[arg-type]

    assert failure.kind in FailureClass
    assert failure.evidence
    assert all("\n" not in line for line in failure.evidence)


def test_every_class_has_a_row_a_remedy_and_a_source() -> None:
    """No class is out of reach, none leaves its user alone, and every row says how it knows."""
    assert {rule.kind for rule in RULES} | {F.UNKNOWN} == set(F) == set(REMEDY)
    assert all(rule.source for rule in RULES)
