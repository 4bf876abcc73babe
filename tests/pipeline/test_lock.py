"""The lock that makes two commands take turns, on one machine or on several."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.lock import Lease, LockedError, LostLockError, Pace, exclusive, standing
from pipeline.process import Process, is_gone, this_process
from pipeline.store import StateStore
from tests.pipeline.states import a_state

HOLD = """
import sys, time
from pathlib import Path
from pipeline.lock import LostLockError, Pace, exclusive
with exclusive(Path(sys.argv[1]), pace=Pace(0.01, 0.02, 0.3)) as lease:
    print("held", flush=True)
    sys.stdin.readline()
    try:
        lease.replace(Path(sys.argv[1]).with_name("written"), b"by the one that was stopped")
    except LostLockError as error:
        print(error, flush=True)
"""
ELSEWHERE = Process(host="login2", boot="another", pid=7, started="1")
QUICK = Pace(poll_s=0.01, renew_s=0.02, silent_s=0.3)
SILENT = replace(QUICK, renew_s=1e6)
"""A holder that is stopped, or cut off from the file server."""


def holder_in(folder: Path) -> "subprocess.Popen[str]":
    """A process that holds the lock in a folder until it is sent a line."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(holder: "subprocess.Popen[str]") -> None:
    """Kill -9."""
    holder.kill()
    holder.communicate()


def test_the_holder_is_named_and_waiting_is_bounded(tmp_path: Path) -> None:
    """Who waits is told for whom, and gives up after the time-out with nothing changed."""
    holder = holder_in(tmp_path)
    told: list[str] = []
    try:
        with (
            pytest.raises(LockedError, match=f"pid {holder.pid} on .* since .* try again later"),
            exclusive(tmp_path / "lock", timeout_s=0.3, on_wait=told.append),
        ):
            pass
        seen = standing(tmp_path / "lock")
        assert seen is not None
        assert not seen.gone
        assert f"pid {holder.pid} on " in seen.words
    finally:
        end(holder)
    assert len(told) == 1
    assert told[0].startswith("waiting for another advance to finish (pid")
    assert f"pid {holder.pid}" in told[0]


def test_a_killed_holder_is_taken_over_at_once_and_is_named(tmp_path: Path) -> None:
    """After kill -9 on this machine nobody waits, not even for a process not yet reaped."""
    holder = holder_in(tmp_path)
    told: list[str] = []
    try:
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
        seen = standing(tmp_path / "lock")
        assert seen is not None
        assert seen.gone

        with exclusive(tmp_path / "lock", timeout_s=0, on_wait=told.append):
            pass
    finally:
        end(holder)
    (words,) = told
    assert words.startswith(f"took over the lock: pid {holder.pid} on ")
    assert words.endswith("is gone")
    assert not list(tmp_path.iterdir())


def test_a_pid_that_is_used_again_does_not_keep_the_lock() -> None:
    """The pid of a dead holder may be another process by now: its start tells them apart."""
    here = this_process()

    assert is_gone(here, here) is False
    assert is_gone(replace(here, started="1"), here) is True
    assert is_gone(replace(here, boot="before"), here) is None
    assert is_gone(ELSEWHERE, here) is None


def test_a_stopped_holder_of_this_machine_keeps_the_lock(tmp_path: Path) -> None:
    """It is alive and may go on at any moment; its silence means nothing."""
    holder = holder_in(tmp_path)
    try:
        holder.send_signal(signal.SIGSTOP)
        with (
            pytest.raises(LockedError, match=f"pid {holder.pid}"),
            exclusive(tmp_path / "lock", timeout_s=1.0, pace=QUICK),
        ):
            pass
    finally:
        end(holder)


def test_a_holder_of_another_machine_keeps_the_lock_while_it_renews_it(tmp_path: Path) -> None:
    """However long it takes: a thread renews through the longest call."""
    holder = holder_in(tmp_path)
    try:
        with (
            pytest.raises(LockedError, match=f"pid {holder.pid}"),
            exclusive(tmp_path / "lock", timeout_s=1.5, process=ELSEWHERE, pace=QUICK),
        ):
            pass
    finally:
        end(holder)


def test_a_stopped_holder_that_was_taken_over_is_refused_its_write(tmp_path: Path) -> None:
    """Another machine took its silence for death; back again, it overwrites nothing."""
    holder = holder_in(tmp_path)
    told: list[str] = []
    try:
        holder.send_signal(signal.SIGSTOP)
        take = exclusive(tmp_path / "lock", 30, told.append, process=ELSEWHERE, pace=QUICK)
        with take as lease:
            lease.replace(tmp_path / "written", b"by the one that took over")
            holder.send_signal(signal.SIGCONT)
            said, _ = holder.communicate("go on\n")
    finally:
        end(holder)
    assert told[-1].startswith(f"took over the lock: pid {holder.pid} on ")
    assert "gave no sign for" in told[-1]
    assert "another command took the lock over" in said
    assert "(pid 7 on login2 since " in said
    assert (tmp_path / "written").read_bytes() == b"by the one that took over"
    assert standing(tmp_path / "lock") is None


def test_a_holder_stopped_between_its_last_look_and_its_write_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking over takes away what a holder is about to put in place."""
    check, asked = Lease.check, count()

    def check_then_stop(lease: Lease) -> None:
        check(lease)
        if next(asked) == 0:
            with exclusive(tmp_path / "lock", process=ELSEWHERE, pace=SILENT) as other:
                other.replace(tmp_path / "written", b"by the one that took over")

    monkeypatch.setattr(Lease, "check", check_then_stop)
    here = replace(this_process(), boot="this")

    with (
        exclusive(tmp_path / "lock", process=here, pace=SILENT) as lease,
        pytest.raises(LostLockError, match="took the lock over"),
    ):
        lease.replace(tmp_path / "written", b"by the one that was stopped")

    assert (tmp_path / "written").read_bytes() == b"by the one that took over"


def test_the_store_writes_nothing_for_who_has_lost_the_lock(tmp_path: Path) -> None:
    """State, last good copy and journal are as the others have left them."""
    store = StateStore(tmp_path)
    here = replace(this_process(), boot="this")

    with exclusive(tmp_path / "lease", process=here, pace=SILENT):
        store.save(a_state())
        with exclusive(tmp_path / "lease", process=ELSEWHERE, pace=SILENT):
            pass
        files = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert files

    with exclusive(tmp_path / "lease", process=here, pace=SILENT) as lease:
        lease.release()  # as if taken over by others who are through by now
        with pytest.raises(LostLockError):
            store.save(replace(a_state(), profile="other"))
        with pytest.raises(LostLockError):
            store.record([{"event": "intent"}])

    assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == files


def test_a_watcher_that_was_stopped_itself_takes_nobody_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only silence that was watched counts: a night of sleep between two looks is no night."""
    clock = count(0, 3600.0)
    pace = Pace(poll_s=0.2, renew_s=1e6, silent_s=10.0)
    here = replace(this_process(), boot="this")
    with exclusive(tmp_path / "lock", process=here, pace=pace):
        monkeypatch.setattr("pipeline.lock.time.monotonic", lambda: next(clock))
        monkeypatch.setattr("pipeline.lock.time.sleep", lambda _: None)
        with (
            pytest.raises(LockedError),
            exclusive(tmp_path / "lock", 20 * 3600.0, process=ELSEWHERE, pace=pace),
        ):
            pass


def test_a_server_whose_answer_was_lost_has_given_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS asks again and hears that there is nothing to rename: the first time it had worked."""
    rename = Path.rename

    def answer_lost(self: Path, target: Path) -> Path:
        rename(self, target)
        raise FileNotFoundError(2, "No such file or directory", str(self))

    monkeypatch.setattr(Path, "rename", answer_lost)
    with exclusive(tmp_path / "lock", timeout_s=0) as lease:
        lease.check()
    assert not list(tmp_path.iterdir())


def test_a_holder_that_a_power_cut_left_without_a_name_is_taken_over(tmp_path: Path) -> None:
    """An empty file names nobody, and nobody renews it."""
    (tmp_path / "lock").mkdir()
    (tmp_path / "lock" / ("0" * 16)).touch()
    told: list[str] = []

    with exclusive(tmp_path / "lock", 30, told.append, pace=QUICK):
        pass

    assert told[-1].startswith("took over the lock: holder not known gave no sign")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Where no lock can be made the error says where and why."""
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(PipelineError, match="cannot be written"),
        exclusive(tmp_path / "file" / "x"),
    ):
        pass


def test_ten_contenders_of_two_machines_lose_no_write(tmp_path: Path) -> None:
    """Killed, stopped and woken at random: each write that was granted is there, exactly once."""
    dice = random.Random(6)
    names = (f"{index}" for index in count())

    def contender(host: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.pipeline.contender", str(tmp_path), host]
        return subprocess.Popen([*command, next(names)])

    crowd = [(host, contender(host)) for host in ("login1", "login2") for _ in range(5)]
    killed = stopped = 0
    for _ in range(40):
        index = dice.randrange(len(crowd))
        host, process = crowd[index]
        if dice.random() < 0.3:
            process.kill()
            process.wait()
            crowd[index] = host, contender(host)
            killed += 1
        else:
            process.send_signal(signal.SIGSTOP)
            time.sleep(dice.choice([0.02, 0.1, 0.6]))
            process.send_signal(signal.SIGCONT)
            stopped += 1
        time.sleep(0.05)
    (tmp_path / "stop").touch()
    assert [process.wait(60) for _, process in crowd] == [0] * 10

    written = (tmp_path / "names").read_text().split()
    granted = [line for path in tmp_path.glob("*.written") for line in path.read_text().split()]
    assert set(Counter(written).values()) == {1}
    assert set(granted) <= set(written)
    assert len(written) - len(granted) <= killed  # killed before it could take note
    assert len(granted) > 100
    assert killed
    assert stopped
    assert standing(tmp_path / "lease") is None
