"""Two hosts that mount the same network file system, each with a client that remembers for a while.

What one host has put in the place of a file, the other takes for the old file for a second, unless
it asks: a state read so would have its submissions made a second time.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import lock
from pipeline.changes import ChangeLog
from pipeline.files import look_again, read_bytes, write_atomic
from pipeline.state import State
from pipeline.store import StateStore, encode
from tests.chaos.crowding import PROCESSES, crowded
from tests.chaos.network import NoNetworkError, network_mounts

TURNS = 40
SECONDS = 5


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Three views of one file system: of a compute node, and of two login nodes."""
    try:
        with network_mounts(tmp_path_factory.mktemp("network"), hosts=3) as found:
            yield found
    except NoNetworkError as error:
        pytest.skip(str(error))


def test_who_gets_the_lock_sees_what_the_last_holder_wrote_on_another_host(
    mounts: list[Path],
) -> None:
    """State, last good copy, journal and log: no save is made on top of an older one."""
    folders = [mount / "turns" / ".state" for mount in mounts]
    state = State(study="s", study_digest="0" * 64, profile="p")
    for turn in range(TURNS):
        store = StateStore(folders[turn % len(folders)])
        with lock.exclusive(store.dir / lock.NAME):
            found = store.load()
            assert (found.admitted if found else None) == (turn - 1 if turn else None)
            state = replace(found or state, admitted=turn)
            store.save(state)
            store.record([{"event": "turn", "turn": turn}])
    journal = (folders[0] / "journal.jsonl").read_text().splitlines()
    events = [line for line in journal if line]
    assert len(events) == TURNS
    with lock.exclusive(folders[1] / lock.NAME):
        replayed = ChangeLog(folders[1] / "changes.jsonl").replayed()
        last = read_bytes(folders[1] / "pipeline.json")
    assert replayed is not None
    assert replayed.data["admitted"] == TURNS - 1
    assert replayed.whole
    assert last == encode(state)


def test_a_file_that_another_host_replaced_is_read_all_the_same(mounts: list[Path]) -> None:
    """Who looks without a lock sees what it was or what it is, never "stale file handle"."""
    path, other = mounts[0] / "content", mounts[1] / "content"
    seen = []
    for turn in range(TURNS):
        write_atomic(path, str(turn).encode())
        seen.append(int(read_bytes(other)))
    assert seen == sorted(seen)
    look_again(other.parent)
    assert int(read_bytes(other)) == TURNS - 1


@pytest.mark.slow
def test_ten_processes_on_two_hosts_have_one_effect_there_too(mounts: list[Path]) -> None:
    """Every run is started once, every submission is on record; some may have waited in vain."""
    effect = crowded(SECONDS, 30, mounts)

    assert effect.advances.at_once == PROCESSES
    assert (effect.duplicates, effect.losses, effect.wrongs) == (0, 0, ())
    in_vain = [said for said in effect.advances.outputs if "another advance holds the lock" in said]
    assert len(in_vain) == len(effect.advances.outputs), effect.advances.outputs
