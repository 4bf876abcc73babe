"""The environment a submission hands on: ours, without what a job that we may run in was given.

sbatch exports the caller's environment. From inside a job that holds the job's own variables, and
srun and sbatch take many of them for requests: an array's index, a memory size, a number of CPUs.
"""

import os
from collections.abc import Mapping

_OURS = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"})
"""Where the cluster is and who asks: whoever calls Slurm needs these."""
_WHO_PAYS = frozenset(
    f"SBATCH_{name}" for name in ("ACCOUNT", "CLUSTERS", "PARTITION", "QOS", "RESERVATION")
)
"""A user's own defaults, which Slurm itself never sets."""
_OF_A_JOB = ("SLURM_", "SBATCH_", "SRUN_", "SUBMITIT_")
_DEVICES = frozenset({"CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES"})


def outside_any_job(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment as if no job surrounded us."""
    inside = "SLURM_JOB_ID" in environment
    return {
        name: value for name, value in environment.items() if not _is_of_a_job(name, inside=inside)
    }


def _is_of_a_job(name: str, *, inside: bool) -> bool:
    if name.startswith("SLURM_"):
        return name not in _OURS
    return inside and (name in _DEVICES or (name.startswith(_OF_A_JOB) and name not in _WHO_PAYS))
