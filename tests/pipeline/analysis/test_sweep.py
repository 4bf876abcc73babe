"""Sweeps, confirmations and alternatives: numbers against oracles, and the rule of selection."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from pipeline.analysis.alternatives import analyse_alternatives
from pipeline.analysis.confirm import analyse_confirm
from pipeline.analysis.stats import StatisticsError
from pipeline.analysis.sweep import Axis, SweepDesign, analyse_sweep
from pipeline.analysis.table import (
    AnalysisPlan,
    Direction,
    Hole,
    HoleReason,
    Hypothesis,
    Measurement,
    ResultTable,
    RunFacts,
    RunRow,
)
from pipeline.analysis.trends import Course
from pipeline.analysis.verdict import Outcome

PLAN = AnalysisPlan("loss", "minimize", "base", margin_percent=1.0)
LEVELS = {"a": (1, 2, 3), "b": (0.5, 1.0, 1.5)}
DESIGN = SweepDesign(
    condition="arm",
    reference="base",
    cells={f"arm [a={a}, b={b}]": {"a": a, "b": b} for a in LEVELS["a"] for b in LEVELS["b"]},
    axes=tuple(Axis(key, key, values) for key, values in LEVELS.items()),
)


def sweep_table(
    values: Mapping[str, np.ndarray], missing: tuple[tuple[str, int], ...] = (), first: int = 100
) -> ResultTable:
    """Return arms at shared seeds; named runs failed. The test metric is a constant higher."""
    rows, holes, planned = [], [], []
    for arm, column in values.items():
        for seed, value in enumerate(column, first):
            planned.append((arm, seed))
            if (arm, seed) in missing:
                holes.append(Hole(arm, seed, HoleReason.FAILED, "loss is nan"))
                continue
            metrics = {
                "loss": Measurement(float(value), 0.001, 100),
                "test": Measurement(float(value) + 0.1, 0.001, 100),
            }
            name = f"{arm}-s{seed}"
            facts = RunFacts(f"runs/sweep/{name}/result.json", commit="c" * 40, dirty=False)
            rows.append(RunRow("sweep", arm, seed, name, metrics, {}, {"v": "d" * 64}, facts))
    return ResultTable("sweep", tuple(planned), tuple(rows), tuple(holes))


def planted(effect: Mapping[str, float], seeds: int = 3) -> dict[str, np.ndarray]:
    """Return values of all arms: a base of 2, luck by seed, little noise, and effects."""
    luck = np.random.default_rng(1).normal(0, 0.05, seeds)
    noise = np.random.default_rng(2)
    return {
        arm: 2 + luck + effect.get(arm, 0.0) + noise.normal(0, 0.002, seeds)
        for arm in ("base", *DESIGN.cells)
    }


def test_estimates_and_half_widths_are_those_of_a_one_sample_t() -> None:
    """Each cell: paired differences in percent of the reference's mean, t interval over seeds."""
    values = planted({"arm [a=2, b=1.0]": 0.3})
    analysis = analyse_sweep(sweep_table(values), PLAN, DESIGN)
    for cell in analysis.cells:
        d = 100 * (values[cell.arm] - values["base"]) / values["base"].mean()
        low, high = stats.ttest_1samp(d, 0).confidence_interval(0.95)
        assert cell.percent == pytest.approx((low + high) / 2, rel=1e-12)
        assert cell.half_width == pytest.approx((high - low) / 2, rel=1e-9)
        assert cell.seeds == (100, 101, 102)


def test_one_seed_gives_an_estimate_without_a_width() -> None:
    """Nothing is known of the spread."""
    analysis = analyse_sweep(sweep_table(planted({}, seeds=1)), PLAN, DESIGN)
    assert {cell.half_width for cell in analysis.cells} == {None}
    assert all(cell.percent is not None for cell in analysis.cells)
    assert {trend.course for trend in analysis.trends} == {Course.UNTESTED}


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_ranking_follows_the_metric(direction: Direction) -> None:
    """The lowest mean difference comes first, or the highest."""
    values = planted({arm: 0.1 * place for place, arm in enumerate(DESIGN.cells)})
    plan = dataclasses.replace(PLAN, direction=direction)
    ranking = analyse_sweep(sweep_table(values), plan, DESIGN).ranking
    arms = list(DESIGN.cells)
    assert list(ranking) == (arms if direction == "minimize" else arms[::-1])


def test_a_cell_with_a_missing_run_is_not_selected() -> None:
    """A lucky seed alone must not win; where the reference lacks a seed, that seed is out."""
    values = planted({"arm [a=1, b=0.5]": -0.5, "arm [a=1, b=1.0]": -0.2})
    first, second = list(DESIGN.cells)[:2]
    missing = ((first, 101),)
    ranking = analyse_sweep(sweep_table(values, missing), PLAN, DESIGN).ranking
    assert ranking[0] == second
    assert first not in ranking
    without = ((first, 101), ("base", 101))
    assert analyse_sweep(sweep_table(values, without), PLAN, DESIGN).ranking[0] == first


def test_equal_cells_are_ranked_in_the_order_of_the_study() -> None:
    """A tie is broken by nothing that data decide."""
    values = {arm: np.array([1.0, 1.1, 1.2]) for arm in ("base", *DESIGN.cells)}
    assert analyse_sweep(sweep_table(values), PLAN, DESIGN).ranking == tuple(DESIGN.cells)


def test_the_reference_is_tuned_by_the_same_rule() -> None:
    """Its other settings are ranked with its own; its own stays when none is ahead."""
    design = dataclasses.replace(DESIGN, reference_cells={"base [x=1]": {"x": 1}})
    values = planted({})
    for shift, selected in ((-0.1, "base [x=1]"), (0.1, "base"), (0.0, "base")):
        tuned = {**values, "base [x=1]": values["base"] + shift}
        analysis = analyse_sweep(sweep_table(tuned), PLAN, design)
        assert analysis.selected_reference == selected


def test_trends_are_pages_on_marginal_means_with_seeds_as_blocks() -> None:
    """Both directions are asked; p is twice the smaller one-sided p."""
    values = planted({arm: 0.05 * cell["a"] for arm, cell in DESIGN.cells.items()}, seeds=4)
    trends = {t.key: t for t in analyse_sweep(sweep_table(values), PLAN, DESIGN).trends}
    blocks = np.array(
        [
            [np.mean([values[f"arm [a={a}, b={b}]"][s] for b in LEVELS["b"]]) for a in LEVELS["a"]]
            for s in range(4)
        ]
    )
    oracle = stats.page_trend_test(blocks)
    assert trends["a"].course is Course.RISES
    assert trends["a"].statistic == oracle.statistic == 4 * (1 + 4 + 9)
    assert trends["a"].p == pytest.approx(2 * oracle.pvalue)
    assert trends["a"].means == pytest.approx(blocks.mean(axis=0))
    assert trends["b"].course is Course.UNRESOLVED


def test_a_falling_trend_falls_whatever_the_order_of_the_values() -> None:
    """Levels are sorted: a study may list them as it likes."""
    values = planted({arm: -0.05 * cell["b"] for arm, cell in DESIGN.cells.items()}, seeds=4)
    axes = (DESIGN.axes[0], Axis("b", "b", (1.5, 0.5, 1.0)))
    trends = analyse_sweep(sweep_table(values), PLAN, dataclasses.replace(DESIGN, axes=axes)).trends
    assert trends[1].course is Course.FALLS
    assert trends[1].levels == (0.5, 1.0, 1.5)


def test_words_have_no_trend() -> None:
    """An axis of names has no order to follow."""
    cells = {f"arm [s={s}]": {"s": s} for s in ("x", "y", "z")}
    design = SweepDesign("arm", "base", cells, (Axis("s", "s", ("x", "y", "z")),))
    values = {arm: np.array([1.0, 1.1]) for arm in ("base", *cells)}
    assert analyse_sweep(sweep_table(values), PLAN, design).trends == ()


def test_a_reference_of_zero_has_no_percentages() -> None:
    """Named, not divided by."""
    values = {arm: np.zeros(3) for arm in ("base", *DESIGN.cells)}
    with pytest.raises(StatisticsError, match="the mean of base is 0"):
        analyse_sweep(sweep_table(values), PLAN, DESIGN)


def test_optimism_is_what_the_selection_promised_beyond_fresh_seeds() -> None:
    """Sweep estimate - confirmation estimate, in percent; the test metric decides."""
    chosen = "arm [a=2, b=1.0]"
    sweep = analyse_sweep(sweep_table(planted({chosen: -0.2})), PLAN, DESIGN)
    assert sweep.ranking[0] == chosen
    luck = np.random.default_rng(7).normal(0, 0.05, 10)
    own = np.random.default_rng(8).normal(0, 0.002, 10)
    fresh = {"base": 2 + luck, chosen: 2 + luck - 0.1 + own}
    plan = dataclasses.replace(PLAN, metric="test")
    table = dataclasses.replace(sweep_table(fresh, first=200), phase="confirm")
    analysis = analyse_confirm(table, plan, Hypothesis("h", "s", chosen, "base"), sweep)

    (comparison,) = analysis.paired.comparisons
    assert comparison.verdict.outcome is Outcome.SUPPORTED
    assert comparison.family_size == 1
    optimism = analysis.optimism
    assert optimism is not None
    test_base = fresh["base"] + 0.1
    confirmed = 100 * (fresh[chosen] - fresh["base"]).mean() / test_base.mean()
    assert optimism.confirmed.percent == pytest.approx(confirmed)
    assert optimism.confirmed.percent == pytest.approx(comparison.tested.percent.value)  # type: ignore[union-attr]
    assert optimism.fresh is not None
    assert optimism.fresh.seeds == tuple(range(200, 210))
    promised = next(cell for cell in sweep.cells if cell.arm == chosen).percent
    assert promised is not None
    assert optimism.points == pytest.approx(promised - confirmed)


def alternatives(effects: Mapping[str, float], spread: float = 0.004) -> ResultTable:
    """Return a base and arms at ten seeds with these effects."""
    luck, noise = np.random.default_rng(5).normal(0, 0.05, 10), np.random.default_rng(6)
    arms = {arm: 2 + luck + e + noise.normal(0, spread, 10) for arm, e in effects.items()}
    return dataclasses.replace(sweep_table({"base": 2 + luck, **arms}), phase="alternatives")


def test_alternatives_are_ordered_and_tied_by_simultaneous_intervals() -> None:
    """Far apart they make groups; overlapping or within the margin they share one."""
    effects = {"up": 0.2, "tie": -0.201, "down": -0.2, "near": -0.15}
    hypotheses = tuple(Hypothesis(f"h-{arm}", "s", arm, "base") for arm in effects)
    analysis = analyse_alternatives(alternatives(effects), PLAN, hypotheses)
    assert [place.group for place in analysis.order] == [1, 1, 2, 3]
    candidates = [place.comparison.hypothesis.candidate for place in analysis.order]
    assert set(candidates[:2]) == {"tie", "down"}
    assert candidates[2:] == ["near", "up"]
    assert {c.family_size for c in analysis.paired.comparisons} == {4}
    assert analysis.unordered == ()
    wide = dataclasses.replace(PLAN, margin_percent=5.0)
    within = analyse_alternatives(alternatives(effects), wide, hypotheses)
    assert [place.group for place in within.order] == [1, 1, 1, 2]


def test_an_alternative_without_pairs_is_named_and_stays_in_its_family() -> None:
    """Holm counts what was planned."""
    given = alternatives({"up": 0.2, "gone": 0.0})
    kept = tuple(row for row in given.rows if row.condition != "gone")
    holes = tuple(Hole("gone", seed, HoleReason.FAILED) for seed in range(100, 110))
    hypotheses = tuple(Hypothesis(f"h-{arm}", "s", arm, "base") for arm in ("up", "gone"))
    table = dataclasses.replace(given, rows=kept, holes=holes)
    analysis = analyse_alternatives(table, PLAN, hypotheses)
    assert [c.hypothesis.candidate for c in analysis.unordered] == ["gone"]
    assert [p.comparison.family_size for p in analysis.order] == [2]
