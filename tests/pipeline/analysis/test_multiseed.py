"""Planted truths through the whole analysis, missing runs, and what is refused."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.analysis.checks import IncomparableRunsError, find_deviations
from pipeline.analysis.hypotheses import Comparison
from pipeline.analysis.multiseed import MultiseedAnalysis, analyse_multiseed
from pipeline.analysis.pilot import analyse_pilot
from pipeline.analysis.references import Position
from pipeline.analysis.stats import StatisticsError
from pipeline.analysis.table import Hole, HoleReason, Hypothesis, Measurement, ResultTable, RunRow
from pipeline.analysis.verdict import Outcome, Shortfall
from pipeline.errors import PipelineError
from tests.pipeline.analysis.arms import BASE, HYPOTHESIS, PLAN, run, scaled, table


def only(analysis: MultiseedAnalysis) -> Comparison:
    """Return the one comparison there is."""
    (comparison,) = analysis.comparisons
    return comparison


@pytest.mark.parametrize(
    ("arm", "outcome"),
    [
        (scaled(0.97), Outcome.SUPPORTED),
        (scaled(1.03), Outcome.REJECTED),
        (scaled(1.0), Outcome.EQUIVALENT),
        (BASE, Outcome.EQUIVALENT),
        (BASE + 0.03 * np.random.default_rng(5).standard_normal(10), Outcome.INCONCLUSIVE),
        (BASE - np.eye(10)[3] * 0.5, Outcome.INCONCLUSIVE),
        (BASE * 0.99 ** np.arange(10), Outcome.SUPPORTED),
    ],
    ids=["improvement", "harm", "within", "identical", "noise", "one outlier seed", "uneven gain"],
)
def test_planted_truths_get_their_verdict(arm: np.ndarray, outcome: Outcome) -> None:
    """Data made so that the right verdict is known."""
    comparison = only(analyse_multiseed(table(arm), PLAN, HYPOTHESIS))
    assert comparison.verdict.outcome is outcome


def test_identical_arms_are_marked() -> None:
    """A condition that computes the same as the reference is named as such."""
    tested = only(analyse_multiseed(table(BASE), PLAN, HYPOTHESIS)).tested
    assert tested is not None
    assert tested.identical
    assert tested.checks.wilcoxon_p is None


def test_shifted_copies_are_inconclusive_with_the_reason() -> None:
    """Differences without spread come from copies, not from training."""
    comparison = only(analyse_multiseed(table(BASE + 0.25), PLAN, HYPOTHESIS))
    assert comparison.verdict.shortfall is Shortfall.UNTESTABLE
    assert "all 10 paired differences are 0.25" in comparison.untestable


def test_missing_runs_leave_incomplete_pairs_by_name() -> None:
    """A failed run is a missing pair; the rest is analysed, and too few pairs say so."""
    comparison = only(analyse_multiseed(table(scaled(0.9), missing=(2, 5)), PLAN, HYPOTHESIS))
    assert comparison.n_pairs == 8
    assert comparison.unpaired_seeds == (2, 5)
    assert comparison.verdict.outcome is Outcome.SUPPORTED
    fewer = only(analyse_multiseed(table(scaled(0.9), missing=(2, 5, 7)), PLAN, HYPOTHESIS))
    assert fewer.verdict.shortfall is Shortfall.TOO_FEW_PAIRS


@pytest.mark.parametrize("left", [0, 1, 2])
def test_hardly_any_pairs_are_still_reported(left: int) -> None:
    """Nought, one or two pairs give a verdict and never a crash."""
    missing = tuple(range(left, 10))
    analysis = analyse_multiseed(table(scaled(0.9), missing=missing), PLAN, HYPOTHESIS)
    assert only(analysis).n_pairs == left
    assert only(analysis).verdict.shortfall is Shortfall.TOO_FEW_PAIRS


def test_secondary_hypotheses_do_not_cost_the_primary_one() -> None:
    """Holm runs over the primary family; a secondary hypothesis is corrected over all."""
    both = (*HYPOTHESIS, Hypothesis("s", "the reverse", "base", "arm", "secondary"))
    first, second = analyse_multiseed(table(scaled(1.01)), PLAN, both).comparisons
    assert first.tested is not None
    assert (first.family_size, second.family_size) == (1, 2)
    assert first.p_holm == first.tested.p
    assert second.p_holm == pytest.approx(2 * first.tested.p)


def test_direction_maximize_turns_the_verdict_not_the_sign() -> None:
    """The difference stays candidate - reference; what counts as improvement changes."""
    plan = dataclasses.replace(PLAN, direction="maximize")
    comparison = only(analyse_multiseed(table(scaled(1.03)), plan, HYPOTHESIS))
    assert comparison.verdict.outcome is Outcome.SUPPORTED
    assert comparison.tested is not None
    assert comparison.tested.paired.estimate > 0


def test_reference_predictors_are_placed_with_both_uncertainties() -> None:
    """Every mean far below the zero predictor is below it; its own error widens the interval."""
    analysis = analyse_multiseed(table(scaled(1.0)), PLAN, HYPOTHESIS)
    assert {d.position for d in analysis.distances} == {Position.BELOW}
    arm, placed = analysis.arms[0].described, analysis.distances[0].interval
    assert arm is not None
    assert arm.interval is not None
    assert placed is not None
    assert placed.high - placed.low > arm.interval.high - arm.interval.low


def test_mixed_held_out_data_are_refused_naming_both_runs() -> None:
    """S1: equal digests or no comparison."""
    good = table(scaled(1.0))
    rows = (*good.rows[:-1], run("arm", 9, 1.0, data="e" * 64))
    mixed = dataclasses.replace(good, rows=rows)
    with pytest.raises(IncomparableRunsError, match=r"base-s0 and arm-s9 .* validation"):
        analyse_multiseed(mixed, PLAN, HYPOTHESIS)


def other_code(row: RunRow) -> RunRow:
    """The same run by other code."""
    return dataclasses.replace(row, facts=dataclasses.replace(row.facts, code_digest="f" * 64))


def dirty_tree(row: RunRow) -> RunRow:
    """The same run from a tree with uncommitted changes."""
    return dataclasses.replace(row, facts=dataclasses.replace(row.facts, dirty=True))


def no_digest(row: RunRow) -> RunRow:
    """The same run without a record of its data."""
    return dataclasses.replace(row, data_digests={})


def other_reference(row: RunRow) -> RunRow:
    """The same run with another value of a reference predictor."""
    return dataclasses.replace(row, references={"loss": {"zero": Measurement(2.1, 0.01, 10)}})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_code, "2 versions of the code"),
        (dirty_tree, "1 of 20 runs come from a working tree with uncommitted"),
        (no_digest, "1 of 20 runs record no digest"),
        (other_reference, "reference predictor zero has loss 2 in base-s0 and 2.1 in arm-s9"),
    ],
)
def test_departures_are_named(change: Callable[[RunRow], RunRow], said: str) -> None:
    """S4 and its like: reported, not refused."""
    good = table(scaled(1.0))
    odd = dataclasses.replace(good, rows=(*good.rows[:-1], change(good.rows[-1])))
    assert find_deviations(good) == ()
    (sentence,) = find_deviations(odd)
    assert said in sentence


def test_a_metric_that_is_not_finite_is_refused() -> None:
    """A diverged run is a failed run, not a value."""
    arm = scaled(1.0)
    arm[3] = np.nan
    with pytest.raises(StatisticsError, match=r"loss of condition arm .*nan"):
        analyse_multiseed(table(arm), PLAN, HYPOTHESIS)


def test_an_unknown_condition_is_refused_with_the_known_ones() -> None:
    """A hypothesis about nothing is a typo."""
    with pytest.raises(StatisticsError, match=r"hypothesis h names the condition arn.*base, arm"):
        analyse_multiseed(table(BASE), PLAN, (Hypothesis("h", "", "arn", "base"),))


def test_a_table_must_account_for_every_planned_run() -> None:
    """Duplicates are named with both runs; holes without a reason are refused."""
    good = table(BASE)
    with pytest.raises(PipelineError, match="base-s0 and base-s0"):
        dataclasses.replace(good, rows=(good.rows[0], *good.rows))
    with pytest.raises(PipelineError, match=r"look at \[\('base', 0\)\]"):
        dataclasses.replace(good, rows=good.rows[1:])


def test_a_pilot_has_a_spread_only_from_two_runs() -> None:
    """One run gives a value; two give an sd for planning; neither gives a comparison."""
    rows = (run("base", 1000, 1.0), run("base", 1001, 1.5), run("arm", 1000, 2.0))
    planned = (("base", 1000), ("base", 1001), ("arm", 1000), ("arm", 1001))
    holes = (Hole("arm", 1001, HoleReason.RUNNING),)
    analysis = analyse_pilot(ResultTable("pilot", planned, rows, holes), "loss")
    base, arm = analysis.conditions
    assert base.sd == pytest.approx(0.125**0.5)
    assert arm.sd is None
