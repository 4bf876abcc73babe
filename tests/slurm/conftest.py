"""A real Slurm cluster for the session, and the toy study on it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.files import write_atomic
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from slurm.testcluster.errors import NotInstalledError
from tests.pipeline.conftest import cli, edit, workspace

__all__ = ["cli", "workspace"]

ROOT = Path(__file__).parents[2]
Value = str | int | float
PROFILE: dict[str, Value | Mapping[str, Value]] = {
    "backend": "slurm",
    "partition": "normal",
    "gres": "gpu:a100:1",
    "cpus_per_task": 1,
    "mem_gb": 1,
    "walltime_min": 30,
    "stack_size": 2,
    "poll_interval_s": 0.3,
    "canary": False,
    "auto": {"walltime_min": 10, "mem_gb": 1, "poll_min": 1},
}
_DOWN_S = 60


@contextmanager
def temporary_cluster(**knobs: int) -> Iterator[Cluster]:
    """A cluster in a folder of its own, taken down even when this very process is killed."""
    root = Path(tempfile.mkdtemp(prefix="slurm-"))
    down = 'cat >/dev/null; exec "$0" --wipe "$1"'
    guard = subprocess.Popen(  # goes to work when its stdin closes, by us or by our death
        ["sh", "-c", down, str(ROOT / "slurm/testcluster/down"), str(root)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        cluster = Cluster(root)
        cluster.up(knobs)
        yield cluster
    finally:
        guard.communicate(timeout=_DOWN_S)
        assert guard.returncode == 0
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def session_cluster() -> Iterator[Cluster]:
    """The cluster that the tests share; they are skipped where none can be had."""
    try:
        with temporary_cluster() as cluster:
            yield cluster
    except NotInstalledError as error:
        pytest.skip(f"no Slurm cluster: {error}")


@pytest.fixture
def cluster(session_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster in good order, and this test's commands talking to it."""
    use(session_cluster, monkeypatch)
    yield session_cluster
    session_cluster.up()
    session_cluster.cancel_all()


def use(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands that the test runs talk to a cluster."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])


@pytest.fixture
def study(workspace: Workspace) -> Workspace:
    """The toy study with a profile for the cluster; two runs a task."""
    edit(workspace, 'name = "toy"', 'name = "toy"\nprofile = "cluster"')
    set_profile(workspace)
    return workspace


def set_profile(workspace: Workspace, **keys: Value | Mapping[str, Value]) -> None:
    """Write the workspace's profile with some keys changed; a mapping becomes a table of it."""
    plain, tables = ["[profiles.cluster]"], []
    for key, value in {**PROFILE, **keys}.items():
        if isinstance(value, Mapping):
            tables += ["", f"[profiles.cluster.{key}]", *(_line(*item) for item in value.items())]
        else:
            plain.append(_line(key, value))
    path = workspace.root / "slurm" / "profiles.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([*plain, *tables, ""]), encoding="utf-8")


def _line(key: str, value: Value) -> str:
    return f"{key} = {json.dumps(value)}"


@contextmanager
def closed(cluster: Cluster, partition: str = "normal") -> Iterator[None]:
    """While a partition takes jobs and starts none."""
    cluster.run("scontrol", "update", f"partitionname={partition}", "state=down")
    try:
        yield
    finally:
        cluster.run("scontrol", "update", f"partitionname={partition}", "state=up")


def hold(workspace: Workspace, node: str = "") -> None:
    """Let runs take one step and then wait, all or those on one node, until `release`."""
    write_atomic(workspace.root / "hold", node.encode())


def release(workspace: Workspace) -> None:
    """Let the runs train that `hold` made wait."""
    (workspace.root / "hold").unlink()
