"""Which cells a sweep hands on to the phases that follow it: decided once, then only recorded."""

from dataclasses import replace

from pipeline.collect import table_of
from pipeline.digest import digest_of
from pipeline.plan import valid
from pipeline.provenance import now
from pipeline.reconcile import Event
from pipeline.replan import replanned
from pipeline.site import Site
from pipeline.state import Selection, State
from pipeline.study_file import SweepPhase


def selected(site: Site, state: State, phase: str) -> tuple[State, list[Event]]:
    """The state with a complete sweep's selection, and the runs that follow from it planned.

    A selection that holds is kept, whatever the results have become since: the runs that followed
    from it were made for that cell. No selection is made where no cell is complete.

    Raises:
        PipelineError: the results cannot be compared with each other.
    """
    study = site.study
    sweep = isinstance(study.file.phases[phase], SweepPhase)
    if not sweep or valid(study, phase, state.selections) is not None:
        return state, []
    # Imports scipy, which takes longer than a step that finds nothing new.
    from pipeline.analyse import sweep_of

    analysis = sweep_of(study, table_of(site.workspace, study, state, phase))
    if not analysis.ranking:
        return state, []
    made = Selection(
        ranking=analysis.ranking,
        reference=analysis.selected_reference,
        arms_digest=study.arms_digest(phase),
        results_digest=results_digest(state, phase),
        made_at=now(),
    )
    record = replace(state.phases[phase], selection=made)
    state = replace(state, phases={**state.phases, phase: record})
    state, _ = replanned(study, site.profile_name, state)
    event = {"event": "selected", "phase": phase, "cell": made.ranking[0]}
    return state, [{**event, "reference": made.reference, "results": made.results_digest}]


def results_digest(state: State, phase: str) -> str:
    """Digest of a phase's results as they are accepted now."""
    return digest_of({key: run.result_digest for key, run in state.runs_of(phase).items()})
