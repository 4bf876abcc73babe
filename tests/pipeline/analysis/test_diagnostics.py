"""Diagnostics: estimates over runs, their correction, features against seeds, hypotheses."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import statsmodels.stats.multitest
from scipy import stats

from pipeline.analysis.courses import courses_of, first_half, fixed_levels
from pipeline.analysis.diagnostics import DiagnosticsAnalysis, analyse_diagnostics
from pipeline.analysis.energies import histograms, standardised
from pipeline.analysis.jackknife import jackknife
from pipeline.analysis.quantities import Finding, Kind
from pipeline.analysis.recording import Recording
from pipeline.analysis.stats import StatisticsError
from pipeline.analysis.table import AnalysisPlan, Measurement, ResultTable, RunFacts, RunRow
from pipeline.recordings import parse_recording
from tests.pipeline.recorded import Planted, recorded

PLAN = AnalysisPlan("loss", "minimize", "base")
MINING = Planted(effect=0.6, noise=0.02, own=True)
PLAIN = Planted(noise=0.02)


def analysed(
    conditions: Mapping[str, Planted], seeds: Sequence[int] = range(5), salted: bool = True
) -> DiagnosticsAnalysis:
    """Analyse synthetic runs; conditions differ by what was planted, and by noise of their own."""
    rows: list[RunRow] = []
    recordings: dict[str, dict[int, Recording]] = {}
    for salt, (name, planted) in enumerate(conditions.items()):
        recordings[name] = {}
        for seed in seeds:
            numbers, content = recorded(planted, seed, salt if salted else 0)
            recordings[name][seed] = parse_recording(content)
            facts = RunFacts(f"runs/d/{name}-s{seed}/result.json", commit="c" * 40, dirty=False)
            loss = {"loss": Measurement(1.0, 0.1, 9)}
            rows.append(
                RunRow("d", name, seed, f"{name}-s{seed}", loss, {}, {"v": "d"}, facts, numbers)
            )
    table = ResultTable("d", tuple((r.condition, r.seed) for r in rows), tuple(rows))
    return analyse_diagnostics(table, PLAN, recordings, ())


def of(analysis: DiagnosticsAnalysis, kind: Kind, name: str) -> Finding:
    """The finding of a kind and a name."""
    (found,) = (f for f in analysis.findings if (f.kind, f.name) == (kind, name))
    return found


def test_a_planted_difference_is_found_with_its_sign() -> None:
    """Mined solutions farther away, gradients opposed, features apart: each stands out."""
    analysis = analysed({"base": PLAIN, "arm": MINING})
    assert of(analysis, Kind.DIFFERENCE, "distance").estimate == pytest.approx(0.57, abs=0.05)
    for name, sign in {
        "distance": 1,
        "false_negative_share": -1,
        "gradient_cosine": -1,
        "clipped_share": 1,
        "energy_distance": 1,
        "mmd_squared": 1,
    }.items():
        found = of(analysis, Kind.DIFFERENCE, name)
        assert found.stands_out, name
        assert np.sign(found.estimate or 0) == sign, name
        assert found.interval is not None
        assert found.interval.low * sign > 0 or found.interval.high * sign > 0
    for layer in ("first", "second"):
        assert of(analysis, Kind.APART, layer).stands_out


def test_identical_arms_show_nothing() -> None:
    """Bit-identical conditions: differences are zero with p = 1, and no hypothesis is offered."""
    analysis = analysed({"base": PLAIN, "arm": PLAIN}, salted=False)
    differences = [f for f in analysis.findings if f.kind is not Kind.FROM_ZERO]
    assert len(differences) > 8
    for finding in differences:
        assert not finding.stands_out, finding
        if finding.kind is Kind.DIFFERENCE:
            assert (finding.estimate, finding.p) == (0, 1)
    for level in analysis.levels:
        assert level.apart.estimate == pytest.approx(0, abs=1e-12)
        assert level.equal_seed.estimate == pytest.approx(1, abs=1e-6)
    assert not any(e.stands_out for e in analysis.explanations)


def test_conditions_that_differ_by_noise_alone_seldom_stand_out() -> None:
    """A study in which nothing is true has something standing out about as often as declared."""
    noisy = Planted(noise=0.3)
    hits = 0
    for study in range(40):
        analysis = analysed({"base": noisy, "arm": noisy}, seeds=range(10 * study, 10 * study + 4))
        hits += any(f.stands_out for f in analysis.findings if f.kind is not Kind.FROM_ZERO)
    # Correlated diagnostics make it rarer than 10% of studies; 9 of 40 would be far beyond it.
    assert hits <= 9


def test_every_q_is_that_of_benjamini_and_hochberg() -> None:
    """Over all findings of the phase at once, against statsmodels."""
    analysis = analysed({"base": PLAIN, "arm": MINING, "other": Planted(0.1, 0.2, own=True)})
    p = [finding.p for finding in analysis.findings]
    oracle = statsmodels.stats.multitest.multipletests(p, method="fdr_bh")[1]
    assert [finding.q for finding in analysis.findings] == pytest.approx(list(oracle))
    assert all(f.q >= f.p for f in analysis.findings)
    assert len(p) > 30


def test_differences_are_paired_by_seed() -> None:
    """Estimate, interval and p of scipy's paired t test, with n - 1 degrees of freedom."""
    analysis = analysed({"base": PLAIN, "arm": MINING})
    (quantity,) = (q for q in analysis.quantities if q.name == "distance")
    c, r = ([quantity.values[name][seed] for seed in range(5)] for name in ("arm", "base"))
    oracle = stats.ttest_rel(c, r)
    found = of(analysis, Kind.DIFFERENCE, "distance")
    bounds = oracle.confidence_interval(0.95)
    assert found.p == pytest.approx(oracle.pvalue)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((bounds.low, bounds.high))


def test_a_condition_without_its_own_mining_is_not_compared_in_it() -> None:
    """What the reference cannot have is described for the others, and in no family."""
    analysis = analysed({"base": PLAIN, "arm": MINING})
    own = [q for q in analysis.quantities if q.name.startswith("own_")]
    assert own
    assert all(set(q.values) == {"arm"} for q in own)
    kinds = {f.kind for f in analysis.findings if f.name.startswith("own_")}
    assert kinds == {Kind.FROM_ZERO}
    zero = {(f.candidate, f.name) for f in analysis.findings if f.kind is Kind.FROM_ZERO}
    assert zero == {("base", "gradient_cosine"), ("arm", "own_gradient_cosine")}


def test_with_two_seeds_there_is_no_telling_seed_from_condition() -> None:
    """Differences keep their interval, features have none."""
    analysis = analysed({"base": PLAIN, "arm": MINING}, seeds=[3, 4])
    assert analysis.levels == ()
    assert of(analysis, Kind.DIFFERENCE, "distance").interval is not None


def test_without_a_usable_recording_there_is_nothing_and_no_error() -> None:
    """All runs failed, or none recorded: an empty analysis."""
    table = ResultTable("d", (), ())
    analysis = analyse_diagnostics(table, PLAN, {}, ())
    assert (analysis.findings, analysis.quantities, analysis.energies) == ((), (), None)


def test_differences_without_spread_stay_in_the_family_untested() -> None:
    """A constant shift cannot be tested; its p counts as 1."""
    flat = analysed({"base": Planted(), "arm": Planted(effect=0.0, own=True)}, salted=False)
    assert {f.p for f in flat.findings if f.kind is Kind.DIFFERENCE} == {1.0}


def test_the_jackknife_of_a_mean_is_its_t_interval() -> None:
    """Leaving out one value at a time is the classical standard error of a mean."""
    values = np.random.default_rng(1).standard_normal(7)
    found = jackknife(range(7), lambda chosen: float(values[list(chosen)].mean()))
    assert found.standard_error == pytest.approx(float(stats.sem(values)))
    assert found.estimate == pytest.approx(values.mean())
    assert found.df == 6
    with pytest.raises(StatisticsError, match="at least 3"):
        jackknife([1, 2], lambda _: 0.0)


def test_the_interval_of_a_mean_over_pairs_of_seeds_covers() -> None:
    """95% intervals of means over pairs hold the truth in about 95% of 600 draws.

    Intervals that took the 10 pairs of 5 seeds for independent would hold it in far fewer.
    """
    rng, n = np.random.default_rng(5), 5
    covered = naive = 0
    for _ in range(600):
        luck = rng.standard_normal(n)
        pair = luck[:, None] + luck + 0.3 * rng.standard_normal((n, n))

        def mean(chosen: Sequence[int], pair: np.ndarray = pair) -> float:
            part = pair[np.ix_(list(chosen), list(chosen))]
            return float(part[np.triu_indices(len(part), 1)].mean())

        bounds = jackknife(range(n), mean).interval(0.95)
        covered += bounds.low <= 0 <= bounds.high
        values = pair[np.triu_indices(n, 1)]
        naive += abs(values.mean()) <= stats.t.ppf(0.975, 9) * stats.sem(values)
    assert 0.92 < covered / 600 < 0.99
    assert naive / 600 < 0.85


def test_halves_of_the_probes_share_their_noise_levels() -> None:
    """Both have as many of each level, so that the level is no difference between them."""
    level = np.arange(48) % 4
    half = first_half(level.astype(float))
    counts = [np.bincount(level[part]).tolist() for part in (half, ~half)]
    assert counts[0] == counts[1] == [6, 6, 6, 6]


def test_courses_have_a_value_for_every_record() -> None:
    """Shares lie in [0, 1]; the two-sample statistics fall to the level of equal samples."""
    recording = parse_recording(recorded(Planted(effect=-1.0), 3)[1])  # mining ends at the truth
    courses = {course.name: course.values for course in courses_of(recording)}
    for name, values in courses.items():
        assert values.shape == recording.steps.shape
        assert not name.endswith("share") or ((values >= 0) & (values <= 1)).all()
    for name in ("energy_distance", "ks_statistic", "mmd_squared"):
        equal = fixed_levels(recording)[name]["inverse"]
        assert courses[name][0] > equal
        assert courses[name][-1] == pytest.approx(equal, abs=0.03)
    assert courses["distance"][-1] < 0.1 * courses["distance"][0]


def test_energies_are_standardised_within_their_noise_level() -> None:
    """True inverses have mean 0 at every level and unit spread, whatever the run's scale."""
    recording = parse_recording(recorded(PLAIN, 3)[1])
    truth, level = standardised(recording)["inverse"], recording.arrays["level"]
    for value in range(4):
        assert truth[:, level == value].mean(axis=1) == pytest.approx(np.zeros(4), abs=1e-9)
    assert (truth**2).mean(axis=1) == pytest.approx(np.ones(4))
    found = histograms({"base": [recording, recording]})
    assert found is not None
    widths = np.diff(found.edges)
    for densities in found.densities["base"].values():
        assert densities @ widths == pytest.approx(np.ones(3))
    assert histograms({"base": []}) is None


def test_hypotheses_follow_the_sign_of_what_stands_out() -> None:
    """Each is tied to its finding, with estimate, interval and q; the baseline gets none."""
    analysis = analysed({"base": PLAIN, "arm": MINING})
    (far,) = (e for e in analysis.explanations if e.diagnostic == "distance")
    assert far.stands_out
    assert "far from the true inverse" in far.hypothesis
    assert (far.estimate, far.q) == (far.finding.estimate, far.finding.q)
    assert far.interval is not None
    assert far.interval.low > 0
    (other,) = (
        e
        for e in analysed({"base": MINING, "arm": PLAIN}).explanations
        if e.diagnostic == "distance"
    )
    assert "close to the true inverse" in other.hypothesis
    for e in analysis.explanations:
        assert e.finding.candidate == "arm"
        assert e.hypothesis.format(candidate="C", reference="R").count("{") == 0
