"""A state that is cut off, damaged or gone is rebuilt: no run is lost or made twice."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.doctor.repair import plan_repair, repair
from pipeline.site import open_site
from pipeline.store import BrokenStateError, StateStore
from tests.pipeline.conftest import state_of
from tests.pipeline.doctor.repair.midway import Midway, mended

ANYWHERE = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def broken(store: StateStore) -> bool:
    """Whether the state file can be read no more."""
    try:
        store.load()
    except BrokenStateError:
        return True
    return False


@ANYWHERE
@given(data=st.data())
def test_a_state_file_cut_off_anywhere_is_rebuilt_to_the_byte(
    midway: Midway, data: st.DataObject
) -> None:
    """The log of changes has every save; what is rebuilt is what was lost."""
    store = midway.restore()
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 3))])
    cut = store.path.read_bytes()

    assert mended(midway.workspace) == midway.state
    assert store.path.read_bytes() == store.backup.read_bytes() == whole
    (kept,) = store.dir.glob("before-repair-*")
    assert (kept / "pipeline.json").read_bytes() == cut


@ANYWHERE
@given(data=st.data())
def test_damaged_bytes_are_found_and_mended_or_leave_a_state(
    midway: Midway, data: st.DataObject
) -> None:
    """What still is a valid state passes for an edit by hand, and is left as it is."""
    store = midway.restore()
    content = bytearray(store.path.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    store.path.write_bytes(content)

    if broken(store):
        assert mended(midway.workspace) == midway.state
    else:
        assert plan_repair(midway.workspace).state is None


@pytest.mark.parametrize("copy", ["gone", "broken"])
def test_without_state_and_copy_the_log_tells_all(midway: Midway, copy: str) -> None:
    """What was saved last is there again."""
    store = midway.store
    store.path.unlink()
    store.backup.unlink() if copy == "gone" else store.backup.write_bytes(b"{")

    assert mended(midway.workspace) == midway.state


@ANYWHERE
@given(data=st.data())
def test_with_a_log_cut_off_anywhere_folders_and_scheduler_tell_the_rest(
    midway: Midway, data: st.DataObject
) -> None:
    """Neither state nor copy is there, and the log ends somewhere."""
    store = midway.restore()
    store.path.unlink()
    store.backup.unlink()
    store.seal.unlink()
    log = store.changes.path.read_bytes()
    store.changes.path.write_bytes(log[: data.draw(st.integers(0, len(log)))])
    journal = store.journal.read_bytes()
    store.journal.write_bytes(journal[: data.draw(st.integers(0, len(journal)))])

    midway.assert_nothing_is_lost(mended(midway.workspace))


def test_after_a_repair_the_study_goes_on_as_if_nothing_had_happened(moving: Midway) -> None:
    """Its jobs are waited for, its results are kept."""
    moving.store.path.write_bytes(moving.store.path.read_bytes()[:1000])
    repair(moving.workspace, None, lambda _: None)

    moving.assert_it_ends_with_what_was_submitted()


def test_without_any_state_the_study_goes_on_all_the_same(moving: Midway) -> None:
    """Folders and scheduler tell what was submitted."""
    moving.lose_state()
    with pytest.raises(BrokenStateError, match="the state is gone, but there are submissions"):
        open_site(moving.workspace, None)
    repair(moving.workspace, None, lambda _: None)

    moving.assert_nothing_is_lost(state_of(moving.workspace))
    moving.assert_it_ends_with_what_was_submitted()
