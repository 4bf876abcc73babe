"""The 30 published values must give the statistics that were computed elsewhere.

`golden_stats.json` was made with scipy's own tests, statsmodels and pingouin. Every number in it
is either reproduced here or named in NOT_COMPUTED with the reason.
"""

import fnmatch
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.analysis import effects, margins, power, stats
from pipeline.analysis.hypotheses import Comparison
from pipeline.analysis.multiseed import MultiseedAnalysis, analyse_multiseed
from tests.pipeline import published

CLOSED, NONCENTRAL, QUADRATURE = 1e-9, 1e-6, 1e-4
"""Relative tolerances; the golden TOST powers come from a coarse integral."""

NOT_COMPUTED = {
    "meta.*": "describes the file",
    "data.*": "the input",
    "seed_document.*": "what the published report printed, and how it came about",
    "pilot.*": "input of the pilot's report; the pilot draws no comparison",
    "evaluation_noise.*": "a property of the published evaluation, not of the 30 values",
    "reference_predictors.values.*": "input: the predictors' own measurements",
    "reference_predictors.generator": "describes the input",
    "reference_predictors.fit": "describes the input",
    "descriptives.*.sd_ddof0": "the published mistake",
    "descriptives.*.ci95_z*": "the published mistake",
    "*bca*": "BCa covers 89 % at ten pairs: nothing is decided or shown by it",
    "*shapiro*": "no test is chosen by a test of normality",
    "variance_homogeneity.brown_forsythe_3.p": "spreads are compared as hypotheses are, in pairs",
    "variance_homogeneity.bartlett_3": "assumes normality; Brown-Forsythe is shown",
    "seed_correlation.*.p": "the correlation is described, not tested",
    "*.pooled.*": "assumes equal variances, which these data contradict",
    "*_pooled": "the same",
    "*_unpaired": "planning is for the paired design",
    "*.welch.ci_bonferroni_*": "decisions and their intervals are paired",
    "*.mannwhitney_exact.*": "ignores the pairing",
    "*.unpaired_permutation_exact_p": "ignores the pairing",
    "*approx*": "the exact correction is used",
    "*.pingouin_hedges": "uses the approximate correction",
    "*.hedges_g_ci95_normal": "the noncentral t is used",
    "*.cohen_d*": "Hedges' g is its corrected form",
    "*.glass_delta_ref_sd": "one standardised difference is enough",
    "*.hedges_gz": "d_z is shown with its interval",
    "*.prob_candidate_better_*": "the report counts the pairs that improve",
    "*.cliffs_delta": "1 - 2 P(candidate better)",
    "*.percent.delta_*": "Fieller's interval is exact where the delta method approximates",
    "*.percent.fieller_unpaired*": "the design is paired",
    "*.percent.geometric*": "the estimand is the ratio of means",
    "*log_ratio*": "the estimand is the ratio of means",
    "corrections.pooled.*": "assumes equal variances",
    "corrections.*.bonferroni.*": "Holm is uniformly stronger",
    "corrections.*.holm-sidak.*": "assumes independence",
    "corrections.*.fdr_bh.*": "error rates per family are controlled, not false discoveries",
    "dunnett_vs_baseline.*": "assumes equal variances and ignores the pairing",
    "games_howell.*": "ignores the pairing",
    "friedman.*": "an omnibus test answers no declared hypothesis",
    "verdicts.paired.*": "the rule with the sign-flip guard is used",
    "verdicts.welch.*": "the same",
}

MARGINS = {"0.25pct": 0.25, "0.5pct": 0.5, "1pct": 1.0}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of the golden file under its dotted path; lists are values."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path, value


@pytest.fixture(scope="module")
def analysis() -> MultiseedAnalysis:
    """The published phase, analysed."""
    return analyse_multiseed(published.table(), published.PLAN, published.HYPOTHESES)


def of_descriptives(analysis: MultiseedAnalysis) -> Iterator[tuple[str, Any, float]]:
    """What describes each condition."""
    for arm in analysis.arms:
        d, at = arm.described, f"descriptives.{arm.condition}"
        assert d is not None
        assert d.interval is not None
        assert d.prediction is not None
        yield f"{at}.n", d.n, 0
        yield f"{at}.mean", d.mean, CLOSED
        yield f"{at}.sd_ddof1", d.sd, CLOSED
        yield f"{at}.sem", d.standard_error, CLOSED
        yield f"{at}.median", d.median, CLOSED
        yield f"{at}.iqm", d.interquartile_mean, CLOSED
        yield f"{at}.min", d.minimum, CLOSED
        yield f"{at}.max", d.maximum, CLOSED
        yield f"{at}.ci95_t_half", (d.interval.high - d.interval.low) / 2, CLOSED
        yield f"{at}.ci95_t", ends(d.interval), CLOSED
        yield f"{at}.prediction95_next_seed", ends(d.prediction), CLOSED
        yield f"{at}.cv_percent", d.cv_percent, CLOSED


def of_comparison(comparison: Comparison) -> Iterator[tuple[str, Any, float]]:
    """What is said about one comparison."""
    tested, name = comparison.tested, key(comparison)
    assert tested is not None
    assert tested.checks.welch is not None
    at, paired, welch = f"comparisons.{name}", tested.paired, tested.checks.welch
    yield f"{at}.mean_difference", paired.estimate, CLOSED
    yield f"{at}.percent_change", tested.percent.value, CLOSED
    yield f"{at}.percent.point", tested.percent.value, CLOSED
    yield f"{at}.percent.fieller_paired_ci95", ends(tested.percent.interval), CLOSED
    yield f"{at}.percent.fieller_paired_ci90", ends(tested.percent.interval_tost), CLOSED
    for label, test in (("paired", paired), ("welch", welch)):
        yield f"{at}.{label}.t", test.t, CLOSED
        yield f"{at}.{label}.df", test.df, CLOSED
        yield f"{at}.{label}.p", test.p, CLOSED
        yield f"{at}.{label}.se", test.standard_error, CLOSED
        yield f"{at}.{label}.ci95", ends(test.interval(0.95)), CLOSED
        yield f"{at}.{label}.ci90", ends(test.interval(0.90)), CLOSED
    for k in (2, 3):
        yield f"{at}.paired.ci_bonferroni_{k}", ends(paired.interval(1 - 0.05 / k)), CLOSED
    yield f"{at}.paired.n_pairs", comparison.n_pairs, 0
    yield f"{at}.paired.sd_diff", paired.standard_error * 10**0.5, CLOSED
    yield f"{at}.paired.differences", list(tested.differences), CLOSED
    yield f"{at}.paired_signflip_exact_p", tested.signflip.p, CLOSED
    yield f"{at}.wilcoxon_exact.p", tested.checks.wilcoxon_p, CLOSED
    assert tested.hedges_g is not None
    assert tested.d_z is not None
    yield f"{at}.effect_size.hedges_J_exact", effects.hedges_correction(18), CLOSED
    yield f"{at}.effect_size.hedges_g", tested.hedges_g.value, CLOSED
    yield f"{at}.effect_size.hedges_g_ci95_nct", ends(tested.hedges_g.interval), NONCENTRAL
    yield f"{at}.effect_size.cohen_dz", tested.d_z.value, CLOSED
    yield f"{at}.effect_size.dz_ci95_nct", ends(tested.d_z.interval), NONCENTRAL
    yield from of_margins(comparison)
    yield from of_planning(comparison)
    yield f"seed_correlation.{name}.r", tested.checks.seed_correlation, CLOSED
    # Levene's F is not kept; its p is what is shown.
    yield f"variance_homogeneity.brown_forsythe_{name}.p", tested.checks.spread_p, CLOSED
    if name == "random_vs_baseline":
        ratio = tested.checks.spread_ratio
        yield "variance_homogeneity.sd_ratio_random_over_baseline", ratio, CLOSED


def of_margins(comparison: Comparison) -> Iterator[tuple[str, Any, float]]:
    """TOST and the ROPE posterior under each margin."""
    tested = comparison.tested
    assert tested is not None
    assert tested.checks.welch is not None
    tosts = dict(tested.sensitivity) | {0.5: tested.margin}
    for label, percent in MARGINS.items():
        at, tost = f"comparisons.{key(comparison)}.tost.{label}", tosts[percent]
        yield f"{at}.margin_abs", tost.margin, CLOSED
        for kind, test in (("paired", tested.paired), ("welch", tested.checks.welch)):
            lower, upper = test.p_above(-tost.margin), test.p_below(tost.margin)
            yield f"{at}.{kind}.p_lower", lower, CLOSED
            yield f"{at}.{kind}.p_upper", upper, CLOSED
            yield f"{at}.{kind}.p", max(lower, upper), CLOSED
            yield f"{at}.{kind}.t_lower", test.standardised(-tost.margin), CLOSED
            yield f"{at}.{kind}.t_upper", test.standardised(tost.margin), CLOSED
            yield f"{at}.{kind}.equivalent", max(lower, upper) < 0.05, 0
        yield f"{at}.welch.df", tested.checks.welch.df, CLOSED
        yield f"{at}.signflip_exact.p", tost.p_signflip, CLOSED
        yield f"{at}.signflip_exact.p_lower", tost.p_lower_signflip, CLOSED
        yield f"{at}.signflip_exact.p_upper", tost.p_upper_signflip, CLOSED
        posterior = margins.rope(tested.paired, tost.margin)
        yield f"{at}.bayes_rope_paired.p_better", posterior.below, CLOSED
        yield f"{at}.bayes_rope_paired.p_equivalent", posterior.within, CLOSED
        yield f"{at}.bayes_rope_paired.p_worse", posterior.above, CLOSED


def of_planning(comparison: Comparison) -> Iterator[tuple[str, Any, float]]:
    """Detectable differences and numbers of pairs."""
    tested, at = comparison.tested, f"comparisons.{key(comparison)}"
    assert tested is not None
    assert tested.checks.welch is not None
    base = published.golden()["descriptives"]["baseline"]["mean"]
    for label, k in (("alpha_05", 1), ("alpha_05_over_2", 2), ("alpha_05_over_3", 3)):
        for kind, test in (("paired", tested.paired), ("welch", tested.checks.welch)):
            smallest = power.detectable(test.df, 0.05 / k, 0.8)
            assert smallest is not None
            size = smallest * test.standard_error
            yield f"{at}.mde_80_power.{label}.abs_{kind}", size, NONCENTRAL
            yield f"{at}.mde_80_power.{label}.pct_{kind}", 100 * size / base, NONCENTRAL
            if kind == "paired":
                yield f"{at}.mde_80_power.{label}.dz_paired", smallest / 10**0.5, NONCENTRAL
    pairs = tested.planning.pairs_to_detect_margin
    yield f"{at}.planning.pairs_for_80_power_at_0_5pct", pairs, 0
    for label, percent in MARGINS.items():
        in_errors = percent / 100 * base / tested.paired.standard_error
        chance = power.tost_power(in_errors, 9, 0.05)
        yield f"{at}.planning.tost_power_paired_n10_true_diff_0.{label}", chance, QUADRATURE


def of_families(analysis: MultiseedAnalysis) -> Iterator[tuple[str, Any, float]]:
    """Holm's corrections and the verdicts."""
    for kind in ("paired", "welch"):
        p = {}
        for comparison in analysis.comparisons:
            assert comparison.tested is not None
            assert comparison.tested.checks.welch is not None
            test = comparison.tested.paired if kind == "paired" else comparison.tested.checks.welch
            p[key(comparison)] = test.p
        for family, size in (("family_of_3_all_pairs", 3), ("family_of_2_vs_baseline", 2)):
            names = list(p)[:size]
            adjusted = stats.holm([p[name] for name in names])
            for name, value in zip(names, adjusted, strict=True):
                yield f"corrections.{kind}.{family}.holm.{name}", value, CLOSED
    for comparison in analysis.comparisons[:2]:
        tested = comparison.tested
        assert tested is not None
        verdicts = {m.margin_percent: m.verdict for m in comparison.sensitivity}
        verdicts[0.5] = comparison.verdict
        tosts = dict(tested.sensitivity) | {0.5: tested.margin}
        for label, percent in MARGINS.items():
            at = f"verdicts.paired_with_signflip_guard.margin_{label}.{key(comparison)}"
            yield f"{at}.verdict", verdicts[percent].outcome.value, 0
            yield f"{at}.p_holm", comparison.p_holm, CLOSED
            yield f"{at}.p_signflip_holm", comparison.p_signflip_holm, CLOSED
            yield f"{at}.p_tost", tosts[percent].p, CLOSED
            yield f"{at}.p_tost_signflip", tosts[percent].p_signflip, CLOSED


def of_phase(analysis: MultiseedAnalysis) -> Iterator[tuple[str, Any, float]]:
    """What is said about the phase as a whole."""
    ratio = next(
        d.ratio
        for d in analysis.distances
        if (d.condition, d.predictor) == ("baseline", "affine_2_params")
    )
    assert ratio is not None
    yield "reference_predictors.baseline_percent_above_affine", 100 * (ratio - 1), CLOSED


def ends(interval: stats.Interval | None) -> list[float]:
    """Return an interval as the golden file writes it."""
    assert interval is not None
    return [interval.low, interval.high]


def key(comparison: Comparison) -> str:
    """Return the golden file's name of a comparison."""
    return f"{comparison.hypothesis.candidate}_vs_{comparison.hypothesis.reference}"


def computed(analysis: MultiseedAnalysis) -> Iterator[tuple[str, Any, float]]:
    """Every golden path that the package computes: path, value, relative tolerance."""
    yield from of_descriptives(analysis)
    for comparison in analysis.comparisons:
        yield from of_comparison(comparison)
    yield from of_families(analysis)
    yield from of_phase(analysis)


def expected() -> dict[str, Any]:
    """Every golden value by path; of statistics given as [statistic, p] the p alone is kept."""
    values = dict(leaves(published.golden()))
    for path in [path for path in values if "brown_forsythe" in path]:
        values[f"{path}.p"] = values.pop(path)[1]
    # Wilcoxon's W is another form of the same rank sum; the p is what is shown.
    return {path: value for path, value in values.items() if not path.endswith("wilcoxon_exact.W")}


def test_every_computed_value_is_the_golden_one(analysis: MultiseedAnalysis) -> None:
    """Closed forms agree to 1e-9, noncentral t values to 1e-6, verdicts exactly."""
    golden = expected()
    wrong = [
        f"{path}: {value} instead of {golden[path]}"
        for path, value, tolerance in computed(analysis)
        if value
        != (pytest.approx(golden[path], rel=tolerance, abs=0) if tolerance else golden[path])
    ]
    assert not wrong, "\n".join(wrong)


def test_every_golden_value_is_computed_or_named_with_a_reason(
    analysis: MultiseedAnalysis,
) -> None:
    """Coverage is visible: nothing is left out silently, and no exception is stale."""
    done = {path for path, _, _ in computed(analysis)}
    rest = set(expected()) - done
    matched = {
        pattern: {path for path in rest if fnmatch.fnmatchcase(path, pattern)}
        for pattern in NOT_COMPUTED
    }
    assert rest - set().union(*matched.values()) == set()
    assert [pattern for pattern, paths in matched.items() if not paths] == []
