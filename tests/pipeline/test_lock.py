"""The lock that makes two commands take turns."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.lock import exclusive

HOLD = """
import sys, time
from pathlib import Path
from pipeline.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_holder_is_named_and_waiting_is_bounded(tmp_path: Path) -> None:
    """Who waits is told for whom, and gives up after the time-out with nothing changed."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    told: list[str] = []
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(PipelineError, match=f"pid {holder.pid} on .* since"),
            exclusive(tmp_path / "lock", timeout_s=0.3, on_wait=told.append),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert len(told) == 1
    assert f"pid {holder.pid}" in told[0]


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    """After kill -9 the next one gets the lock at once."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.kill()
    holder.communicate()

    with exclusive(tmp_path / "lock", timeout_s=0):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Where no lock file can be made the error says where and why."""
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(PipelineError, match="cannot be written"),
        exclusive(tmp_path / "file" / "x"),
    ):
        pass
