"""`pipeline doctor` as a user calls it: on this machine, and beside a cluster."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.doctor.files import look_at
from pipeline.lock import exclusive
from pipeline.replan import replanned
from pipeline.scheduler.survey import survey
from pipeline.site import Site
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import Cli, edit
from tests.pipeline.doctor.conftest import PROFILES, lines


def level_of(done: "subprocess.CompletedProcess[str]", check: str) -> str:
    """Level of one line."""
    return lines(done)[check].partition(" ")[0]


@pytest.mark.slow
def test_a_workspace_on_this_machine_is_all_ok(workspace: Workspace, cli: Cli) -> None:
    """The local profile: study, trainer, state, disk, logs, cores, memory, torch."""
    done = cli("doctor")

    assert done.returncode == 0, done.stdout + done.stderr
    found = lines(done)
    assert {"study", "trainer", "state", "python", "disk", "log folder", "torch"} <= set(found)
    assert "torch 2" in found["torch"]
    assert "0 problems" in done.stdout.splitlines()[-1]
    assert sorted(path.name for path in workspace.root.iterdir()) == ["study.toml", "toy.py"]


@pytest.mark.slow
def test_a_broken_workspace_has_a_line_for_everything_that_is_wrong(
    workspace: Workspace, cli: Cli
) -> None:
    """A broken study and a broken state do not hide each other; the exit code is 2."""
    edit(workspace, "[hypotheses", "[hypothesis")
    workspace.state_dir.mkdir()
    (workspace.state_dir / "pipeline.json").write_text("{", encoding="utf-8")

    done = cli("doctor")

    assert done.returncode == 2
    assert 'did you mean "hypotheses"?' in lines(done)["study"]
    assert "pipeline.json" in lines(done)["state"]
    assert level_of(done, "disk") == "ok"
    assert "Traceback" not in done.stderr


def test_an_unknown_profile_names_the_nearest_and_the_rest_is_still_checked(
    cli: Cli, cluster: FakeSlurm
) -> None:
    """A typo in --profile is a line with exit code 2."""
    del cluster
    done = cli("doctor", "--profile", "clutser")

    assert done.returncode == 2
    assert 'did you mean "cluster"?' in lines(done)["profile"]
    assert level_of(done, "disk") == "ok"


def test_a_profile_that_fits_its_cluster_has_no_problem(cli: Cli, cluster: FakeSlurm) -> None:
    """Every subject of the cluster has its line; nothing is submitted."""
    done = cli("doctor")

    assert done.returncode == 0, done.stdout + done.stderr
    found = lines(done)
    for check in ("commands", "controller", "clock", "accounting", "partition", "account", "qos",
                  "nodes", "array", "walltime", "submitted"):  # fmt: skip
        assert found[check].startswith("ok"), check
    assert found["commands"] == "ok slurm-wlm 22.05.8, all clients present"
    assert found["array"] == "ok MaxArraySize is 1001: indices up to 1000 in one array"
    assert not cluster.jobs()
    assert not cluster.calls("sbatch")
    assert len(cluster.calls()) < 12


def test_what_is_wrong_with_a_profile_is_said_before_sbatch_refuses(
    workspace: Workspace, cli: Cli, cluster: FakeSlurm
) -> None:
    """Partition, gres, time and limits, as the cluster itself tells them."""
    cluster.configure(
        user_limits={"MaxSubmitJobs": "3"},
        partition_settings={"low": {"State": "DRAIN"}},
        clock_skew_s=120,
        drained=[1, 2, 3, 4],
    )
    path = workspace.root / "slurm" / "profiles.toml"
    text = PROFILES.replace('"main"', '["main", "low", "mian"]').replace("= 30", "= 90")
    path.write_text(text, encoding="utf-8")

    done = cli("doctor")

    assert done.returncode == 2
    assert "4 nodes of main would fit a task, but none is in service (drained)" in done.stdout
    assert 'there is no partition "mian" here; did you mean "main"?' in done.stdout
    assert "low takes no new jobs (state DRAIN)" in done.stdout
    assert "partition main allows 60 minutes -> set walltime_min = 60" in done.stdout
    assert "set max_submitted = 3 or less" in done.stdout
    assert level_of(done, "clock") == "warning"
    assert "3 problems to mend first" in done.stderr


def test_a_terminal_shows_colours_and_keeps_remedies_beside_their_findings(
    workspace: Workspace,
) -> None:
    """A level has its colour as in status; a long line goes on in its own column."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "doctor", "--profile", "nosuch"],
        cwd=workspace.root,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "80"},  # a terminal, for rich
        capture_output=True,
        text=True,
        check=False,
    )

    assert "\x1b[32mok" in done.stdout
    assert "\x1b[1;31mproblem" in done.stdout
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stdout)
    (start,) = [i for i, line in enumerate(plain.splitlines()) if line.startswith("problem")]
    assert plain.splitlines()[start + 1].startswith(" " * 20)


def test_json_has_the_same_findings(cli: Cli, cluster: FakeSlurm) -> None:
    """--json prints one object on stdout, with the same exit code."""
    cluster.configure(max_array_size=0)

    done = cli("doctor", "--json")

    assert done.returncode == 2
    data = json.loads(done.stdout)
    (array,) = [item for item in data["findings"] if item["check"] == "array"]
    assert array["level"] == "problem"
    assert array["remedy"]
    assert data["problems"] == 1


@pytest.mark.parametrize("fault", ["unreachable", "frozen"])
def test_a_silent_controller_is_a_problem_with_exit_4(
    cli: Cli, cluster: FakeSlurm, fault: str
) -> None:
    """The other checks are made all the same."""
    cluster.configure(**{fault: True})

    done = cli("doctor", "--deep")

    assert done.returncode == 4
    assert "DOWN" in lines(done)["controller"]
    assert level_of(done, "disk") == "ok"
    assert not cluster.calls("sbatch")


def test_without_slurm_a_slurm_profile_ends_with_exit_4(
    cli: Cli, cluster: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that are missing are named."""
    del cluster
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))

    done = cli("doctor")

    assert done.returncode == 4
    assert "not on PATH: sbatch, squeue, srun, scancel, scontrol" in done.stdout


@pytest.mark.parametrize("state", ["disabled", "down"])
def test_without_accounting_the_rest_is_checked(cli: Cli, cluster: FakeSlurm, state: str) -> None:
    """Neither a cluster without slurmdbd nor a dead one stops the doctor."""
    cluster.configure(sacct=state)

    done = cli("doctor")

    assert done.returncode == 0, done.stdout
    assert level_of(done, "accounting") == "warning"
    assert level_of(done, "nodes") == "ok"


@pytest.mark.parametrize("client", ["scontrol", "sinfo", "sacctmgr"])
def test_a_client_that_hangs_is_cut_off(cluster: FakeSlurm, client: str) -> None:
    """Every call has a time limit; what is not known is missing, the rest is there."""
    cluster.configure(hang={client: 60})

    facts = survey(timeout_s=1.0)

    assert "gave no answer in 1 s" in facts.silent[client]
    assert facts.answers is (client != "scontrol")
    assert facts.partitions is None if client == "scontrol" else facts.partitions


def test_a_lock_that_is_held_names_its_holder(workspace: Workspace, cli: Cli) -> None:
    """The doctor does not wait for an advance that is at work."""
    with exclusive(workspace.lock_file):
        done = cli("doctor", "--profile", "nosuch")

    assert f"pid {os.getpid()}" in lines(done)["lock"]
    assert "lock" not in lines(cli("doctor", "--profile", "nosuch"))


def test_a_valid_state_that_was_edited_is_taken_and_told(site: Site, cli: Cli) -> None:
    """An edit by hand and a byte that a disk turned look the same; a person knows which it was."""
    look = ("doctor", "--profile", "nosuch")  # without a profile no torch is imported
    site.store.save(replanned(site.study, "local", None)[0])
    assert lines(cli(*look))["state"].startswith("ok valid: 14 runs")
    text = site.store.path.read_text(encoding="utf-8")
    site.store.path.write_text(text.replace('"seed": 5', '"seed": 7', 1), encoding="utf-8")

    assert "not as it was saved last" in lines(cli(*look))["state"]


def test_status_says_that_a_command_is_at_work(site: Site, cli: Cli) -> None:
    """Who looks meanwhile is told by whom the study is being carried on."""
    site.store.save(replanned(site.study, "local", None)[0])
    with exclusive(site.workspace.lock_file):
        assert f"a command is at work on this study (pid {os.getpid()} on" in cli("status").stdout
    assert "at work" not in cli("status").stdout


def test_writing_shows_what_a_folder_can_do(workspace: Workspace) -> None:
    """Time, room, clock and locks are measured on a real file, and nothing stays behind."""
    facts = look_at(workspace, write_mb=1)

    assert facts.error is None
    assert facts.lock_error is None
    assert facts.log_error is None
    assert facts.free_mb is not None
    assert facts.free_mb > 0
    assert facts.clock_skew_s is not None
    assert abs(facts.clock_skew_s) < 1
    assert facts.file_system
    assert not workspace.logs_dir.exists()


def test_a_full_or_missing_file_system_is_an_error_in_words(tmp_path: Path) -> None:
    """What the file system refuses is told, not raised."""
    (tmp_path / "slurm").write_text("in the way of the folder of logs")

    blocked = look_at(Workspace(tmp_path), write_mb=1)
    missing = look_at(Workspace(tmp_path / "gone"), write_mb=1)

    assert blocked.log_error is not None
    assert "slurm/logs" in blocked.log_error
    assert missing.error == "No such file or directory"
