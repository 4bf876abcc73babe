"""`pipeline doctor --repair` and what other commands say while the state is broken."""

import os
import subprocess

import pytest

from pipeline.doctor.repair import plan_repair
from pipeline.errors import SchedulerUnreachableError
from tests.pipeline.conftest import Cli, state_of
from tests.pipeline.doctor.conftest import lines
from tests.pipeline.doctor.repair.midway import OLD, Midway, files_of


def test_with_nothing_left_of_the_state_nothing_is_submitted_anew(midway: Midway, cli: Cli) -> None:
    """No command takes it for a fresh start; the repair finds all, and says what it cannot know."""
    midway.lose_state()

    for command in ("advance", "status"):
        done = cli(command)
        assert done.returncode == 2
        assert "`pipeline doctor --repair`" in done.stderr

    done = cli("doctor", "--repair")

    assert done.returncode == 0, done.stderr
    assert "adopted with 12 runs of multiseed" in done.stdout
    assert "not known any more" in done.stdout
    midway.assert_nothing_is_lost(state_of(midway.workspace))


def test_a_scheduler_that_does_not_answer_stops_the_repair(midway: Midway, cli: Cli) -> None:
    """Exit 4, and nothing is changed."""
    store = midway.store
    store.path.write_bytes(b"{")
    midway.cluster.configure(unreachable=True)
    before = {p: p.read_bytes() for p in midway.workspace.state_dir.iterdir() if p.is_file()}

    done = cli("doctor", "--repair")
    assert done.returncode == 4, done.stdout
    with pytest.raises(SchedulerUnreachableError):
        plan_repair(midway.workspace)

    after = {p: p.read_bytes() for p in midway.workspace.state_dir.iterdir() if p.is_file()}
    assert after == before
    assert not list(store.dir.glob("before-repair-*"))


def test_the_repair_of_an_intact_workspace_changes_nothing(midway: Midway, cli: Cli) -> None:
    """Not a byte, in no file."""

    before = files_of(midway.workspace)

    done = cli("doctor", "--repair")

    assert (done.returncode, done.stdout) == (0, "nothing to repair\n")
    assert files_of(midway.workspace) == before
    assert "repair" not in lines(cli("doctor"))
    assert cli("doctor", "--repair", "--json").returncode == 2


def test_the_doctor_says_what_a_repair_would_do_and_how_to_go_back(
    midway: Midway, cli: Cli
) -> None:
    """Without the option nothing is changed; with it, the old files are kept beside."""
    store = midway.store
    store.path.write_bytes(b"{ by hand")

    told = cli("doctor")
    assert told.returncode == 2
    assert "pipeline.json:1:3: not valid JSON" in told.stdout
    assert "to be done: state taken from the log of changes" in told.stdout
    assert store.path.read_bytes() == b"{ by hand"

    done = cli("doctor", "--repair")
    assert done.returncode == 0, done.stderr
    assert "state taken from the log of changes changes.jsonl, to the last save" in done.stdout
    back = done.stdout.partition("to go back: ")[2].splitlines()[0]
    assert cli("status").returncode == 0

    subprocess.run(["bash", "-c", back], cwd=midway.workspace.root, check=True)
    assert store.path.read_bytes() == b"{ by hand"


def test_status_shows_the_last_good_copy_with_a_warning(midway: Midway, cli: Cli) -> None:
    """Who only looks sees what there is; who would write is sent to the doctor."""
    store = midway.store
    store.path.write_bytes(b"")

    done = cli("status")

    assert done.returncode == 2
    assert "THE STATE FILE IS BROKEN" in done.stdout
    assert "multiseed" in done.stdout
    assert "`pipeline doctor --repair`" in done.stderr
    assert cli("advance").returncode == 2


def test_leftovers_of_killed_commands_are_removed_when_they_are_old(
    midway: Midway, cli: Cli
) -> None:
    """What may be under way stays, and so does the copy of the code that jobs run from."""
    root, state_dir = midway.workspace.root, midway.workspace.state_dir
    run_dir = next(midway.workspace.runs_dir.glob("*/*"))
    old = [
        state_dir / ".pipeline.json.0123abcd",
        run_dir / ".result.json.0123abcd",
        run_dir / "attempts" / ".07-dead-89ab" / "checkpoint.pt",
        root / ".RESULTS.md.0123abcd",
        state_dir / ".lease.0123456789abcdef" / "0123456789abcdef",
        state_dir / "code" / ".new-0123abcd" / "a.py",
        state_dir / "code" / ("0" * 64) / "a.py",
    ]
    young = [run_dir / ".checkpoint.pt.89abcdef"]
    for path in (*old, *young):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for path in old:
        os.utime(path, (OLD, OLD))
        os.utime(path.parent, (OLD, OLD))
    code = {job.code for job in midway.state.jobs.values()}

    assert "leftovers of killed commands removed" in cli("doctor").stdout
    assert all(path.exists() for path in old)
    assert cli("doctor", "--repair").returncode == 0

    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in young)
    assert {path.name for path in (state_dir / "code").iterdir() if path.is_dir()} == code
    assert state_of(midway.workspace) == midway.state
