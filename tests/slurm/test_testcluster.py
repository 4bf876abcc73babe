"""The cluster itself: up and down, alone and side by side, and what it refuses to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.testcluster.cluster import Cluster
from slurm.testcluster.errors import ClusterError, NotInstalledError
from slurm.testcluster.folder import Folder
from slurm.testcluster.packages import ensure_installed
from slurm.testcluster.processes import Process, processes_with
from slurm.testcluster.settings import Settings
from tests.slurm.conftest import ROOT, temporary_cluster
from tests.slurm.looks import queue, wait_for
from tests.test_readme import BIN, REAL_SLURM, commands, shell


def command(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `slurm/testcluster/NAME` as a user would."""
    return subprocess.run(
        [sys.executable, ROOT / "slurm" / "testcluster" / name, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def processes_of(cluster: Cluster) -> list[Process]:
    """All processes that know of a cluster: daemons, jobs and their keepers."""
    conf = cluster.environment["SLURM_CONF"]
    return processes_with(lambda environment: environment.get("SLURM_CONF") == conf)


def test_up_again_changes_nothing(cluster: Cluster) -> None:
    """A second `up` starts no daemon anew; other knobs are refused."""
    before = sorted(process.pid for process in processes_of(cluster))

    again = command("up", str(cluster.folder.root))

    assert again.returncode == 0, again.stderr
    assert str(cluster.folder.env_file) in again.stdout
    assert sorted(process.pid for process in processes_of(cluster)) == before
    other = command("up", str(cluster.folder.root), "--nodes", "7")
    assert other.returncode == 2
    assert "was set up with nodes = 4" in other.stderr


def test_down_ends_what_a_dead_slurmd_left_behind_and_nothing_else(cluster: Cluster) -> None:
    """A job outlives its slurmd; after `down` no process of that cluster is left, of others all."""
    theirs = set(processes_of(cluster))
    with temporary_cluster(accounting=False, nodes=1) as other:
        other.run("sbatch", "--output=/dev/null", "--wrap=sleep 1000")
        wait_for(lambda: "RUNNING" in queue(other).values())
        other.daemon("node1").kill()
        left = processes_of(other)
        assert command("down", "--wipe", str(other.folder.root)).returncode == 0
        assert left
        assert not processes_of(other)
        assert not any(process.alive for process in left)
    assert theirs <= set(processes_of(cluster))


@pytest.mark.usefixtures("cluster")
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    """From `up` to `down`, as a reader would type them in a checkout."""
    (tmp_path / "slurm").symlink_to(ROOT / "slurm")
    environment = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}

    printed = shell("\n".join(commands(REAL_SLURM)), tmp_path, environment)

    assert "next: . " in printed
    assert "node[1-4]" in printed
    assert "pilot: submitted" in printed
    assert "cancelled 1 job" in printed
    assert not (tmp_path / "lab").exists()


def test_what_is_missing_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not install is told which packages to ask for."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)

    with pytest.raises(NotInstalledError, match="munge slurm-wlm slurmdbd mariadb-server; run"):
        ensure_installed(accounting=True, install=True)
    with pytest.raises(NotInstalledError, match="not installed: munge slurm-wlm; run"):
        ensure_installed(accounting=False, install=False)


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    """`up` moves into no folder that is in use, and `down --wipe` removes none that is not ours."""
    (tmp_path / "thesis.tex").touch()

    refused = command("up", str(tmp_path))

    assert refused.returncode == 2
    assert "holds other things" in refused.stderr
    assert command("down", str(tmp_path), "--wipe").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"nodes": 0}, "nodes = 0: at least 1"),
        ({"port": 80}, "must lie between 1024"),
        ({"port": 32_767}, "below those the kernel lends out"),
    ],
)
def test_impossible_settings_are_refused(knobs: dict[str, int], words: str) -> None:
    """Before anything is written or started."""
    with pytest.raises(ClusterError, match=words):
        Settings(**knobs)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x" * 100, "with space", "with,comma"])
def test_paths_that_slurm_cannot_have_are_refused(tmp_path: Path, name: str) -> None:
    """Sockets want short paths, and Slurm's configuration plain ones."""
    with pytest.raises(ClusterError, match=r"shorter path|cannot have"):
        Folder(tmp_path / name)
