"""Whether the phases of a study fit together: seeds, conditions, and what follows from what.

Each check refuses, before anything is submitted, a phase that could not answer what it asks.
"""

from itertools import combinations

from pipeline.study_file import (
    ConditionsPhase,
    ConfirmPhase,
    Phase,
    StudyFile,
    SweepPhase,
    known_condition,
)
from pipeline.validation import suggest

# An interval for what tells seed from condition leaves out one seed at a time, and two must stay.
LEAST_SEEDS_OF_DIAGNOSTICS = 3


def check_phases(file: StudyFile) -> None:
    """Check each phase, and the phases against each other.

    Raises:
        ValueError: the first thing that is wrong, with its key path.
    """
    for name, phase in file.phases.items():
        if isinstance(phase, ConditionsPhase):
            _check_conditions(file, name, phase)
        elif isinstance(phase, SweepPhase):
            known_condition(phase.condition, list(file.conditions), f"phases.{name}.condition")
            if phase.keep is not None:
                _check_follows(file, name, phase.keep.of, f"phases.{name}.keep.of")
        elif isinstance(phase, ConfirmPhase):
            _check_follows(file, name, phase.of, f"phases.{name}.of")
        if phase.confirmatory:
            _check_number_of_seeds(file, name, phase)
        for brought in file.brought_hypotheses(name):
            if brought in file.hypotheses:
                raise ValueError(
                    f"hypotheses.{brought}: phase {name} brings a hypothesis of this name; "
                    "rename one of them"
                )
    for first, second in combinations(file.phases, 2):
        shared = sorted(set(file.phases[first].seeds) & set(file.phases[second].seeds))
        if shared:
            raise ValueError(
                f"phases {first} and {second} share seed {shared[0]}; "
                "a phase must not be decided on seeds that an earlier one has seen"
            )


def _check_conditions(file: StudyFile, name: str, phase: ConditionsPhase) -> None:
    if phase.conditions == []:
        raise ValueError(f"phases.{name}.conditions is empty; leave it out for all")
    chosen = phase.conditions or list(file.conditions)
    for condition in chosen:
        known_condition(condition, list(file.conditions), f"phases.{name}.conditions")
        if chosen.count(condition) > 1:
            raise ValueError(f"phases.{name}.conditions names {condition!r} twice")
    if phase.kind == "alternatives":
        _check_alternatives(file, name, chosen)
    elif phase.kind == "diagnostics":
        _check_diagnostics(file, name, chosen)
    elif phase.confirmatory:
        _check_holds_what_is_compared(file, name, chosen)


def _check_alternatives(file: StudyFile, name: str, chosen: list[str]) -> None:
    if file.reference not in chosen:
        raise ValueError(
            f"phases.{name}.conditions leaves out {file.reference!r}, the condition that each "
            "alternative is compared with"
        )
    if len(chosen) < 2:
        raise ValueError(f"phases.{name} runs {file.reference!r} alone; name its alternatives")


def _check_diagnostics(file: StudyFile, name: str, chosen: list[str]) -> None:
    if file.reference not in chosen:
        raise ValueError(
            f"phases.{name}.conditions leaves out {file.reference!r}, the condition that others "
            "are set against"
        )
    if len(file.phases[name].seeds) < LEAST_SEEDS_OF_DIAGNOSTICS:
        raise ValueError(
            f"phases.{name} needs {LEAST_SEEDS_OF_DIAGNOSTICS} seeds or more: without them there "
            "is no telling what another seed changes"
        )


def _check_holds_what_is_compared(file: StudyFile, name: str, chosen: list[str]) -> None:
    if not file.hypotheses:
        raise ValueError(f"phases.{name} is confirmatory but there are no hypotheses")
    for key, hypothesis in file.hypotheses.items():
        for condition in (hypothesis.candidate, hypothesis.reference):
            if condition not in chosen:
                raise ValueError(
                    f"phases.{name} leaves out {condition!r}, which hypotheses.{key} needs"
                )
    if file.reference not in chosen:
        raise ValueError(
            f"phases.{name} leaves out {file.reference!r}, the analysis.reference of margins"
        )


def _check_follows(file: StudyFile, name: str, sweep: str, where: str) -> None:
    """A phase that takes cells from a sweep needs that sweep before it."""
    earlier = list(file.phases)[: list(file.phases).index(name)]
    sweeps = [key for key in earlier if isinstance(file.phases[key], SweepPhase)]
    if sweep not in sweeps:
        problem = "is no sweep that stands before it" if sweep in file.phases else "unknown phase"
        hint = suggest(sweep, sweeps) or "; declare a phase of kind sweep first"
        raise ValueError(f'{where} = "{sweep}": {problem}{hint}')


def _check_number_of_seeds(file: StudyFile, name: str, phase: Phase) -> None:
    """Refuse a phase whose every verdict would be INCONCLUSIVE, before it costs anything."""
    needed, alpha, seeds = file.analysis.min_pairs, file.analysis.alpha, len(phase.seeds)
    if seeds < needed:
        raise ValueError(
            f"phases.{name} has {seeds} seeds but analysis.min_pairs is {needed}: every "
            "verdict would be INCONCLUSIVE; add seeds or lower min_pairs"
        )
    # The smallest two-sided p of an exact sign-flip test is 2^(1-n), times Holm's family.
    least = 2.0 ** (1 - seeds) * file.family_size(name)
    if least >= alpha:
        raise ValueError(
            f"phases.{name} has {seeds} seeds: the smallest p that sign flips can give is "
            f"{least:.3g}, not below alpha = {alpha}, so no difference could ever be told; "
            "add seeds"
        )
