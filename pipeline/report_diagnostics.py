"""The tables of a diagnostics phase as rows of cells, and its findings sorted for sentences.

Owns what stands in which cell; sentences live in templates/results/diagnostics_wording.md.j2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from pipeline import markdown
from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.analysis.features import Levels
from pipeline.analysis.quantities import LEVEL, Finding, Kind, quantity_label
from pipeline.analysis.stats import Descriptives, TTest

NONE_RECORDED = Markup("none")
NOT_TESTED = Markup("not tested")


@dataclass(frozen=True)
class EstimateRow:
    """A diagnostic, and what it is in each condition."""

    name: str
    what: str
    cells: tuple[Markup, ...]


@dataclass(frozen=True)
class FindingRow:
    """An estimate with its interval and what corrects it."""

    finding: Finding
    estimate: Markup
    p: Markup
    q: Markup


@dataclass(frozen=True)
class FeatureRow:
    """One hidden layer, one candidate: CKA of runs that differ in seed, in condition, in both."""

    level: Levels
    cells: tuple[Markup, ...]
    apart: FindingRow
    moved: FindingRow


@dataclass(frozen=True)
class PossibleExplanation:
    """A hypothesis with the findings of one phase that bear on it, all of which stand out."""

    text: str
    findings: tuple[Finding, ...]


def estimate_rows(analysis: DiagnosticsAnalysis) -> list[EstimateRow]:
    """Return the mean of every diagnostic in every condition, with its t interval."""
    return [
        EstimateRow(
            quantity.name,
            quantity.what,
            tuple(_described(quantity.described(name)) for name in analysis.conditions),
        )
        for quantity in analysis.quantities
    ]


def _described(found: Descriptives | None) -> Markup:
    if found is None:
        return NONE_RECORDED
    mean = markdown.number(found.mean, found.standard_error)
    if found.interval is None:
        return mean
    return Markup(f"{mean} {markdown.interval(found.interval, found.standard_error)}")


def finding_rows(analysis: DiagnosticsAnalysis, kind: str) -> list[FindingRow]:
    """Return the findings of a kind, in the order of the analysis."""
    return [_row(finding) for finding in analysis.findings if finding.kind == kind]


def _row(finding: Finding) -> FindingRow:
    if finding.interval is None:
        shown = NOT_TESTED if finding.estimate is None else signed_estimate(finding)
        return FindingRow(finding, shown, NOT_TESTED, NOT_TESTED)
    q = markdown.p_cell(finding.q)
    return FindingRow(
        finding,
        signed_estimate(finding),
        markdown.p_cell(finding.p),
        Markup(f"**{q}**") if finding.stands_out else q,
    )


def signed_estimate(finding: Finding) -> Markup:
    """Return an estimate with its sign and interval, to the digits of its standard error."""
    value = estimate_of(finding)
    return value if finding.interval is None else Markup(f"{value} {interval_of(finding)}")


def estimate_of(finding: Finding) -> Markup:
    """Return an estimate with its sign."""
    assert finding.estimate is not None
    return markdown.signed(finding.estimate, _error(finding))


def interval_of(finding: Finding) -> Markup:
    """Return the interval of a finding that was tested."""
    assert finding.interval is not None
    ends = (finding.interval.low, finding.interval.high)
    low, high = (markdown.signed(end, _error(finding)) for end in ends)
    return Markup(f"[{low}, {high}]")


def _error(finding: Finding) -> float:
    """About one standard error, for the digits."""
    bounds = finding.interval
    return (bounds.high - bounds.low) / 4 if bounds else 0.0


def feature_rows(analysis: DiagnosticsAnalysis) -> list[FeatureRow]:
    """Return, layer by layer, how alike the features of two runs are."""
    found = {(f.kind, f.name, f.candidate): f for f in analysis.findings}
    return [
        FeatureRow(
            level,
            tuple(
                _mean(test)
                for test in (
                    level.seed_to_seed[level.reference],
                    level.seed_to_seed[level.candidate],
                    level.both_differ,
                    level.equal_seed,
                )
            ),
            _row(found[Kind.APART, level.layer, level.candidate]),
            _row(found[Kind.MOVED, level.layer, level.candidate]),
        )
        for level in analysis.levels
    ]


def _mean(test: TTest) -> Markup:
    bounds = test.interval(LEVEL)
    error = test.standard_error
    return Markup(f"{markdown.number(test.estimate, error)} {markdown.interval(bounds, error)}")


def standing_out(analysis: DiagnosticsAnalysis) -> list[Finding]:
    """Return the findings that the false discovery rate lets stand out, the surest first."""
    return sorted((f for f in analysis.findings if f.stands_out), key=lambda f: (f.q, f.p))


def apart_by_candidate(analysis: DiagnosticsAnalysis) -> dict[str, list[Finding]]:
    """Return, by candidate, whether each hidden layer differs beyond what another seed makes."""
    found: dict[str, list[Finding]] = {}
    for finding in analysis.findings:
        if finding.kind is Kind.APART:
            found.setdefault(finding.candidate, []).append(finding)
    return found


def possible_explanations(
    analysis: DiagnosticsAnalysis, label: Callable[[str], str]
) -> list[PossibleExplanation]:
    """Return hypotheses that findings which stand out bear on, equal texts together."""
    found: dict[str, list[Finding]] = {}
    for item in analysis.explanations:
        if item.stands_out:
            names: Mapping[str, str] = {
                "candidate": label(item.finding.candidate),
                "reference": label(item.finding.reference),
            }
            found.setdefault(item.hypothesis.format(**names), []).append(item.finding)
    return [PossibleExplanation(text, tuple(of)) for text, of in found.items()]


def unresolved_explanations(
    analysis: DiagnosticsAnalysis, label: Callable[[str], str]
) -> list[str]:
    """Return the diagnostics that would bear on an explanation and do not stand out."""
    found: dict[str, list[str]] = {}
    for item in analysis.explanations:
        if not item.stands_out:
            found.setdefault(diagnostic_of(item.finding), []).append(label(item.finding.candidate))
    return [f"{name} ({', '.join(dict.fromkeys(of))})" for name, of in found.items()]


def diagnostic_of(finding: Finding) -> str:
    """Return what was estimated, as prose."""
    if finding.kind in (Kind.APART, Kind.MOVED):
        return f"features of the {finding.name} hidden layer, {finding.kind}"
    return quantity_label(finding.name)
