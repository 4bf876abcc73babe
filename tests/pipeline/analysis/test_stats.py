"""Properties of the statistics, their oracles, and the numbers they refuse."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
import statsmodels.stats.multitest
import statsmodels.stats.weightstats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.analysis import effects, margins, power, signs, stats
from pipeline.analysis.stats import StatisticsError

few = settings(max_examples=40, deadline=None)
# Values on a grid: an mse printed with 5 digits. Finer ones only test the floats' rounding.
value = st.integers(1_000, 9_999).map(lambda k: k / 10_000)
pairs = st.integers(4, 9).flatmap(
    lambda n: st.tuples(
        st.lists(value, min_size=n, max_size=n), st.lists(value, min_size=n, max_size=n)
    )
)


def spread(candidate: list[float], reference: list[float]) -> None:
    """Leave constant differences to the tests that are about them."""
    assume(np.ptp(np.subtract(candidate, reference)) > 1e-9)


@few
@given(pairs)
def test_swapping_arms_flips_the_sign_and_keeps_p(arms: tuple[list[float], list[float]]) -> None:
    """Candidate and reference are only names."""
    c, r = arms
    spread(c, r)
    there, back = stats.paired_t(c, r), stats.paired_t(r, c)
    assert there.estimate == pytest.approx(-back.estimate, abs=1e-15)
    assert there.p == pytest.approx(back.p)
    assert signs.signflip(np.subtract(c, r)).p == signs.signflip(np.subtract(r, c)).p
    g, back_g = effects.hedges_g(c, r), effects.hedges_g(r, c)
    assert (g and g.value) == pytest.approx(back_g and -back_g.value)


@few
@given(pairs, st.integers(1, 5))
def test_adding_a_constant_to_both_arms_keeps_the_difference(
    arms: tuple[list[float], list[float]], shift: int
) -> None:
    """Only differences count in a paired test."""
    c, r = arms
    spread(c, r)
    moved = stats.paired_t(np.add(c, shift), np.add(r, shift))
    test = stats.paired_t(c, r)
    assert moved.estimate == pytest.approx(test.estimate, abs=1e-13)
    assert moved.p == pytest.approx(test.p, rel=1e-6)


@few
@given(pairs, st.sampled_from([1e-6, 0.5, 1e5]))
def test_units_change_neither_p_nor_g_nor_percent(
    arms: tuple[list[float], list[float]], scale: float
) -> None:
    """A metric in other units gives the same conclusions."""
    c, r = arms
    spread(c, r)
    sc, sr = np.multiply(c, scale), np.multiply(r, scale)
    assert stats.paired_t(sc, sr).p == pytest.approx(stats.paired_t(c, r).p)
    assert signs.signflip(sc - sr).p == signs.signflip(np.subtract(c, r)).p
    g, scaled_g = effects.hedges_g(c, r), effects.hedges_g(sc, sr)
    assert (g and g.value) == pytest.approx(scaled_g and scaled_g.value)
    assert effects.percent_change(sc, sr) == pytest.approx(effects.percent_change(c, r))
    margin = 0.01 * float(np.mean(r))
    assert margins.tost(sc, sr, margin * scale).p == pytest.approx(margins.tost(c, r, margin).p)


@few
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_and_keeps_the_order(p_values: list[float]) -> None:
    """Against the closed test that it is a shortcut of, and by its two properties."""
    adjusted = stats.holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    by_raw = [adjusted[i] for i in np.argsort(p_values, kind="stable")]
    assert by_raw == sorted(by_raw)
    assert adjusted == pytest.approx(closed(p_values))


def closed(p_values: list[float]) -> tuple[float, ...]:
    """Of each hypothesis: the largest Bonferroni p of any set of hypotheses that holds it."""
    every = range(len(p_values))
    sets = [chosen for size in every for chosen in combinations(every, size + 1)]
    bonferroni = {s: min(1.0, len(s) * min(p_values[i] for i in s)) for s in sets}
    return tuple(max(p for s, p in bonferroni.items() if i in s) for i in every)


def test_holm_is_that_of_statsmodels() -> None:
    """Ties, and p values whose correction ends at one."""
    p_values = [0.04, 0.01, 0.04, 0.001, 0.6, 0.5]
    oracle = statsmodels.stats.multitest.multipletests(p_values, method="holm")[1]
    assert stats.holm(p_values) == pytest.approx(tuple(oracle))


@few
@given(pairs, st.floats(0.001, 0.5))
def test_tost_passes_exactly_when_its_interval_is_inside_the_margin(
    arms: tuple[list[float], list[float]], margin: float
) -> None:
    """The 90 % interval and TOST at 5 % are one and the same."""
    c, r = arms
    spread(c, r)
    interval = stats.paired_t(c, r).interval(0.90)
    edge = min(abs(interval.low + margin), abs(interval.high - margin))
    assume(edge > 1e-9)
    inside = -margin < interval.low and interval.high < margin
    tost = margins.tost(c, r, margin)
    assert (tost.p < 0.05) == inside
    oracle = statsmodels.stats.weightstats.ttost_paired(np.array(c), np.array(r), -margin, margin)[
        0
    ]
    assert tost.p == pytest.approx(oracle)


@few
@given(pairs)
def test_ranks_and_sign_flips_agree_with_scipy(arms: tuple[list[float], list[float]]) -> None:
    """scipy is exact for Wilcoxon without ties, and for sign flips by permutation_test."""
    c, r = arms
    spread(c, r)
    d = np.round(np.subtract(c, r), 4).astype(np.float64)
    oracle = scipy.stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=2**10
    )
    assert signs.signflip(d).p == pytest.approx(oracle.pvalue)
    if len(set(np.abs(d))) == d.size and (d != 0).all():
        ranks = signs.wilcoxon(d)
        exact = scipy.stats.wilcoxon(d, method="exact").pvalue
        assert ranks is not None
        assert ranks.p == pytest.approx(exact)


def test_many_pairs_are_flipped_at_random_and_say_so() -> None:
    """Above 20 pairs the p is a seeded Monte Carlo one: the same each time, near the t test."""
    d = np.random.default_rng(0).normal(0.3, 1, 40)
    once, again = signs.signflip(d), signs.signflip(d)
    assert once == again
    assert not once.exact
    assert once.p == pytest.approx(scipy.stats.ttest_1samp(d, 0).pvalue, abs=0.01)
    assert signs.signflip(d[:20]).exact


def test_identical_arms_differ_by_nothing() -> None:
    """A setting that does nothing is a finding, not a crash: p = 1, an interval of zero width."""
    values = [0.0097, 0.0098, 0.0096, 0.0099]
    test = stats.paired_t(values, values)
    assert (test.estimate, test.t, test.p) == (0.0, 0.0, 1.0)
    assert (test.interval(0.95).low, test.interval(0.95).high) == (0.0, 0.0)
    tost = margins.tost(values, values, 0.0001)
    assert (tost.p, tost.p_signflip) == (0.0, 2**-4)
    assert signs.wilcoxon(np.zeros(4)) is None
    assert effects.d_z(values, values) is None


def test_identical_up_to_rounding_counts_as_identical() -> None:
    """The last bits of a sum are no difference between conditions."""
    values = np.array([0.1, 0.2, 0.3])
    assert not stats.differences(values * (1 + 3e-16), values).any()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: stats.paired_t([1.0], [2.0]), "1 value"),
        (lambda: stats.paired_t([1.0, 2.0], [2.0]), "1 value"),
        (lambda: stats.paired_t([1.0, 2.0, 3.0], [2.0, 3.0]), "3 and 2 values"),
        (lambda: stats.paired_t([1.0, float("nan")], [2.0, 3.0]), "nan"),
        (lambda: stats.paired_t([1.0, 2.0], [2.0, float("inf")]), "inf"),
        (lambda: stats.paired_t([1.1, 1.2, 1.4], [1.0, 1.1, 1.3]), "all 3 paired differences"),
        (lambda: stats.pair_by_seed({1: 1.0, 2: 2.0}, {1: 1.0, 3: 1.0}), r"\[2, 3\]"),
        (lambda: margins.tost([1.0, 2.0], [1.0, 2.5], 0.0), "margin must be positive"),
        (lambda: effects.percent_change([1.0, 2.0], [1.0, -1.0]), "mean is 0"),
        (lambda: stats.describe([]), "0 value"),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(call: Callable[[], object], said: str) -> None:
    """No warning, no nan: an error that says which numbers are at fault."""
    with pytest.raises(StatisticsError, match=said):
        call()


def test_one_value_is_described_without_a_spread() -> None:
    """A single run has a value, and nothing that needs two."""
    described = stats.describe([0.5])
    assert (described.n, described.mean, described.sd, described.interval) == (1, 0.5, None, None)


def test_fieller_covers_the_ratio_of_a_negative_metric() -> None:
    """The percentage is of the size of the reference, so its sign is the difference's sign."""
    c, r = [-1.1, -1.25, -1.3, -1.2], [-1.0, -1.1, -1.3, -1.2]
    interval = effects.percent_interval(c, r)
    assert interval is not None
    assert interval.low < effects.percent_change(c, r) < interval.high
    assert effects.percent_change(c, r) < 0


def test_fieller_has_no_bounds_when_the_reference_may_be_zero() -> None:
    """A percentage of something that may be zero is not bounded."""
    assert effects.percent_interval([1.0, 2.0, 3.5], [-1.0, 0.5, 1.0]) is None


def test_noncentral_bounds_give_up_openly_at_absurd_t() -> None:
    """scipy's noncentral t ends somewhere; then there is no interval rather than a wrong one."""
    assert effects.noncentrality(1e9, 2) is None


@pytest.mark.parametrize(("n", "size"), [(10, 0.9), (10, 1.2), (20, 0.5)])
def test_power_agrees_with_simulation(n: int, size: float) -> None:
    """Two-sided t and TOST power, against 20,000 simulated studies (within 4 standard errors)."""
    x = np.random.default_rng(1).normal(size, 1, (20_000, n))
    rejected = float(np.mean(scipy.stats.ttest_1samp(x, 0, axis=1).pvalue < 0.05))
    chance = power.t_power(size * n**0.5, n - 1, 0.05)
    assert chance == pytest.approx(rejected, abs=4 * (0.25 / 20_000) ** 0.5)
    centred = x - size
    half = scipy.stats.t.isf(0.05, n - 1) * centred.std(axis=1, ddof=1) / n**0.5
    passed = float(np.mean(np.abs(centred.mean(axis=1)) + half < size))
    assert power.tost_power(size * n**0.5, n - 1, 0.05) == pytest.approx(passed, abs=0.015)


def test_planning_finds_the_smallest_number_of_pairs() -> None:
    """One pair fewer falls short; what nobody would run is None."""
    n = power.pairs_to_detect(1.0, 0.7, 0.05, 0.8)
    assert n is not None
    assert power.t_power(0.7 * n**0.5, n - 1, 0.05) >= 0.8
    assert power.t_power(0.7 * (n - 1) ** 0.5, n - 2, 0.05) < 0.8
    assert power.pairs_to_detect(1.0, 1e-4, 0.05, 0.8) is None
    assert power.pairs_to_bound(1.0, 1e-4, 0.05, 0.8) is None
    assert power.pairs_to_detect(0.0, 1.0, 0.05, 0.8) == 2
