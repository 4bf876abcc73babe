"""The classes of failure, in the words users read and with what helps. Plain values, no imports."""

from enum import StrEnum


class FailureClass(StrEnum):
    """Why an attempt at a run ended without a result."""

    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    CUDA_OUT_OF_MEMORY = "cuda_out_of_memory"
    TIME_LIMIT = "time_limit"
    NODE_FAILURE = "node_failure"
    BAD_GPU = "bad_gpu"
    PREEMPTED = "preempted"
    PAUSED = "paused"
    """Stopped by us between two pieces of a study."""
    CANCELLED_BY_USER = "cancelled_by_user"
    LOG_NOT_CREATABLE = "log_not_creatable"
    DISK_QUOTA = "disk_quota"
    IMPORT_ERROR = "import_error"
    CODE_ERROR = "code_error"
    DIVERGED = "diverged"
    """nan or infinity: what this config at this seed comes to, not an accident."""
    KILLED_WITHOUT_TRACE = "killed_without_trace"
    STALLED = "stalled"
    """Running, but nothing was written for long."""
    NEVER_STARTED = "never_started"
    UNKNOWN = "unknown"

    @property
    def words(self) -> str:
        """The class as users read it."""
        return _WORDS.get(self, self.value.replace("_", " "))


_F = FailureClass
_WORDS = {
    _F.CUDA_OUT_OF_MEMORY: "GPU out of memory",
    _F.BAD_GPU: "bad GPU",
    _F.LOG_NOT_CREATABLE: "log file could not be created",
    _F.DISK_QUOTA: "disk full or over quota",
    _F.IMPORT_ERROR: "import or environment error",
    _F.KILLED_WITHOUT_TRACE: "killed without a trace",
}

PHASE_STOPPING = frozenset({_F.LOG_NOT_CREATABLE, _F.DISK_QUOTA, _F.IMPORT_ERROR, _F.CODE_ERROR})
"""What would strike every other run of the phase too: nothing more of it is submitted."""

NEVER_RETRIED = PHASE_STOPPING | {_F.CANCELLED_BY_USER, _F.DIVERGED, _F.UNKNOWN}
"""What trying again does not mend, whatever the policy."""

NODE_TO_BLAME = frozenset({_F.NODE_FAILURE, _F.BAD_GPU})
"""What another node does not suffer from."""

REMEDY = {
    _F.HOST_OUT_OF_MEMORY: "ask for more: `pipeline retry {run} --mem-gb {mem_gb}`, or raise "
    "mem_gb of the profile or failures.memory_max_gb in slurm/profiles.toml",
    _F.CUDA_OUT_OF_MEMORY: "host memory does not help: lower stack_size of the profile or "
    "batch_size in study.toml, or take a GPU with more memory, then `pipeline retry {run}`",
    _F.TIME_LIMIT: "give it longer: `pipeline retry {run} --walltime-min {walltime_min}`; it goes "
    "on from its last checkpoint",
    _F.NODE_FAILURE: "nothing is wrong with the run: `pipeline retry {run}`; that node is left "
    "out for a while",
    _F.BAD_GPU: "tell your administrators about {node}; `pipeline retry {run}` leaves it out",
    _F.PREEMPTED: "nothing is wrong with the run: `pipeline retry {run}`; it goes on from its "
    "last checkpoint",
    _F.PAUSED: "nothing is wrong with the run: `pipeline advance` goes on from its checkpoint",
    _F.CANCELLED_BY_USER: "somebody ended it: `pipeline retry {run}` when it should run",
    _F.LOG_NOT_CREATABLE: "make {logs} writable from the compute nodes (does it exist there, is "
    "there room?), then `pipeline retry {run}`",
    _F.DISK_QUOTA: "make room where {root} lies (`df -h {root}`, `quota -s`), then "
    "`pipeline retry {run}`",
    _F.IMPORT_ERROR: "mend the environment (`setup` in slurm/profiles.toml, or what is installed), "
    "then `pipeline retry {run}`",
    _F.CODE_ERROR: "mend the code (`pipeline logs {run}` shows where it fails), then "
    "`pipeline retry {run}`",
    _F.DIVERGED: "this is what the config comes to at this seed: change the config, or report it: "
    "`pipeline advance --accept-failed`",
    _F.KILLED_WITHOUT_TRACE: "kill -9 is often memory: `pipeline retry {run} --mem-gb {mem_gb}`; "
    "ask your administrators what ran on {node}",
    _F.STALLED: "look at it on {node}, or end and retry it: `pipeline cancel {run}`, then "
    "`pipeline retry {run}`",
    _F.NEVER_STARTED: "the scheduler dropped it before it ran: `pipeline retry {run}`",
    _F.UNKNOWN: "read the log (`pipeline logs {run}`), mend the cause, then `pipeline retry {run}`",
}
"""What would help, with the exact command. {mem_gb} and {walltime_min} are suggestions."""
