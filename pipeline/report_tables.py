"""The report's larger tables as rows of cells, and small lookups that templates need.

Owns what stands in which cell; sentences live in templates/results/wording.md.j2.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline import markdown
from pipeline.analysis.comparison import Tested
from pipeline.analysis.effects import Effect
from pipeline.analysis.hypotheses import Comparison
from pipeline.analysis.multiseed import Arm, MultiseedAnalysis
from pipeline.analysis.references import Distance, Position
from pipeline.analysis.stats import Interval, TTest
from pipeline.analysis.table import AnalysisPlan, Hole, Measurement, ResultTable, RunRow
from pipeline.report_input import PhaseInfo

NOT_DEFINED = Markup("not defined")


@dataclass(frozen=True)
class TableRow:
    """A line of a table whose columns are hypotheses."""

    title: Markup
    cells: tuple[Markup, ...]


Cell = Callable[[Comparison, Tested], Markup]


def _rows(comparisons: Sequence[Comparison], lines: Sequence[tuple[str, Cell]]) -> list[TableRow]:
    return [
        TableRow(
            Markup(title),
            tuple(cell(c, c.tested) if c.tested else NOT_DEFINED for c in comparisons),
        )
        for title, cell in lines
    ]


def decision_rows(comparisons: Sequence[Comparison], plan: AnalysisPlan) -> list[TableRow]:
    """Return what the verdicts rest on."""
    pairs = tuple(Markup(f"{c.n_pairs} ({markdown.seeds(c.seeds)})") for c in comparisons)
    confidence, tost_level = markdown.level(1 - plan.alpha), markdown.level(1 - 2 * plan.alpha)
    tests = _rows(
        comparisons,
        (
            ("mean difference", lambda _, t: _estimate(t.paired)),
            (f"{confidence} CI", lambda _, t: _absolute(t.interval, t)),
            ("in percent", lambda _, t: markdown.percent(t.percent.value)),
            (f"{confidence} CI (Fieller)", lambda _, t: _bounds(t.percent.interval)),
            ("CI at Bonferroni's level", lambda _, t: _levelled(t.percent.interval_corrected)),
            (f"{tost_level} CI (for TOST)", lambda _, t: _bounds(t.percent.interval_tost)),
            ("paired t", lambda _, t: _t(t.paired)),
            ("p", lambda _, t: markdown.p_cell(t.p)),
            ("p, Holm", lambda c, _: markdown.p_cell(c.p_holm)),
            ("sign-flip p", lambda _, t: _signflip(t)),
            ("sign-flip p, Holm", lambda c, _: markdown.p_cell(c.p_signflip_holm)),
            (
                f"TOST p at {markdown.margin(plan.margin_percent)}",
                lambda _, t: markdown.p_cell(t.margin.p),
            ),
            ("TOST sign-flip p", lambda _, t: markdown.p_cell(t.margin.p_signflip)),
            (f"Hedges' g, {confidence} CI", lambda _, t: _effect(t.hedges_g)),
            (f"d_z, {confidence} CI", lambda _, t: _effect(t.d_z)),
        ),
    )
    return [TableRow(Markup("pairs (seeds)"), pairs), *tests]


def check_rows(comparisons: Sequence[Comparison], plan: AnalysisPlan) -> list[TableRow]:
    """Return the other analyses of the same numbers."""
    power = markdown.level(plan.power)
    return _rows(
        comparisons,
        (
            ("Welch's t (unpaired)", lambda _, t: _welch(t)),
            ("Wilcoxon, exact", lambda _, t: markdown.p_cell(t.checks.wilcoxon_p)),
            ("one seed left out", lambda _, t: _bounds(t.checks.without_one_seed)),
            (
                "largest p of those",
                lambda _, t: markdown.p_cell(t.checks.largest_p_without_one),
            ),
            ("posterior: below, inside, above the margin", lambda _, t: _posterior(t)),
            ("pairs that improve", lambda _, t: _improved(t, plan)),
            ("correlation over seeds", lambda _, t: _plain(t.checks.seed_correlation)),
            ("ratio of sds", lambda _, t: _plain(t.checks.spread_ratio)),
            ("Brown-Forsythe p", lambda _, t: markdown.p_cell(t.checks.spread_p)),
            (
                f"detectable at power {power}",
                lambda _, t: _plus_minus(t.planning.detectable_percent),
            ),
            (
                "the same at Bonferroni's level",
                lambda _, t: _plus_minus(t.planning.detectable_percent_corrected),
            ),
        ),
    )


def _estimate(test: TTest) -> Markup:
    return Markup(
        f"{markdown.signed(test.estimate, test.standard_error)} "
        f"(SE {markdown.short(test.standard_error)})"
    )


def _absolute(bounds: Interval, tested: Tested) -> Markup:
    error = tested.paired.standard_error
    low, high = markdown.signed(bounds.low, error), markdown.signed(bounds.high, error)
    return Markup(f"[{low}, {high}]")


def _bounds(bounds: Interval | None) -> Markup:
    return markdown.percent_interval(bounds)


def _levelled(bounds: Interval | None) -> Markup:
    if bounds is None:
        return NOT_DEFINED
    return Markup(f"{markdown.percent_interval(bounds)} ({markdown.level(bounds.level)})")


def _t(test: TTest) -> Markup:
    return Markup(f"t({test.df:.3g}) = {test.t:.3f}")


def _welch(tested: Tested) -> Markup:
    test = tested.checks.welch
    return NOT_DEFINED if test is None else Markup(f"{_t(test)}, {markdown.p_text(test.p)}")


def _signflip(tested: Tested) -> Markup:
    how = "exact" if tested.signflip.exact else "Monte Carlo"
    return Markup(f"{markdown.p_cell(tested.signflip.p)} ({how})")


def _effect(effect: Effect | None) -> Markup:
    if effect is None:
        return NOT_DEFINED
    if effect.interval is None:
        return Markup(f"{effect.value:+.2f}")
    return Markup(f"{effect.value:+.2f} [{effect.interval.low:+.2f}, {effect.interval.high:+.2f}]")


def _posterior(tested: Tested) -> Markup:
    shares = tested.checks.posterior
    return Markup(f"{shares.below:.3f}, {shares.within:.3f}, {shares.above:.3f}")


def _plain(value: float | None) -> Markup:
    return NOT_DEFINED if value is None else Markup(f"{value:.2f}")


def _improved(tested: Tested, plan: AnalysisPlan) -> Markup:
    sign = -1 if plan.direction == "minimize" else 1
    improved = sum(sign * d > 0 for d in tested.differences)
    ties = sum(d == 0 for d in tested.differences)
    return Markup(f"{improved} of {len(tested.differences)}" + (f" ({ties} tied)" if ties else ""))


def _plus_minus(value: float | None) -> Markup:
    return NOT_DEFINED if value is None else markdown.margin(value)


@dataclass(frozen=True)
class SeedCell:
    """A place in the table of values: a run, or why there is none, or nothing was planned."""

    run: RunRow | None
    hole: Hole | None


@dataclass(frozen=True)
class SeedRow:
    """One line of the table of values: a seed and a cell for each condition."""

    seed: int
    cells: tuple[SeedCell, ...]


def seed_rows(analysis: MultiseedAnalysis) -> list[SeedRow]:
    """Return an analysed phase's values by seed, a row for every planned one."""
    runs = [run for arm in analysis.arms for run in arm.runs]
    return _by_seed([arm.condition for arm in analysis.arms], runs, analysis.holes)


def value_rows(table: ResultTable) -> list[SeedRow]:
    """Return the values that there are so far by seed, a row for every planned one."""
    return _by_seed(table.conditions, table.rows, table.holes)


def _by_seed(
    conditions: Sequence[str], rows: Sequence[RunRow], holes: Sequence[Hole]
) -> list[SeedRow]:
    runs = {(row.seed, row.condition): row for row in rows}
    gaps = {(hole.seed, hole.condition): hole for hole in holes}
    return [
        SeedRow(
            seed,
            tuple(SeedCell(runs.get((seed, c)), gaps.get((seed, c))) for c in conditions),
        )
        for seed in sorted({seed for seed, _ in (*runs, *gaps)})
    ]


def seed_places(arms: Sequence[Arm]) -> int:
    """Return the decimals of the table of values: the finest that any condition's mean has."""
    errors = [arm.described.standard_error for arm in arms if arm.described]
    return max((markdown.digits(error) for error in errors if error), default=6)


def job_ids(runs: Sequence[RunRow]) -> Markup:
    """Return the jobs that made some runs, and how many tasks of each did."""
    tasks: dict[str, set[int]] = {}
    for run in runs:
        if run.facts.job_id:
            found = tasks.setdefault(run.facts.job_id, set())
            found.update([] if run.facts.array_index is None else [run.facts.array_index])
    names = [
        markdown.escape(job) + (f" ({len(indices)} tasks)" if len(indices) > 1 else "")
        for job, indices in tasks.items()
    ]
    return Markup(", ".join(names)) or markdown.NOT_RECORDED


@dataclass(frozen=True)
class Place:
    """One task, or where its number is not known one node, and the runs with a result from it."""

    phase: str
    job_id: str | None
    array_index: int | None
    node: str | None
    runs: Mapping[str, tuple[int, ...]]
    """Condition -> seeds."""


def places_of(phases: Iterable[PhaseInfo]) -> list[Place]:
    """Return where each run with a result ran, by phase, job and array index."""
    return [place for phase in phases for place in _places(phase.id, phase.rows)]


def _places(phase: str, rows: Sequence[RunRow]) -> list[Place]:
    runs: dict[tuple[str | None, int | None, str | None], dict[str, tuple[int, ...]]] = {}
    for row in rows:
        seeds = runs.setdefault((row.facts.job_id, row.facts.array_index, row.facts.node), {})
        seeds[row.condition] = (*seeds.get(row.condition, ()), row.seed)
    places = [Place(phase, *place, seeds) for place, seeds in runs.items()]
    return sorted(places, key=lambda p: (p.job_id or "", p.array_index or 0))


@dataclass(frozen=True)
class ReferenceGroups:
    """Predictors by where every condition's interval lies."""

    above: list[str]
    """Those that every condition's mean is above of."""
    below: list[str]
    mixed: list[str]


def reference_groups(analysis: MultiseedAnalysis) -> ReferenceGroups:
    """Sort the predictors by whether all conditions lie on the same side."""
    groups = ReferenceGroups([], [], [])
    for name in analysis.references:
        positions = {d.position for d in analysis.distances if d.predictor == name}
        if positions == {Position.ABOVE}:
            groups.above.append(name)
        elif positions == {Position.BELOW}:
            groups.below.append(name)
        else:
            groups.mixed.append(name)
    return groups


def distance_cell(
    distances: Sequence[Distance], references: Mapping[str, Measurement], name: str, condition: str
) -> Markup:
    """Return a condition's distance to a predictor: in percent of it, far away as a multiple."""
    found = [d for d in distances if (d.predictor, d.condition) == (name, condition)]
    base = abs(references[name].value)
    if not found or not base:
        return markdown.NOT_MEASURED
    (item,) = found
    if item.ratio is not None and not 0.1 < item.ratio < 10:
        return Markup(f"{item.ratio:.3g} times")
    value = markdown.percent(100 * item.difference / base)
    if item.interval is None:
        return value
    low, high = (100 * end / base for end in (item.interval.low, item.interval.high))
    return Markup(f"{value} [{markdown.percent(low)}, {markdown.percent(high)}]")


def other_margins(comparison: Comparison) -> Markup:
    """Return the outcome under each other declared margin, as "±1.00%: EQUIVALENT"."""
    return Markup(
        ", ".join(
            f"{markdown.margin(other.margin_percent)} {other.verdict.outcome}"
            for other in comparison.sensitivity
        )
    )


def turns(comparison: Comparison) -> bool:
    """Is there a declared margin under which the outcome is another one?"""
    outcomes = {other.verdict.outcome for other in comparison.sensitivity}
    return bool(outcomes - {comparison.verdict.outcome})


def metric_names(arms: Sequence[Arm]) -> list[str]:
    """Return the names of the further metrics that any condition has."""
    return list(dict.fromkeys(name for arm in arms for name in arm.others))
