"""Gates between phases: what must hold before the study goes on. Pure: results in, outcomes out.

`pipeline status` asks which gates are closed, so nothing heavy is imported here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from pipeline.alarms import alarms_of
from pipeline.errors import PipelineError
from pipeline.state import GateRecord, OverrideRecord, RunStatus, State
from pipeline.words import and_more, count

if TYPE_CHECKING:
    from pipeline.analysis.table import AnalysisPlan, ResultTable

_ENDED = (RunStatus.DONE, RunStatus.FAILED)
Outcome = tuple[bool, str]
"""Whether a gate is open, and the numbers behind it."""


def evaluate(
    gates: Sequence[str], table: "ResultTable", plan: "AnalysisPlan"
) -> tuple[GateRecord, ...]:
    """What each declared gate of a complete phase comes to, in the order of the study."""
    records = []
    for name in gates:
        kind, _, argument = name.partition(":")
        passed, words = _KINDS[kind](table, plan, argument)
        records.append(GateRecord(name=name, passed=passed, words=words))
    return tuple(records)


def closed_gates(state: State, phase: str) -> tuple[GateRecord, ...]:
    """Gates and alarms that keep a phase from being left, but those that a person has overridden.

    An alarm counts at once; a gate only while the runs that it was evaluated on are all there is.
    """
    record = state.phases[phase]
    ended = all(run.status in _ENDED for run in state.runs_of(phase).values())
    gates = record.gates if ended else ()
    overridden = {override.gate for override in record.overrides}
    found = (*alarms_of(state, phase), *gates)
    return tuple(gate for gate in found if not gate.passed and gate.name not in overridden)


def overridden(
    state: State, names: Sequence[str], reason: str, at: str
) -> tuple[State, str, tuple[OverrideRecord, ...]]:
    """The state after a person's decision, the phase it is about, and what was decided.

    Raises:
        PipelineError: no gate is closed, or none of such a name.
    """
    phase = next((name for name in state.phases if closed_gates(state, name)), None)
    if phase is None:
        raise PipelineError("no gate is closed and no alarm raised; there is nothing to override")
    valid = [gate.name for gate in closed_gates(state, phase)]
    for name in names:
        if name not in valid:
            raise PipelineError(
                f'no gate "{name}" is closed in phase {phase}; closed: {", ".join(valid)}'
            )
    decided = tuple(OverrideRecord(gate=name, reason=reason, at=at) for name in names)
    record = replace(state.phases[phase], overrides=(*state.phases[phase].overrides, *decided))
    return replace(state, phases={**state.phases, phase: record}), phase, decided


def _all_runs_complete(table: "ResultTable", plan: "AnalysisPlan", argument: str) -> Outcome:
    del plan, argument
    words = f"{len(table.rows)} of {count(len(table.planned), 'planned run')} have a result"
    if table.holes:
        first = f"{table.holes[0].condition} at seed {table.holes[0].seed}"
        words += f"; without: {and_more(first, len(table.holes) - 1, 'run')}"
    return not table.holes, words


def _finite_metrics(table: "ResultTable", plan: "AnalysisPlan", argument: str) -> Outcome:
    """A result without one of the metrics is as good as one that is not finite."""
    del argument
    names = dict.fromkeys((plan.metric, *table.metrics))
    odd = [
        f"{name} of {row.run_id}"
        for row in table.rows
        for name in names
        if name not in row.metrics or not math.isfinite(row.metrics[name].value)
    ]
    if odd:
        return False, f"not measured or not finite: {and_more(odd[0], len(odd) - 1, 'value')}"
    if not table.rows:
        return False, "no run has a result"
    return True, f"{count(len(names), 'metric')} finite in {count(len(table.rows), 'run')}"


def _clears_reference(table: "ResultTable", plan: "AnalysisPlan", argument: str) -> Outcome:
    """Every condition's mean is on the good side of a trivial predictor; no test is made."""
    from pipeline.analysis.references import reference_values

    references = reference_values(table, plan.metric)
    if argument not in references:
        known = f"measured: {', '.join(references)}" if references else "none was measured"
        return False, f'no reference predictor "{argument}" on {plan.metric}; {known}'
    reference = references[argument].value
    sign = -1 if plan.direction == "minimize" else 1
    means = {name: _mean(table, name, plan.metric) for name in table.conditions}
    failing = [
        name for name, mean in means.items() if mean is None or not sign * (mean - reference) > 0
    ]
    shown = ", ".join(f"{name} {_number(mean)}" for name, mean in means.items())
    words = f"{plan.metric} of {argument} {_number(reference)}, mean of {shown}"
    return not failing, words + (f"; not past it: {', '.join(failing)}" if failing else "")


def _mean(table: "ResultTable", condition: str, metric: str) -> float | None:
    values = [row.metrics[metric].value for row in table.of(condition) if metric in row.metrics]
    return fmean(values) if values else None


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.6g}"


_KINDS: Mapping[str, Callable[["ResultTable", "AnalysisPlan", str], Outcome]] = {
    "all-runs-complete": _all_runs_complete,
    "finite-metrics": _finite_metrics,
    "clears-reference": _clears_reference,
}
WITH_ARGUMENT = {"clears-reference": "the name of a reference predictor"}
"""Gates written "NAME:ARGUMENT", and what the argument is."""
NAMES = tuple(_KINDS)
DEFAULT = ("finite-metrics",)
