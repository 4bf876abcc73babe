"""The numbers that stand for a run's diagnostics, and what may be estimated from them over runs.

The run is the unit. Every estimate with a p enters one family, corrected together (Benjamini &
Hochberg 1995): its q is the smallest false discovery rate at which the estimate would stand out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from scipy import stats as scipy_stats

from pipeline.analysis.cka import effective_dimension, gram_matrix
from pipeline.analysis.courses import OWN, PROBE, TWO_SAMPLE, Course, Courses
from pipeline.analysis.features import Levels
from pipeline.analysis.recording import Recording, Recordings
from pipeline.analysis.stats import (
    Descriptives,
    Interval,
    StatisticsError,
    TTest,
    describe,
    differences,
    pair_by_seed,
    paired_t,
)
from pipeline.analysis.table import ResultTable

LEVEL = 0.95
FALSE_DISCOVERY_RATE = 0.10
_COSINE = "gradient_cosine"
"""What has a zero of its own: losses whose gradients neither help nor oppose each other."""


@dataclass(frozen=True)
class Quantity:
    """One number of every run."""

    name: str
    what: str
    values: Mapping[str, Mapping[int, float]]
    """Condition -> seed -> value; conditions without it have none."""

    def described(self, condition: str) -> Descriptives | None:
        """Mean over runs with its t interval; None without any run."""
        values = list(self.values.get(condition, {}).values())
        return describe(values, LEVEL) if values else None


class Kind(StrEnum):
    """What an estimate is of."""

    DIFFERENCE = "difference"
    """Mean paired difference, candidate - reference."""
    FROM_ZERO = "from zero"
    """Mean of one condition, against zero."""
    MOVED = "moved"
    """Of learned features, see `pipeline.analysis.features`."""
    APART = "apart"


@dataclass(frozen=True)
class Finding:
    """An estimate over runs; None where the runs do not allow it."""

    kind: Kind
    name: str
    """The quantity, or the hidden layer of learned features."""
    candidate: str
    reference: str
    """Empty for one condition against zero."""
    seeds: tuple[int, ...]
    estimate: float | None = None
    interval: Interval | None = None
    p: float = 1.0
    """Two-sided; of learned features one-sided. 1 where it cannot be tested: it was meant to be."""
    untestable: str = ""
    q: float = 1.0

    @property
    def stands_out(self) -> bool:
        """Is it among those that the false discovery rate lets stand out?"""
        return self.estimate is not None and self.q <= FALSE_DISCOVERY_RATE


def quantity_label(name: str) -> str:
    """Return a diagnostic's name as prose: own_ks_share becomes "own mining: KS share"."""
    if name.startswith(f"{OWN}_"):
        return f"own mining: {quantity_label(name.removeprefix(f'{OWN}_'))}"
    words = name.split("_")
    if words[:2] == ["feature", "dimension"]:
        return f"feature dimension, {' '.join(words[2:])} layer"
    return {"mmd_squared": "MMD²"}.get(name, " ".join("KS" if w == "ks" else w for w in words))


def quantities_of(
    table: ResultTable, recordings: Recordings, courses: Courses
) -> tuple[Quantity, ...]:
    """Return what the trainer summarised of each run, then what the recordings hold beyond it."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    what: dict[str, str] = {}
    for row in table.rows:
        recording = recordings[row.condition].get(row.seed)
        if recording is None:
            continue
        what |= {n: recording.explained[n] for n in row.diagnostics if n in recording.explained}
        for name, value in row.diagnostics.items():
            found.setdefault(name, {}).setdefault(row.condition, {})[row.seed] = value
    for condition, of in recordings.items():
        for seed, recording in of.items():
            for name, (value, text) in _derived(recording, courses[condition][seed]).items():
                found.setdefault(name, {}).setdefault(condition, {})[seed] = value
                what[name] = text
    # Of equal procedures, what all conditions are probed with first.
    ordered = sorted(found, key=lambda name: name.startswith(f"{OWN}_"))
    return tuple(Quantity(name, what.get(name, ""), found[name]) for name in ordered)


def _derived(recording: Recording, courses: Sequence[Course]) -> dict[str, tuple[float, str]]:
    """Two-sample statistics at the last record, and how many directions features vary in."""
    values = {}
    for course in courses:
        if course.name in TWO_SAMPLE:
            own = course.procedure == OWN
            name = f"{course.procedure}_{course.name}" if course.procedure != PROBE else course.name
            text = TWO_SAMPLE[course.name] + ("; own mining" if own else "")
            values[name] = float(course.values[-1]), text
    for layer in recording.labels["hidden layer"]:
        gram = gram_matrix(recording.take("gram", hidden_layer=layer)[-1])
        text = f"last, participation ratio of the variances of features, {layer} hidden layer"
        values[f"feature_dimension_{layer}"] = effective_dimension(gram), text
    return values


def findings_of(
    quantities: Sequence[Quantity],
    levels: Sequence[Levels],
    conditions: Sequence[str],
    reference: str,
) -> tuple[Finding, ...]:
    """Estimate all there is and correct it together."""
    found: list[Finding] = []
    for quantity in (quantity for quantity in quantities if reference in quantity.values):
        found += [
            _difference(quantity, name, reference)
            for name in conditions
            if name != reference and name in quantity.values
        ]
    found += _cosines(quantities, conditions)
    for level in levels:
        found += [_of_features(Kind.APART, level), _of_features(Kind.MOVED, level)]
    if not found:
        return ()
    corrected = scipy_stats.false_discovery_control([finding.p for finding in found], method="bh")
    return tuple(replace(f, q=float(q)) for f, q in zip(found, corrected, strict=True))


def _cosines(quantities: Sequence[Quantity], conditions: Sequence[str]) -> list[Finding]:
    """Of each condition against zero, with its own mining where it has one."""
    named = {quantity.name: quantity for quantity in quantities}
    found = []
    for condition in conditions:
        for name in (f"{OWN}_{_COSINE}", _COSINE):
            if name in named and condition in named[name].values:
                found.append(_from_zero(named[name], condition))
                break
    return found


def _difference(quantity: Quantity, candidate: str, reference: str) -> Finding:
    ours, theirs = quantity.values[candidate], quantity.values[reference]
    seeds = sorted(set(ours) & set(theirs))
    pairs = pair_by_seed({s: ours[s] for s in seeds}, {s: theirs[s] for s in seeds})
    bare = Finding(Kind.DIFFERENCE, quantity.name, candidate, reference, tuple(seeds))
    if seeds:
        bare = replace(bare, estimate=float((pairs[0] - pairs[1]).mean()))
    try:
        return _tested(bare, paired_t(*pairs))
    except StatisticsError as error:
        return replace(bare, untestable=str(error))


def _from_zero(quantity: Quantity, condition: str) -> Finding:
    values = quantity.values[condition]
    seeds = tuple(sorted(values))
    bare = Finding(Kind.FROM_ZERO, quantity.name, condition, "", seeds)
    numbers = [values[seed] for seed in seeds]
    bare = replace(bare, estimate=sum(numbers) / len(numbers))
    try:
        differences(numbers, [0.0] * len(numbers))
        found = describe(numbers, LEVEL)
        assert found.standard_error is not None
        return _tested(bare, TTest(found.mean, found.standard_error, found.n - 1))
    except StatisticsError as error:
        return replace(bare, untestable=str(error))


def _of_features(kind: Kind, level: Levels) -> Finding:
    test = level.apart if kind is Kind.APART else level.moved
    bare = Finding(kind, level.layer, level.candidate, level.reference, level.seeds)
    return replace(_tested(bare, test), p=_above_zero(test))


def _above_zero(test: TTest) -> float:
    # Equal terms have no spread: p_above is then 0, 1/2 or 1, and certainty is not to be had.
    return test.p_above(0.0) if test.standard_error else 1.0


def _tested(bare: Finding, test: TTest) -> Finding:
    return replace(bare, estimate=test.estimate, interval=test.interval(LEVEL), p=test.p)
