"""What a real Slurm refuses: limits hold tasks back, mistakes end with exit 2."""

from __future__ import annotations

import pytest

from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from slurm.testcluster.configuration import SUBMIT_LIMIT
from tests.pipeline.conftest import Cli, state_of
from tests.slurm.conftest import hold, set_profile
from tests.slurm.looks import queue, wait_for


@pytest.mark.parametrize(
    ("key", "name", "words"),
    [
        ("qos", "user-submit", "QOSMaxSubmitJobPerUserLimit"),
        ("qos", "group-submit", "QOSGrpSubmitJobsLimit"),
        ("account", "user-limited", "AssocMaxSubmitJobLimit"),
        ("account", "group-limited", "AssocGrpSubmitJobsLimit"),
    ],
)
def test_a_limit_on_submissions_holds_the_tasks_until_there_is_room(
    study: Workspace, cluster: Cluster, cli: Cli, key: str, name: str, words: str
) -> None:
    """Other jobs fill the limit: nothing is submitted, lost or failed, and later all goes in."""
    set_profile(study, stack_size=1, **{key: name})
    hold(study)
    others = cluster.run(
        "sbatch", "--parsable", "--hold", f"--{key}={name}", f"--array=1-{SUBMIT_LIMIT}",
        "--output=/dev/null", "--wrap=true",
    ).strip()  # fmt: skip

    held = cli("advance")

    assert held.returncode == 0, held.stderr
    assert words in held.stdout
    assert "2 tasks held back" in held.stdout
    state = state_of(study)
    assert {run.status for run in state.runs_of("pilot").values()} == {RunStatus.PLANNED}
    assert not state.jobs
    assert len(queue(cluster)) == SUBMIT_LIMIT

    cluster.run("scancel", others)
    wait_for(lambda: not queue(cluster))
    assert "pilot: submitted 2 runs in 2 tasks" in cli("advance").stdout
    assert len(queue(cluster)) == 2


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"partition": "nosuch"}, "invalid partition specified: nosuch"),
        ({"account": "nobody"}, "Invalid account or account/partition combination"),
        ({"qos": "nosuch"}, "Invalid qos specification"),
        ({"gres": "tpu:1"}, "Invalid generic resource (gres) specification"),
        ({"gres": "gpu:a100:3"}, "Requested node configuration is not available"),
        ({"mem_gb": 900}, "Memory specification can not be satisfied"),
        ({"walltime_min": 61}, "Requested time limit is invalid"),
    ],
)
def test_a_mistake_in_the_profile_ends_with_exit_2_and_sbatch_s_words(
    study: Workspace, cluster: Cluster, cli: Cli, keys: dict[str, str | int], words: str
) -> None:
    """What waiting cannot mend is told at once, and every run stays planned."""
    set_profile(study, **keys)

    refused = cli("advance")

    assert refused.returncode == 2
    assert words in refused.stderr
    assert "slurm/profiles.toml" in refused.stderr
    assert "Traceback" not in refused.stderr
    state = state_of(study)
    assert {run.status for run in state.runs_of("pilot").values()} == {RunStatus.PLANNED}
    assert not state.jobs
    assert not queue(cluster)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"qos": "five-minutes"}, "QOSMaxWallDurationPerJobLimit"),
        ({"qos": "one-gpu", "gres": "gpu:a100:2"}, "QOSMaxGRESPerUser"),
    ],
)
def test_a_job_beyond_what_its_qos_allows_is_a_mistake_not_a_full_queue(
    study: Workspace, cluster: Cluster, cli: Cli, keys: dict[str, str | int], words: str
) -> None:
    """Slurm refuses it in nearly the words of a full queue, yet it would wait for ever."""
    set_profile(study, **keys)

    refused = cli("advance")

    assert refused.returncode == 2
    assert words in refused.stderr
    assert not state_of(study).jobs
    assert not queue(cluster)
