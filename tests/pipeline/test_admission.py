"""How many tasks to try at once under limits that are known or show only in refusals."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.admission import Admission

COUNTS = st.integers(1, 5000)


def walked(admission: Admission, room: int) -> list[tuple[int, bool]]:
    """Sizes tried at a scheduler with that much room, and whether each went in."""
    tried = []
    while size := admission.size:
        fits = size <= room
        tried.append((size, fits))
        if fits:
            room -= size
            admission.admitted()
        else:
            admission.refused()
    return tried


@given(tasks=COUNTS, most=COUNTS)
def test_without_a_limit_all_go_in_the_fewest_submissions(tasks: int, most: int) -> None:
    """Chunks are as large as the array limit allows, and together they are all tasks."""
    sizes = [size for size, _ in walked(Admission(tasks, most), tasks)]

    assert sum(sizes) == tasks
    assert max(sizes) <= most
    assert len(sizes) == -(-tasks // most)


@given(tasks=COUNTS, most=st.integers(1, 1001), room=st.integers(0, 5000))
def test_a_limit_is_found_in_a_few_tries(tasks: int, most: int, room: int) -> None:
    """What is refused as a whole goes in by parts; where there is room for one, one goes in."""
    tried = walked(Admission(tasks, most), room)
    sent = sum(size for size, fits in tried if fits)
    first_refusal = next((i for i, (_, fits) in enumerate(tried) if not fits), len(tried))

    assert sent == tasks if tasks <= room else sent <= room
    assert len(tried) - first_refusal <= 6
    assert sent or not room
    assert sent >= min(room, tasks) / 4


@given(left=COUNTS, room=st.integers(0, 1000))
def test_a_limit_that_is_known_costs_two_tries(left: int, room: int) -> None:
    """What fitted last time is tried first; one task more shows that the limit still stands."""
    tried = walked(Admission(left + room, 1001, hope=room), room)

    assert sum(size for size, fits in tried if fits) == room
    assert len(tried) <= 2


@given(tasks=COUNTS, hope=st.integers(-5, 1000))
def test_a_limit_that_was_raised_is_noticed(tasks: int, hope: int) -> None:
    """When one more than expected fits, nothing speaks against all of them."""
    tried = walked(Admission(tasks, 1001, hope=hope), tasks)

    assert sum(size for size, _ in tried) == tasks
    assert len(tried) <= 2 + -(-tasks // 1001)
