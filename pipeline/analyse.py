"""Which analysis a phase gets, by its kind, and what it is given: plan, hypotheses, design."""

from collections.abc import Mapping
from dataclasses import replace

from pipeline.analysis.alternatives import analyse_alternatives
from pipeline.analysis.confirm import analyse_confirm
from pipeline.analysis.diagnostics import analyse_diagnostics
from pipeline.analysis.multiseed import analyse_multiseed
from pipeline.analysis.pilot import analyse_pilot
from pipeline.analysis.sweep import Axis, SweepAnalysis, SweepDesign, analyse_sweep
from pipeline.analysis.table import AnalysisPlan, Hypothesis, ResultTable, metric_label
from pipeline.cells import short_names
from pipeline.plan import valid
from pipeline.recordings import read_recordings
from pipeline.report_input import PhaseAnalysis
from pipeline.state import State
from pipeline.study import Study
from pipeline.study_file import ConditionsPhase, ConfirmPhase, SweepPhase
from pipeline.workspace import Workspace


def analyse_phase(
    workspace: Workspace,
    study: Study,
    state: State,
    tables: Mapping[str, ResultTable],
    name: str,
) -> PhaseAnalysis:
    """Analyse a phase whose results are in.

    A confirmation also looks at its sweep's results, diagnostics at the files that runs left.

    Raises:
        PipelineError: the results cannot be compared with each other.
    """
    phase, table, plan = study.file.phases[name], tables[name], plan_of(study)
    if isinstance(phase, SweepPhase):
        return sweep_of(study, table)
    if isinstance(phase, ConfirmPhase):
        (hypothesis,) = phase_hypotheses(study, state, name)
        plan = replace(
            plan, metric=phase.metric or plan.metric, reference_condition=hypothesis.reference
        )
        return analyse_confirm(table, plan, hypothesis, sweep_of(study, tables[phase.of]))
    if phase.kind == "pilot":
        return analyse_pilot(table, plan.metric)
    if phase.kind == "diagnostics":
        return analyse_diagnostics(table, plan, *read_recordings(workspace, table))
    hypotheses = phase_hypotheses(study, state, name)
    if phase.kind == "alternatives":
        return analyse_alternatives(table, plan, hypotheses)
    return analyse_multiseed(table, plan, hypotheses)


def sweep_of(study: Study, table: ResultTable) -> SweepAnalysis:
    """Analyse a sweep.

    Raises:
        PipelineError: its results cannot be compared with each other.
    """
    return analyse_sweep(table, plan_of(study), sweep_design(study, table.phase))


def sweep_design(study: Study, name: str) -> SweepDesign:
    """What a sweep tries, as the analysis takes it."""
    phase = study.file.phases[name]
    assert isinstance(phase, SweepPhase)
    reference, *arms = study.arms[name]
    labels = short_names(list(phase.grid))
    return SweepDesign(
        condition=phase.condition,
        reference=reference.name,
        cells={arm.name: arm.cell for arm in arms if not arm.of_reference},
        axes=tuple(Axis(key, labels[key], tuple(values)) for key, values in phase.grid.items()),
        reference_cells={arm.name: arm.cell for arm in arms if arm.of_reference},
    )


def plan_of(study: Study) -> AnalysisPlan:
    """The study's analysis plan as the analysis takes it."""
    file, declared = study.file, study.file.analysis
    return AnalysisPlan(
        metric=file.study.metric.name,
        direction=file.study.metric.direction,
        reference_condition=file.reference,
        alpha=declared.alpha,
        margin_percent=declared.margin_percent,
        sensitivity_margins_percent=tuple(declared.sensitivity_margins_percent),
        power=declared.power,
        min_pairs=declared.min_pairs,
    )


def hypotheses_of(study: Study) -> tuple[Hypothesis, ...]:
    """The study's declared hypotheses as the analysis takes them."""
    return tuple(
        Hypothesis(name, h.statement, h.candidate, h.reference, h.family)
        for name, h in study.file.hypotheses.items()
    )


def all_hypotheses(study: Study, state: State) -> tuple[Hypothesis, ...]:
    """The declared ones, then those that phases of some kinds bring with them."""
    brought = [
        hypothesis
        for name, phase in study.file.phases.items()
        if phase.kind in ("alternatives", "confirm")
        for hypothesis in phase_hypotheses(study, state, name)
    ]
    return (*hypotheses_of(study), *brought)


def phase_hypotheses(study: Study, state: State, name: str) -> tuple[Hypothesis, ...]:
    """What a phase tests; an exploratory one may run too few conditions for some hypotheses."""
    phase = study.file.phases[name]
    if isinstance(phase, ConfirmPhase):
        return (_of_confirmation(study, state, name, phase),)
    if isinstance(phase, ConditionsPhase) and phase.kind == "alternatives":
        brought = study.file.brought_hypotheses(name)
        return tuple(_of_alternative(study, key, brought[key]) for key in brought)
    hypotheses = hypotheses_of(study)
    if phase.confirmatory:
        return hypotheses
    ran = {arm.condition for arm in study.arms[name]}
    needed = {study.file.reference}
    return tuple(h for h in hypotheses if {h.candidate, h.reference} | needed <= ran)


def _of_confirmation(study: Study, state: State, name: str, phase: ConfirmPhase) -> Hypothesis:
    made = valid(study, phase.of, state.selections)
    sweep, reference = study.file.phases[phase.of], study.file.reference
    assert isinstance(sweep, SweepPhase)
    labels = {key: condition.label for key, condition in study.file.conditions.items()}
    claim = _claim(study, phase.metric or study.file.study.metric.name)
    statement = (
        f"{labels[sweep.condition]} in the setting that phase {phase.of} selected {claim} "
        f"compared with {labels[reference]}."
    )
    candidate = made.ranking[0] if made else sweep.condition
    return Hypothesis(name, statement, candidate, made.reference if made else reference)


def _of_alternative(study: Study, name: str, condition: str) -> Hypothesis:
    conditions, reference = study.file.conditions, study.file.reference
    statement = (
        f"{conditions[condition].label} {_claim(study, study.file.study.metric.name)} "
        f"compared with {conditions[reference].label}."
    )
    return Hypothesis(name, statement, condition, reference)


def _claim(study: Study, metric: str) -> str:
    """ "lowers validation MSE"."""
    lowers = study.file.study.metric.direction == "minimize"
    return f"{'lowers' if lowers else 'raises'} {metric_label(metric)}"
