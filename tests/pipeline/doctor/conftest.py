"""A cluster beside the toy workspace, and a reader of what the doctor prints."""

import subprocess

import pytest

from pipeline.profiles import SlurmProfile, load_profile
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import on_cluster

PROFILES = """
[profiles.cluster]
backend = "slurm"
partition = "main"
cpus_per_task = 1
mem_gb = 1
walltime_min = 30
max_submitted = 10
"""


@pytest.fixture
def cluster(workspace: Workspace, fake_slurm: FakeSlurm) -> FakeSlurm:
    """A cluster beside a workspace with a profile for it."""
    on_cluster(workspace, PROFILES)
    return fake_slurm


@pytest.fixture
def profile(workspace: Workspace, cluster: FakeSlurm) -> SlurmProfile:
    """The profile of the cluster."""
    del cluster
    found = load_profile(workspace.profiles_file(), "cluster")
    assert found.backend == "slurm"
    return found


def lines(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """The printed findings by what was looked at: "level  text"."""
    found = {}
    for line in done.stdout.splitlines()[:-1]:
        level, _, rest = line.partition("  ")
        check, _, text = rest.strip().partition("  ")
        found[check] = f"{level.strip()} {text.strip()}"
    return found
