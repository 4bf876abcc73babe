"""What is done about each class of failure, and that no policy tries for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.failures.kinds import NEVER_RETRIED, PHASE_STOPPING, FailureClass
from pipeline.failures.policy import FailurePolicy, Past, decide

F = FailureClass
DEFAULT = FailurePolicy()
FIRST = Past(counted_tries=1, mem_gb=16, walltime_min=240, profile_walltime_min=240)


def past(**known: object) -> Past:
    """A first attempt with 16 GB and 240 min, and what else is said."""
    return Past(**{"counted_tries": 1, "mem_gb": 16, "walltime_min": 240,
                   "profile_walltime_min": 240, **known})  # type: ignore[arg-type]  # fmt: skip


def test_host_out_of_memory_asks_for_more_up_to_the_cap() -> None:
    """16 GB become 24, a cap of 20 gives 20, and at the cap nothing is tried again."""
    assert decide(F.HOST_OUT_OF_MEMORY, FIRST, DEFAULT).mem_gb == 24
    capped = FailurePolicy(memory_max_gb=20)
    assert decide(F.HOST_OUT_OF_MEMORY, FIRST, capped).mem_gb == 20
    assert not decide(F.HOST_OUT_OF_MEMORY, past(mem_gb=20), capped).retry


def test_gpu_out_of_memory_splits_the_stack_and_leaves_host_memory_alone() -> None:
    """Ten runs in one stack become stacks of five; a run that trained alone needs a person."""
    decision = decide(F.CUDA_OUT_OF_MEMORY, past(stack=10), DEFAULT)

    assert (decision.stack_limit, decision.mem_gb) == (5, None)
    assert not decide(F.CUDA_OUT_OF_MEMORY, past(stack=1), DEFAULT).retry


def test_a_time_limit_is_resumed_with_the_time_that_the_measured_speed_asks_for() -> None:
    """600 steps left at 1 step/s are 13 min and a start-up more, within walltime_max_min."""
    known = past(
        walltime_min=10, profile_walltime_min=10, step=400, total_steps=1000, steps_per_s=1.0,
        checkpoint=True,
    )  # fmt: skip
    long = FailurePolicy(walltime_max_min=600)

    decision = decide(F.TIME_LIMIT, known, long)

    assert decision.retry
    assert decision.resume
    assert decision.walltime_min == 13 + 5
    assert decide(F.TIME_LIMIT, known, FailurePolicy(walltime_max_min=12)).walltime_min == 12
    assert decide(F.TIME_LIMIT, known, DEFAULT).walltime_min == 10


def test_a_time_limit_counts_only_where_no_progress_was_made() -> None:
    """A long training goes on in as many pieces as it needs; one that stands still stops."""
    further = past(counted_tries=3, step=400, total_steps=1000, best_step_before=300)
    same = past(counted_tries=3, step=301, total_steps=1000, best_step_before=300)

    assert decide(F.TIME_LIMIT, further, DEFAULT).retry
    assert not decide(F.TIME_LIMIT, further, DEFAULT).counts
    assert not decide(F.TIME_LIMIT, same, DEFAULT).retry


def test_a_pause_never_counts() -> None:
    """However often a study is carried on in pieces, its runs go on together from there."""
    decision = decide(F.PAUSED, past(counted_tries=3, step=5, best_step_before=5), DEFAULT)

    assert decision.retry
    assert decision.resume
    assert not decision.counts


@pytest.mark.parametrize("kind", [F.NODE_FAILURE, F.BAD_GPU])
def test_a_bad_node_is_blamed_even_when_the_run_is_given_up(kind: FailureClass) -> None:
    """Others must not land there, whatever becomes of this run."""
    assert decide(kind, FIRST, DEFAULT).retry
    given_up = decide(kind, past(counted_tries=3), DEFAULT)
    assert not given_up.retry
    assert given_up.blame_node


def test_a_kill_without_a_trace_gets_one_retry() -> None:
    """Once may be an accident; twice is a cause that nobody knows."""
    assert decide(F.KILLED_WITHOUT_TRACE, FIRST, DEFAULT).retry
    twice = past(counted_tries=2, earlier=(F.KILLED_WITHOUT_TRACE,))
    assert not decide(F.KILLED_WITHOUT_TRACE, twice, DEFAULT).retry


@pytest.mark.parametrize("kind", sorted(NEVER_RETRIED))
def test_what_trying_again_cannot_mend_is_left_to_a_person(kind: FailureClass) -> None:
    """Code errors, quotas and nan are never retried, and what strikes all stops the phase."""
    decision = decide(kind, FIRST, FailurePolicy(max_tries=100))

    assert not decision.retry
    assert decision.stop_phase is (kind in PHASE_STOPPING)


policies = st.builds(
    FailurePolicy,
    max_tries=st.integers(1, 6),
    memory_factor=st.floats(1.01, 4),
    memory_max_gb=st.none() | st.integers(1, 200),
    walltime_max_min=st.none() | st.integers(1, 10_000),
)
steps = st.integers(0, 1000)
pasts = st.builds(
    Past,
    counted_tries=st.integers(1, 10),
    earlier=st.lists(st.sampled_from(FailureClass), max_size=5).map(tuple),
    stack=st.integers(1, 20),
    mem_gb=st.none() | st.integers(1, 500),
    walltime_min=st.integers(1, 5000),
    profile_walltime_min=st.integers(1, 5000),
    step=steps,
    total_steps=st.just(1000),
    best_step_before=steps,
    steps_per_s=st.none() | st.floats(1e-6, 1e6),
    checkpoint=st.booleans(),
)


@given(st.sampled_from(FailureClass), pasts, policies)
def test_no_decision_exceeds_the_policy(
    kind: FailureClass, known: Past, policy: FailurePolicy
) -> None:
    """Counted tries stay within max_tries; memory and time only grow, within their caps."""
    decision = decide(kind, known, policy)

    if decision.retry and decision.counts:
        assert known.counted_tries < policy.max_tries
    if decision.mem_gb is not None and known.mem_gb is not None:
        assert decision.mem_gb > known.mem_gb
        assert policy.memory_max_gb is None or decision.mem_gb <= policy.memory_max_gb
    if decision.walltime_min is not None:
        cap = policy.walltime_max_min or known.profile_walltime_min
        assert known.walltime_min <= decision.walltime_min <= max(cap, known.walltime_min)
    if decision.stack_limit is not None:
        assert 1 <= decision.stack_limit < known.stack
    assert decision.words


@given(policies, st.lists(st.integers(0, 1000), min_size=1, max_size=400))
def test_time_limits_end_some_day(policy: FailurePolicy, reached: list[int]) -> None:
    """Whatever steps the attempts reach, those that do not count are few: each came further."""
    counted, best, free = 1, 0, 0
    for step in reached:
        known = Past(counted_tries=counted, step=step, total_steps=1000, best_step_before=best)
        decision = decide(F.TIME_LIMIT, known, policy)
        if not decision.retry:
            break
        free += not decision.counts
        counted += decision.counts
        best = max(best, step)
    assert free <= 100
    assert counted <= policy.max_tries
