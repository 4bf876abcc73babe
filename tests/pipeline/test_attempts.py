"""Every attempt has its own folder, and hands its checkpoint on; one result becomes the run's."""

import errno
import json
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest

from pipeline.attempts import (
    attempts_in,
    begin,
    drop_checkpoints,
    drop_earlier_checkpoints,
    resumable,
)
from pipeline.claim import Claim, SupersededError, claim, current_folder, grant, recover
from pipeline.errors import PipelineError
from pipeline.promotion import make_way, promote, results_aside

FORK = multiprocessing.get_context("fork")
NAME = "checkpoint.pt"


def no_hard_links(source: object, target: object) -> None:
    """A file system without them."""
    del source
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), str(target))


def save(folder: Path, content: str) -> None:
    """Write a checkpoint as trainers do: anew, then renamed."""
    (folder / "checkpoint.next.pt").unlink(missing_ok=True)
    (folder / "checkpoint.next.pt").write_text(content)
    (folder / "checkpoint.next.pt").replace(folder / NAME)


def attempt_with(run_dir: Path, content: str, token: str = "t") -> Path:
    """An attempt that has ended with a result."""
    folder = begin(run_dir, token)
    (folder / "result.json").write_text(content)
    return folder


@pytest.fixture(params=["links", "copies"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without hard links."""
    if request.param == "copies":
        monkeypatch.setattr(os, "link", no_hard_links)


def test_attempts_are_numbered_in_the_order_in_which_they_found_each_other(tmp_path: Path) -> None:
    """Whatever their tokens and the clocks; what is no attempt's folder does not count."""
    (tmp_path / "attempts" / ".07-dead-1234").mkdir(parents=True)
    (tmp_path / "attempts" / "notes").mkdir()
    names = [begin(tmp_path, token).name for token in ("zz", "aa", "mm")]

    assert [name.split("-")[:2] for name in names] == [["01", "zz"], ["02", "aa"], ["03", "mm"]]
    assert [folder.name for folder in attempts_in(tmp_path)] == names


@pytest.mark.usefixtures("links")
def test_nothing_that_an_old_attempt_does_reaches_its_successor(tmp_path: Path) -> None:
    """Nor the other way round: each goes on saving, discarding, and losing its folder."""
    old = begin(tmp_path, "t")
    save(old, "step 1")
    new = begin(tmp_path, "t")
    drop_earlier_checkpoints(new)
    assert (new / NAME).read_text() == "step 1"
    assert not (old / NAME).exists()

    save(old, "step 2 of the old one")
    assert (new / NAME).read_text() == "step 1"
    save(new, "step 3")
    assert (old / NAME).read_text() == "step 2 of the old one"
    for path in old.iterdir():
        path.unlink()
    old.rmdir()
    assert (new / NAME).read_text() == "step 3"


@pytest.mark.usefixtures("links")
def test_one_attempt_keeps_checkpoints_and_all_of_them(tmp_path: Path) -> None:
    """Files and folders; those of all earlier attempts, of earlier versions too, are removed."""
    tmp_path.joinpath(NAME).write_text("of an earlier version")
    first = begin(tmp_path, "t")
    assert (first / NAME).read_text() == "of an earlier version"
    (first / "checkpoint-shards").mkdir()
    (first / "checkpoint-shards" / "0").write_text("half")
    (first / "metrics.jsonl").write_text("{}\n")

    second = begin(tmp_path, "t")
    drop_earlier_checkpoints(second)

    assert sorted(path.name for path in resumable(tmp_path)) == ["checkpoint-shards", NAME]
    assert (second / "checkpoint-shards" / "0").read_text() == "half"
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {
        f"attempts/{first.name}/metrics.jsonl",
        f"attempts/{second.name}/{NAME}",
        f"attempts/{second.name}/checkpoint-shards/0",
    }


def test_a_start_that_died_on_the_way_costs_no_checkpoint(tmp_path: Path) -> None:
    """Before it had taken over all of it, or after; its leftovers go with the next start."""
    first = begin(tmp_path, "t")
    save(first, "step 1")
    dead = tmp_path / "attempts" / ".02-t-dead"
    dead.mkdir()
    os.link(first / NAME, dead / NAME)
    begin(tmp_path, "t")  # dies before it claims the run

    last = claim(tmp_path, "t").folder
    drop_earlier_checkpoints(last)

    assert (last / NAME).read_text() == "step 1"
    assert resumable(tmp_path) == [last / NAME]
    assert not dead.exists()


def racing(act: Callable[[int], None], processes: int) -> None:
    """Do something in several processes at the same moment."""
    barrier = FORK.Barrier(processes)

    def run(barrier: Barrier, index: int) -> None:
        barrier.wait()
        act(index)

    workers = [FORK.Process(target=run, args=(barrier, index)) for index in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * processes


def test_of_starts_at_the_same_moment_the_current_one_has_the_checkpoint(tmp_path: Path) -> None:
    """Whoever comes out last among them goes on from where the one before them was."""
    for number in range(40):
        run_dir = tmp_path / str(number)
        save(claim(run_dir, "t").folder, "step 1")

        def start(_: int, run_dir: Path = run_dir) -> None:
            claim(run_dir, "t")

        racing(start, 3)

        current = current_folder(run_dir)
        assert current is not None
        assert (current / NAME).read_text() == "step 1"


def test_a_zombie_that_goes_on_saving_never_changes_what_its_successors_hold(
    tmp_path: Path,
) -> None:
    """A hundred successors take over while it saves; each keeps one whole checkpoint."""
    zombie = claim(tmp_path, "t")
    size = 100_000
    save(zombie.folder, "a" * size)
    stop = FORK.Event()

    def goes_on(stop: Event) -> None:
        letters = "bcdefgh"
        count = 0
        while not stop.is_set():
            save(zombie.folder, letters[count % len(letters)] * size)
            count += 1

    writer = FORK.Process(target=goes_on, args=(stop,))
    writer.start()
    try:
        for _ in range(100):
            held = claim(tmp_path, "t").folder / NAME
            before = held.read_text()
            assert (len(before), len(set(before))) == (size, 1)
            assert held.read_text() == before
            drop_checkpoints(held.parent)  # so that the next one takes over from the zombie, too
    finally:
        stop.set()
        writer.join(60)


@pytest.mark.usefixtures("links")
def test_the_run_s_folder_leads_readers_to_its_current_attempt(tmp_path: Path) -> None:
    """Curves and weights under the names of the contract; nothing goes on from those names."""
    first = claim(tmp_path, "t")
    (first.folder / "metrics.jsonl").write_text("1")
    save(first.folder, "step 1")
    first.show()
    assert (tmp_path / "metrics.jsonl").read_text() == "1"
    assert (tmp_path / NAME).read_text() == "step 1"

    second = claim(tmp_path, "t")
    (second.folder / "metrics.jsonl").write_text("2")
    drop_earlier_checkpoints(second.folder)
    drop_checkpoints(second.folder)  # as of a run that failed
    second.show()
    first.show()
    assert (tmp_path / "metrics.jsonl").read_text() == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "attempt.json",
        "attempts",
        "metrics.jsonl",
    ]
    assert resumable(tmp_path) == []


def test_what_earlier_versions_wrote_in_the_run_s_folder_is_not_replaced(tmp_path: Path) -> None:
    """Their curves are nowhere else."""
    (tmp_path / "metrics.jsonl").write_text("old")
    attempt = claim(tmp_path, "t")
    (attempt.folder / "metrics.jsonl").write_text("new")
    attempt.show()
    assert (tmp_path / "metrics.jsonl").read_text() == "old"


def test_two_that_finish_at_the_same_moment_make_one_result(tmp_path: Path) -> None:
    """Both have looked and may write: one is promoted, the other set aside; nothing is mixed."""
    winners = set()
    for number in range(60):
        run_dir = tmp_path / str(number)
        folders = [attempt_with(run_dir, f"result {index}") for index in range(2)]
        claims = [Claim(run_dir, folder, b"") for folder in folders]

        def finish(index: int, claims: list[Claim] = claims) -> None:
            told = claims[index].folder / "told"
            told.write_text("promoted" if claims[index].promote() else "set aside")

        racing(finish, 2)

        told = [(folder / "told").read_text() for folder in folders]
        assert sorted(told) == ["promoted", "set aside"]
        winner = told.index("promoted")
        winners.add(winner)
        assert (run_dir / "result.json").read_text() == f"result {winner}"
        assert results_aside(run_dir, None) == [folders[1 - winner] / "result.json"]
    assert winners <= {0, 1}


@pytest.mark.usefixtures("links")
def test_promoting_again_what_is_promoted_is_no_second_result(tmp_path: Path) -> None:
    """NFS may answer "exists" to the link that it has just made."""
    folder = attempt_with(tmp_path, "result")

    assert [promote(tmp_path, folder), promote(tmp_path, folder)] == [True, True]
    assert results_aside(tmp_path, None) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_file_system_that_refuses_leaves_the_result_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The error names the file; nothing half-written is in the way of the next try."""
    folder = attempt_with(tmp_path, "result")

    def refuse(source: object, target: object) -> None:
        raise OSError(number, os.strerror(number), str(source), None, str(target))

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        with pytest.raises(PipelineError, match=r"result\.json: cannot be written"):
            promote(tmp_path, folder)

    assert not (tmp_path / "result.json").exists()
    assert promote(tmp_path, folder)


@pytest.mark.usefixtures("links")
def test_a_result_makes_way_and_is_kept_once(tmp_path: Path) -> None:
    """One that an attempt has stays there alone; one that came from elsewhere gets a folder."""
    own = attempt_with(tmp_path, "of an attempt")
    promote(tmp_path, own)
    make_way(tmp_path)
    make_way(tmp_path)  # there is nothing any more
    assert results_aside(tmp_path, None) == [own / "result.json"]

    (tmp_path / "result.json").write_text("copied here by hand")
    make_way(tmp_path)

    foreign, same = results_aside(tmp_path, None)
    assert (foreign.read_text(), same) == ("copied here by hand", own / "result.json")
    assert not (tmp_path / "result.json").exists()


def test_a_run_that_is_submitted_again_begins_without_a_result(tmp_path: Path) -> None:
    """What lies there was not accepted, and must not block the place of the one to come."""
    stale = claim(tmp_path, "old")
    (stale.folder / "result.json").write_text("refused")
    assert stale.promote()

    grant(tmp_path, "new")
    mine = claim(tmp_path, "new")
    (mine.folder / "result.json").write_text("good")

    assert mine.promote()
    assert (tmp_path / "result.json").read_text() == "good"
    assert results_aside(tmp_path, None) == [stale.folder / "result.json"]


def test_a_superseded_attempt_promotes_nothing(tmp_path: Path) -> None:
    """Neither after another submission was granted the run nor after another start claimed it."""
    first = claim(tmp_path, "t")
    (first.folder / "result.json").write_text("late")
    second = claim(tmp_path, "t")
    with pytest.raises(SupersededError):
        first.promote()
    grant(tmp_path, "other")
    with pytest.raises(SupersededError):
        second.check()
    with pytest.raises(SupersededError, match="submitted again as other"):
        recover(tmp_path, "t")

    assert not (tmp_path / "result.json").exists()
    assert results_aside(tmp_path, None) == [first.folder / "result.json"]


def test_the_next_start_promotes_what_the_last_one_ended_with(tmp_path: Path) -> None:
    """Killed between writing and promoting, then queued again: the GPU-hours are not lost."""
    killed = claim(tmp_path, "t")
    (killed.folder / "result.json").write_text("complete")

    recover(tmp_path, "t")

    assert (tmp_path / "result.json").read_text() == "complete"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"token": 7}', b"[" * 100_000, b"\0" * 60],
)
def test_a_broken_claim_is_nobody_s(tmp_path: Path, content: bytes) -> None:
    """After a power cut the next start takes the run; no attempt counts as begun until then."""
    (tmp_path / "attempt.json").write_bytes(content)
    assert current_folder(tmp_path) is None

    if content != b'{"token": 7}':
        recover(tmp_path, "t")
    mine = claim(tmp_path, "t")

    mine.check()
    assert current_folder(tmp_path) == mine.folder


@pytest.mark.parametrize("name", ["../../..", "/etc", "01-t/../..", "", None, 5, "a", "01-é"])
def test_a_claim_leads_nowhere_but_to_an_attempt(tmp_path: Path, name: object) -> None:
    """Whatever is written there, no path outside the run's folder is read."""
    (tmp_path / "attempt.json").write_text(json.dumps({"token": "t", "attempt": name}))

    assert current_folder(tmp_path) is None


@pytest.mark.parametrize("content", [None, {"token": "t", "start": "ab"}])
def test_attempts_of_earlier_versions_wrote_in_the_run_s_folder(
    tmp_path: Path, content: object
) -> None:
    """Their progress and failures are read there still."""
    if content is not None:
        (tmp_path / "attempt.json").write_text(json.dumps(content))

    assert current_folder(tmp_path) == tmp_path
