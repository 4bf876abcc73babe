"""Sweeps, confirmations and alternatives: declared, planned, and what a selection decides."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cells import cell_name, grid_cells, with_cell
from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.gather import gather
from pipeline.plan import pack, plan_phase, plan_study
from pipeline.replan import replanned
from pipeline.select import selected
from pipeline.site import Site, open_site
from pipeline.state import RunRecord, RunStatus, State
from pipeline.store import StateStore, decode, encode
from pipeline.study import load_study
from pipeline.view import view_of
from tests.pipeline.conftest import edit
from tests.pipeline.planting import planted

ALTERNATIVES = '["baseline", "handicapped", "lifted", "turned"]'


def truth(run: RunRecord) -> dict[str, float]:
    """Settings whose name comes first in the study have the smaller loss."""
    ahead = "height=-0.04, lift.turns=2" in run.cell
    value = 1.0 + 0.01 * (run.seed % 7) - 0.05 * ahead + 0.02 * (run.condition == "handicapped")
    value += 0.001 * ((run.seed * 3 + len(run.arm)) % 5)
    return {"loss": value, "test_loss": value + 0.001}


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('"lift.turns" =', '"lift.turn" =', ["phases.sweep.grid.lift.turn", '"turns"']),
        ('"lift.turns" =', '"lit.turns" =', ["phases.sweep.grid.lit", '"lift"']),
        ('"lift.turns" =', '"steps.turns" =', ["grid.steps.turns", "steps is no table"]),
        ("[1, 2, 3]", '[1, "two"]', ["phases.sweep.grid.lift.turns", '"two"']),
        ("[1, 2, 3]", "[]", ["lift.turns has no values"]),
        ("[1, 2, 3]", "[1, 2, 1]", ["lift.turns has the value 1 twice"]),
        ("[1, 2, 3]", "[1, nan]", ["phases.sweep.grid.lift.turns.1", "finite"]),
        ("[1, 2, 3]", "3", ["phases.sweep.grid.lift.turns", "list"]),
        ("handicap = 0.01 }]", "handycap = 0.01 }]", ["phases.sweep.lists.0.handycap", "handicap"]),
        ("handicap = 0.01 }]", '"lift.height" = 0.0, "lift.turns" = 1 }]', ["same config"]),
        ('condition = "lifted"', 'condition = "lifter"', ["phases.sweep.condition", '"lifted"']),
        ("grid = {", "gird = {", ["phases.sweep.gird", 'did you mean "grid"']),
        ("[phases.sweep]", "[phases.sweep]\nconfirmatory = true", ["sweep confirms nothing"]),
        ('of = "sweep"', 'of = "sweap"', ["phases.confirm.of", 'did you mean "sweep"']),
        ('of = "sweep"', 'of = "multiseed"', ["phases.confirm.of", "no sweep"]),
        ('"test_loss"', '"test_los"', ["phases.confirm.metric", 'did you mean "test_loss"']),
        ('seeds = "200-209"', 'seeds = "102-111"', ["sweep and confirm share seed 102"]),
        ('seeds = "200-209"', 'seeds = "200-203"', ["confirm has 4 seeds", "INCONCLUSIVE"]),
        ('seeds = "300-309"', 'seeds = "300-306"', ["alternatives has 7 seeds"]),
        (
            '["baseline", "handicapped", "lifted", "turned"]',
            '["handicapped", "lifted"]',
            ["'baseline'"],
        ),
        (
            '["baseline", "handicapped", "lifted", "turned"]',
            '["baseline"]',
            ["name its alternatives"],
        ),
        ("[hypotheses.handicap-helps]", "[hypotheses.confirm]", ["hypotheses.confirm: phase"]),
        ("[phases.confirm]", "[phases.confirmed]", ["phases.confirmed", 'mean "confirm"']),
        ("[phases.pilot]", "[phases.pilot]\nconfig.step = 2", ["phases.pilot.config.step"]),
        (
            "[phases.pilot]",
            "[phases.pilot]\nconfig.handicap = 0.1",
            ["phases.pilot", "same config"],
        ),
    ],
)
def test_a_mistake_in_a_phase_is_named(whole: Site, old: str, new: str, parts: list[str]) -> None:
    """Key path, value and the nearest valid name, before anything is submitted."""
    edit(whole.workspace, old, new)
    with pytest.raises(PipelineError) as caught:
        load_study(whole.workspace.study_file)
    message = str(caught.value)
    assert message.startswith("study.toml: ")
    for part in parts:
        assert part in message


def test_an_axis_written_without_quotes_is_the_same(whole: Site) -> None:
    """TOML reads `lift.turns` in a table as a table in a table; a grid means its leaves."""
    before = load_study(whole.workspace.study_file).plan_digest()
    edit(whole.workspace, '"lift.turns" = [1', "lift.turns = [1")
    assert load_study(whole.workspace.study_file).plan_digest() == before


def test_a_sweep_runs_every_cell_and_the_reference_at_every_seed(whole: Site) -> None:
    """Seed by seed: the reference as declared, the grid, the lists; each cell in its own config."""
    runs = plan_phase(whole.study, "sweep")
    assert len(runs) == 3 * (1 + 9 + 1)
    assert len({run.key for run in runs}) == len(runs)
    first = [run for run in runs if run.seed == 100]
    assert [run.seed for run in runs[:11]] == [100] * 11
    assert (first[0].condition, first[0].cell) == ("baseline", "")
    assert first[2].cell == "lift.height=-0.04, lift.turns=2"
    assert first[2].config["lift"] == {"height": -0.04, "turns": 2}
    assert first[-1].config["handicap"] == 0.01
    assert first[-1].config["lift"] == {"height": -0.03, "turns": 0}
    assert {run.config["steps"] for run in runs} == {3}


def test_the_reference_can_be_given_a_budget_of_its_own(whole: Site) -> None:
    """Its own setting is not run twice when the grid names it, too."""
    new = 'seeds = "100-102"\nbaseline_grid = { handicap = [-0.01, 0.0] }'
    edit(whole.workspace, 'seeds = "100-102"', new)
    study = load_study(whole.workspace.study_file)
    arms = {run.cell for run in plan_phase(study, "sweep") if run.condition == "baseline"}
    assert arms == {"", "handicap=-0.01"}


def test_a_phase_may_set_config_for_all_its_runs(whole: Site) -> None:
    """Nothing else of the run changes, and other phases keep theirs."""
    edit(whole.workspace, "[phases.sweep]", "[phases.sweep]\nconfig.steps = 2")
    study = load_study(whole.workspace.study_file)
    assert {run.config["steps"] for run in plan_phase(study, "sweep")} == {2}
    assert {run.config["steps"] for run in plan_phase(study, "multiseed")} == {3}
    key = study.trainer.stack_key
    assert {
        key(r.settings) for t in pack(study, plan_phase(study, "sweep"), 5) for r in t.runs
    } == {"steps=2"}


def test_a_confirmation_has_no_runs_before_the_selection(whole: Site) -> None:
    """It is waiting, neither complete nor missing, and says for whom."""
    assert plan_phase(whole.study, "confirm") == []
    state, _ = replanned(whole.study, "local", None)
    assert state.phases["confirm"].awaits == "sweep"
    view = view_of(whole.workspace, state)
    assert [phase.status for phase in view.phases if phase.id == "confirm"] == ["not_started"]
    assert not view.finished
    phase = next(p for p in gather(whole.workspace, whole.study, state).phases if p.id == "confirm")
    assert (phase.status, phase.analysis) == ("not run", None)


def test_a_complete_sweep_selects_and_the_confirmation_is_planned(whole: Site) -> None:
    """The selected cell and the reference at every fresh seed; the record holds what decided."""
    state = planted(whole, truth)
    made = state.selections["sweep"]
    assert made.ranking[0] == "lifted [lift.height=-0.04, lift.turns=2]"
    assert len(made.ranking) == 10
    runs = state.runs_of("confirm")
    assert {run.arm for run in runs.values()} == {made.ranking[0], "baseline"}
    assert {run.seed for run in runs.values()} == set(range(200, 210))
    assert len(runs) == 20
    assert decode_again(state) == state


def decode_again(state: State) -> State:
    """The state after a way through the file."""
    import json

    return decode(json.loads(encode(state)))


def test_planning_and_selecting_again_changes_nothing(whole: Site) -> None:
    """Both are functions of what is recorded."""
    state = planted(whole, truth)
    assert replanned(whole.study, "local", state) == (state, [])
    assert selected(whole, state, "sweep") == (state, [])
    assert selected(whole, state, "multiseed") == (state, [])


def test_later_results_do_not_change_what_was_selected(whole: Site) -> None:
    """The confirmation keeps its cell, and the report says what would be selected now."""
    first = planted(whole, lambda run: None if run.cell.endswith("turns=3") else truth(run))
    cell = first.selections["sweep"].ranking[0]

    def other(run: RunRecord) -> dict[str, float]:
        return {"loss": 0.5, "test_loss": 0.5} if run.cell.endswith("turns=3") else truth(run)

    runs = {
        key: replace(run, status=RunStatus.PLANNED, job=None, task=None, reason=None)
        if run.status is RunStatus.FAILED
        else run
        for key, run in first.runs.items()
    }
    again = planted(whole, other, replace(first, runs=runs))

    assert again.selections == first.selections
    assert {run.arm for run in again.runs_of("confirm").values()} == {cell, "baseline"}
    (said,) = (
        line for line in gather(whole.workspace, whole.study, again).deviations if "select" in line
    )
    assert cell in said
    assert "turns=3" in said
    assert "stands as it was made" in said


def test_a_selection_is_void_once_the_sweep_has_other_cells(whole: Site) -> None:
    """Its runs are kept for the record, the confirmation waits anew, verdicts are POST-HOC."""
    state = planted(whole, truth)
    edit(whole.workspace, "[1, 2, 3]", "[1, 2, 3, 4]")
    site = open_site(whole.workspace, None)
    state, _ = replanned(site.study, "local", state)
    assert state.phases["confirm"].awaits == "sweep"
    assert not state.runs_of("confirm")
    assert sum(run.phase == "confirm" for run in state.runs.values()) == 20
    assert gather(site.workspace, site.study, state).seal.post_hoc
    made = planted(site, truth, state).selections["sweep"]
    assert len(made.ranking) == 13


def test_nothing_is_selected_where_no_cell_is_complete(whole: Site) -> None:
    """A person is asked for, and the confirmation stays unplanned."""
    state = planted(whole, lambda run: None if run.cell and run.seed == 101 else truth(run))
    assert state.selections == {}
    assert not state.runs_of("confirm")
    analysed = replace(state.phases["sweep"], analysed="0" * 64)
    view = view_of(whole.workspace, replace(state, phases={**state.phases, "sweep": analysed}))
    assert any("sweep selected nothing" in line for line in view.attention)


KEEP = """
[phases.wide]
kind = "sweep"
condition = "lifted"
seeds = "110-111"
grid = { "lift.height" = [-0.04, -0.02, 0.0], "lift.turns" = [1, 2, 3] }
config.steps = 1

[phases.sweep]
keep = { of = "wide", share = 0.3 }
"""


def test_a_sweep_may_keep_the_first_cells_of_a_shorter_one(whole: Site) -> None:
    """Pruning at a declared early step: the dropped cells are not run, and are named."""
    edit(whole.workspace, "[phases.sweep]\n", KEEP)
    edit(whole.workspace, "lists = [{ handicap = 0.01 }]\n", "")
    site = open_site(whole.workspace, None)
    assert plan_phase(site.study, "sweep") == []
    state = planted(site, truth)
    kept = {run.arm for run in state.runs_of("sweep").values()}
    assert kept == {"baseline", *state.selections["wide"].ranking[:3]}
    report = gather(site.workspace, site.study, state)
    sweep = next(phase for phase in report.phases if phase.id == "sweep").analysis
    assert [cell.arm for cell in sweep.cells if cell.run] != []  # type: ignore[union-attr]
    assert sum(not cell.run for cell in sweep.cells) == 6  # type: ignore[union-attr]
    assert state.runs_of("confirm")


def test_cells_to_keep_must_have_been_tried(whole: Site) -> None:
    """A cell that the shorter sweep does not have could never be kept."""
    edit(whole.workspace, "[phases.sweep]\n", KEEP)
    with pytest.raises(PipelineError, match="wide does not try lifted"):
        load_study(whole.workspace.study_file)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("[1, 2, 3]", "[1, 2, 4]", True),
        ('seeds = "100-102"', 'seeds = "100-103"', True),
        ('"test_loss"', '"other_loss"', True),
        ('label = "Turned"', 'label = "Rotated"', False),
        ("config.lift = { turns = 1 }", "config.lift = { turns = 2 }", True),
    ],
)
def test_the_plan_digest_covers_what_decides_a_confirmation(
    whole: Site, old: str, new: str, changes: bool
) -> None:
    """The sweep behind it, its metric, the alternatives; not labels."""
    before = load_study(whole.workspace.study_file).plan_digest()
    text = whole.workspace.study_file.read_text()
    whole.workspace.study_file.write_text(text.replace(old, new))
    assert (load_study(whole.workspace.study_file).plan_digest() != before) is changes


def test_a_state_with_a_selection_is_validated_and_kept(tmp_path: Path, whole: Site) -> None:
    """What the store writes it reads back, by its own decoder and by full validation."""
    state = planted(whole, truth)
    store = StateStore(tmp_path / "state")
    store.save(state)
    assert store.load() == state
    (tmp_path / "state" / "pipeline.json.sha256").unlink()
    assert store.load() == state


@given(
    st.dictionaries(
        st.sampled_from(["a", "b.c", "b.d", "e"]),
        st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
        min_size=1,
    )
)
def test_a_grid_holds_every_combination_once(grid: dict[str, list[int]]) -> None:
    """As many cells as the product of the axes, all different, the last axis fastest."""
    cells = list(grid_cells(grid))
    expected = 1
    for values in grid.values():
        expected *= len(values)
    assert len({cell_name(cell) for cell in cells}) == len(cells) == expected
    *_, last = grid
    if len(grid[last]) > 1:
        assert all(before[last] != after[last] for before, after in pairwise(cells))
    for cell in cells:
        config = with_cell({"a": -1, "b": {"c": -1, "z": 5}}, cell)
        assert config["b"]["z"] == 5
        assert digest_of(with_cell(config, cell)) == digest_of(config)


def test_runs_of_a_cell_are_named_by_their_config(whole: Site) -> None:
    """The order of axes is for reading: it changes no run."""
    before = set(plan_study(whole.study))
    edit(
        whole.workspace,
        '"lift.height" = [-0.04, -0.02, 0.0], "lift.turns" = [1, 2, 3]',
        '"lift.turns" = [1, 2, 3], "lift.height" = [-0.04, -0.02, 0.0]',
    )
    assert set(plan_study(load_study(whole.workspace.study_file))) == before
