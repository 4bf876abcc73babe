"""Diagnostics: what instrumented runs show of features, gradients and mined examples.

Exploratory: associations over runs, with intervals, corrected for their number; no verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.checks import find_deviations, refuse_mixed_data
from pipeline.analysis.courses import Courses, cosines_of, courses_of, fixed_levels, norms_of
from pipeline.analysis.energies import Histograms, histograms
from pipeline.analysis.explanations import Explanation, explanations_of
from pipeline.analysis.features import (
    Levels,
    Likeness,
    Picture,
    levels_of,
    likenesses,
    pictures,
)
from pipeline.analysis.quantities import Finding, Quantity, findings_of, quantities_of
from pipeline.analysis.recording import Array, Recordings, Unrecorded
from pipeline.analysis.stats import Vector
from pipeline.analysis.table import AnalysisPlan, Hole, ResultTable
from pipeline.remembered import remembered


@dataclass(frozen=True, eq=False)
class Series:
    """One quantity over training, of all runs of one condition."""

    name: str
    condition: str
    procedure: str
    values: Array
    """(runs, records)"""


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients over training, of all runs of one condition; by layer, `all` among them."""

    condition: str
    norms: Mapping[str, Mapping[str, Array]]
    """Loss term -> layer -> (runs, records); the contrastive ones are without their weight."""
    cosines: Mapping[str, Mapping[str, Array]]
    """Procedure -> layer -> (runs, records), with the denoising gradient."""
    clipped_share: Array
    """(runs, records after the first): share of the steps since the record before."""


@dataclass(frozen=True, eq=False)
class DiagnosticsAnalysis:
    """What the phase came to."""

    phase: str
    plan: AnalysisPlan
    conditions: tuple[str, ...]
    reference: str
    quantities: tuple[Quantity, ...]
    findings: tuple[Finding, ...]
    """All estimates that were corrected together."""
    levels: tuple[Levels, ...]
    """Of learned features after training, layer by layer."""
    explanations: tuple[Explanation, ...]
    """Hypotheses that the findings bear on."""
    steps: Vector
    """Of the records; empty when no run recorded anything."""
    series: tuple[Series, ...]
    fixed: Mapping[str, Mapping[str, float]]
    """Quantity -> solution that no model had a part in -> value."""
    gradients: tuple[Gradients, ...]
    energies: Histograms | None
    likenesses: tuple[Likeness, ...]
    pictures: tuple[Picture, ...]
    recorded: Mapping[str, tuple[int, ...]]
    """Condition -> seeds with usable diagnostics."""
    recording_share: float | None
    """Of the runs' training time, mean over runs; None where it was not measured."""
    unrecorded: tuple[Unrecorded, ...]
    holes: tuple[Hole, ...]
    deviations: tuple[str, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of any run with usable diagnostics."""
        return tuple(sorted({seed for of in self.recorded.values() for seed in of}))

    @property
    def candidates(self) -> tuple[str, ...]:
        """The conditions that are set against the reference."""
        return tuple(name for name in self.conditions if name != self.reference)


@remembered
def analyse_diagnostics(
    table: ResultTable,
    plan: AnalysisPlan,
    recordings: Recordings,
    unrecorded: tuple[Unrecorded, ...],
) -> DiagnosticsAnalysis:
    """Estimate what the recordings of a phase show.

    Raises:
        IncomparableRunsError: runs were measured on different held-out data.
    """
    refuse_mixed_data(table.rows)
    reference, conditions = plan.reference_condition, table.conditions
    likeness = likenesses(recordings)
    last = likeness[-1].step if likeness else 0
    levels = [
        found
        for of in likeness
        if of.step == last
        for name in conditions
        if name != reference and (found := levels_of(of, name, reference)) is not None
    ]
    courses = {
        name: {seed: courses_of(recording) for seed, recording in of.items()}
        for name, of in recordings.items()
    }
    quantities = quantities_of(table, recordings, courses)
    findings = findings_of(quantities, levels, conditions, reference)
    every = [recording for of in recordings.values() for recording in of.values()]
    return DiagnosticsAnalysis(
        phase=table.phase,
        plan=plan,
        conditions=conditions,
        reference=reference,
        quantities=quantities,
        findings=findings,
        levels=tuple(levels),
        explanations=explanations_of(findings),
        steps=every[0].steps if every else np.empty(0),
        series=_series(courses),
        fixed=fixed_levels(every[0]) if every else {},
        gradients=_gradients(recordings),
        energies=histograms({name: list(of.values()) for name, of in recordings.items()}),
        likenesses=likeness,
        pictures=pictures(recordings),
        recorded={name: tuple(sorted(of)) for name, of in recordings.items()},
        recording_share=_recording_share(table),
        unrecorded=unrecorded,
        holes=table.holes,
        deviations=(*find_deviations(table), *(_hole(table.phase, run) for run in unrecorded)),
    )


def _series(courses: Courses) -> tuple[Series, ...]:
    found: dict[tuple[str, str, str], list[Vector]] = {}
    for condition, of in courses.items():
        for course in (course for run in of.values() for course in run):
            key = (course.name, condition, course.procedure)
            found.setdefault(key, []).append(course.values)
    return tuple(Series(*key, np.stack(values)) for key, values in found.items())


def _gradients(recordings: Recordings) -> tuple[Gradients, ...]:
    return tuple(
        Gradients(
            condition,
            _stacked([norms_of(run) for run in of.values()]),
            _stacked([cosines_of(run) for run in of.values()]),
            np.stack([run.arrays["clipped_share"][1:] for run in of.values()]),
        )
        for condition, of in recordings.items()
        if of
    )


def _stacked(runs: Sequence[Mapping[str, Mapping[str, Vector]]]) -> dict[str, dict[str, Array]]:
    return {
        entry: {layer: np.stack([run[entry][layer] for run in runs]) for layer in layers}
        for entry, layers in runs[0].items()
    }


def _recording_share(table: ResultTable) -> float | None:
    facts = [row.facts for row in table.rows]
    shares = [
        f.recording_seconds / f.train_seconds
        for f in facts
        if f.recording_seconds is not None and f.train_seconds
    ]
    return float(np.mean(shares)) if shares and len(shares) == len(facts) else None


def _hole(phase: str, run: Unrecorded) -> str:
    return f"Phase {phase}: {run.run_id} counts for no diagnostic: {run.why}."
