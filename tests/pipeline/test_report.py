"""RESULTS.md: the golden report, its sections, and what each state of a study is told as."""

import dataclasses
import difflib
import re

import pytest

from pipeline.analysis.sweep import SweepDesign, analyse_sweep
from pipeline.analysis.table import Direction, Hole, HoleReason, Measurement, ResultTable
from pipeline.report import render_report
from pipeline.report_completeness import completeness, gaps
from pipeline.report_input import PhaseInfo, PhaseStatus
from tests.pipeline.analysis.arms import BASE, run, scaled, table
from tests.pipeline.refresh_golden import GOLDEN, TEMPLATES, rendered
from tests.pipeline.report_rules import assert_tables_are_whole, forbidden_in
from tests.pipeline.scenes import SCENES, report, told


@pytest.fixture(params=list(SCENES))
def text(request: pytest.FixtureRequest) -> str:
    """The rendered report of each scene in turn."""
    return told(request.param)


def test_the_published_values_give_the_golden_report() -> None:
    """Line by line; refresh with `python -m tests.pipeline.refresh_golden` and read the diff."""
    golden, now = GOLDEN.read_text(encoding="utf-8"), rendered()
    diff = difflib.unified_diff(golden.splitlines(), now.splitlines(), "golden", "now", lineterm="")
    assert golden == now, "\n" + "\n".join(diff)


def test_the_sections_of_the_report_are_all_there(text: str) -> None:
    """Every section of a report stands in its place, whatever has run."""
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    phases = [title for title in titles if title.startswith("Phase ")]
    assert titles[: 1 + len(phases)] == ["Executive summary", *phases]
    assert [t for t in titles[1 + len(phases) :] if t != "Gates"] == [
        "Key findings",
        "Hypothesis assessment",
        "Possible explanations",
        "Recommendations",
        "Experimental setup",
        "Job details",
        "Completeness",
        "Deviations",
        "Conclusion",
        "How to read a verdict",
        "Files and artifacts",
        "How to reproduce",
    ]


def test_the_summary_fits_a_screen(text: str) -> None:
    """At a hundred characters a line no more than fifty lines."""
    summary = text.split("\n## ")[1]
    lines = [-(-len(line) // 100) for line in summary.splitlines()]
    assert sum(max(1, n) for n in lines) <= 50


def test_tables_are_whole(text: str) -> None:
    """Every row of a table has as many cells as its head."""
    assert_tables_are_whole(text)


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        ("improvement", "**SUPPORTED**: Arm has lower loss than Base"),
        ("harm", "**REJECTED**: Arm has higher loss than Base"),
        ("maximize", "**SUPPORTED**: Arm has higher loss than Base"),
        ("within the margin", "**EQUIVALENT**: Arm is within ±1.00% of Base in loss"),
        ("within the margin", "The difference is resolved from zero, and it is inside the margin."),
        ("identical", "the two conditions computed the same"),
        ("copied", "were the runs of one condition copied or shifted?"),
        ("outlier", "**INCONCLUSIVE**: Arm against Base is not resolved"),
        ("outlier", "Power 80% takes "),
        ("missing runs", "The plan asks for at least 8 complete pairs."),
        ("missing runs", "1 more complete pair reaches the plan's least number; seeds 2, 5, 7"),
        ("missing runs", "- Phase 1, Arm, seeds 2, 5, 7: failed (loss is nan)."),
        ("missing runs", "| Arm | ✓ | ✓ | ✗ | ✓ | ✓ | ✗ | ✓ | ✗ | ✓ | ✓ |"),
        ("partly done", "| Arm | ✓ | ✓ | ✗ | ✓ | ✓ | ✗ | ✓ | … | · | · |"),
        ("one pair", "1 pair, not tested (fewer than two complete pairs)"),
        ("no pair", "| Arm | 0 | not measured |"),
        ("changed plan", "**REJECTED** (POST-HOC)"),
        ("changed plan", "the frozen digest was `old`"),
        ("nothing run", "**Answer.** Not yet"),
        ("nothing run", "Running: 1 of 2 runs are done, 1 running. No analysis before all"),
        ("partly done", "Needs a person: 15 of 20 runs are done, 2 failed, 1 running, 2 not run."),
        ("partly done", "- Failed: Arm, seeds 2, 5 (loss is nan)."),
        ("partly done", "- Phase multiseed: Arm, seeds 2, 5: failed (loss is nan)."),
        ("partly done", "| 1 Multi-seed validation | 20 | 15 | 2 | 1 | 2 |"),
        ("failed runs", "or a person has decided to go on without those that failed."),
        ("missing runs", "Complete: 17 of 20 runs; a person decided to analyse the phase without"),
        ("missing runs", "analysed without 3 failed runs, as decided by a person."),
    ],
)
def test_each_scene_says_what_it_is(scene: str, said: str) -> None:
    """The verdict's words, and the way on."""
    assert said in told(scene)


def test_every_gate_stands_with_its_outcome_and_an_override_is_a_deviation() -> None:
    """Open, closed, or closed and overridden, with the numbers; the reason is plain text."""
    text = told("gates")
    gates, deviations = text.split("## Gates")[1].split("## Deviations")
    assert "| `unread-config:rate` | closed | the trainer never read" in gates
    assert "| `finite-metrics` | open | 1 metric finite in 1 run |" in gates
    assert "| `clears-reference:zero` | closed, overridden | loss of zero 1" in gates
    assert "overridden by a person at 2026-01-02: known \\| and \\*meant\\*" in deviations
    assert "finite-metrics" not in deviations


def test_a_changed_plan_marks_every_verdict() -> None:
    """No verdict of a changed plan stands without POST-HOC."""
    text = told("changed plan")
    assert text.count("**REJECTED**") == text.count("**REJECTED** (POST-HOC)")
    assert "POST-HOC)" not in told("harm")


def test_a_pilot_says_nothing_about_conditions() -> None:
    """The pilot's section holds values and costs, and no inference."""
    section = rendered().split("## Phase 0")[1].split("## Phase 1")[0]
    assert "Ran; no inference is drawn from single runs." in section
    assert not re.search(r"\bCI\b|\bp [=<]|%|than", section)


@pytest.mark.parametrize("scene", ["partly done", "failed runs"])
def test_a_phase_with_open_holes_shows_values_and_infers_nothing(scene: str) -> None:
    """Values by seed with holes by reason; no test, interval, mean or verdict before the end."""
    text = told(scene)
    section = text.split("## Phase 1")[1].split("## Key findings")[0]
    assert "[0.98" in section
    assert "(runs/multiseed/base-s0/result.json)" in section
    assert "| failed |" in section
    assert re.search(r"\| running \|.*\n.*\| not run \|", section) or scene == "failed runs"
    assert not re.search(r"\bCI\b|\bp [=<]|%|than|\bmean\b|\bsd\b", section)
    said = text.split("## How to read a verdict")[0]
    assert not re.search("SUPPORTED|REJECTED|EQUIVALENT|INCONCLUSIVE", said)
    assert "No analysis before all its runs have ended" in section


def test_every_arm_above_a_trivial_predictor_is_said_first() -> None:
    """The published study lost to a two-parameter fit, and its summary must say so."""
    summary = rendered().split("## Phase 0")[0]
    assert "Every condition has higher validation MSE than 3 of the 5 reference" in summary
    assert "affine 2 params (0.00955996)" in summary


@pytest.mark.parametrize(
    ("value", "direction", "said"),
    [
        (1.4, "minimize", "Every condition has lower loss than the reference predictor zero"),
        (0.5, "minimize", "Every condition has higher loss than 1 of the 1 reference predictors: "),
        (1.4, "maximize", "Every condition has lower loss than 1 of the 1 reference predictors: "),
        (0.985, "minimize", "Lower loss is resolved for some conditions, not for all: zero"),
        (1.0, "minimize", "No condition is resolved to have lower loss than zero (1.00000)"),
    ],
)
def test_where_training_stands_is_said_first(value: float, direction: Direction, said: str) -> None:
    """Before any answer, and with what it means for the way on."""
    effect = 0.97 if value == 0.985 else 1.003
    given = report(beside(table(scaled(effect)), value), direction=direction)
    text = render_report(given, [TEMPLATES])
    summary = text.split("\n## ")[1]
    assert said in summary.partition("**Answer.**")[0]
    cleared = said.startswith("Every condition has lower") == (direction == "minimize")
    advised = "No condition clears the predictor zero, which needs no training" in text
    assert advised != (cleared or "some conditions" in said)


@pytest.mark.parametrize(
    ("direction", "bound", "said"),
    [
        ("minimize", 0.9, None),
        (
            "minimize",
            0.93,
            "1 of the settings tried was past it at every seed, arm \\[a=2\\]: an estimate",
        ),
        ("minimize", 0.955, "2 of the settings tried were past it at every seed, the furthest on"),
        ("maximize", 1.0195, None),
        (
            "maximize",
            1.0185,
            "1 of the settings tried was past it at every seed, Base: an estimate",
        ),
    ],
)
def test_settings_of_a_sweep_past_an_uncleared_predictor_are_named(
    direction: Direction, bound: float, said: str | None
) -> None:
    """Beside the advice to find out what training lacks: a setting that had it, if any did.

    One that is past it at some seeds only, or failed at one, is not.
    """
    given = report(beside(table(BASE), bound), direction=direction)
    tried = sweep_of({"base": 1.02, "arm [a=1]": 0.95, "arm [a=2]": 0.92, "arm [a=3]": 0.9})
    design = SweepDesign("arm", "base", {f"arm [a={a}]": {"a": a} for a in (1, 2, 3)})
    analysis = analyse_sweep(beside(tried, bound), given.plan, design)
    sweep = PhaseInfo("rates", "Sweep", PhaseStatus.COMPLETE, tried, analysis)

    text = render_report(dataclasses.replace(given, phases=(*given.phases, sweep)), [TEMPLATES])

    advice = text.split("## Recommendations")[1].split("\n- ")[1]
    assert advice.startswith("No condition clears the predictor zero")
    assert not forbidden_in(advice)
    if said is None:
        assert "settings tried" not in advice
    else:
        assert f"In phase rates, {said}" in advice


def sweep_of(means: dict[str, float]) -> ResultTable:
    """Three seeds a thousandth apart of each arm; the last arm failed at one of them."""
    *_, last = means
    cells = {
        (arm, seed): mean + 0.001 * (seed - 101)
        for arm, mean in means.items()
        for seed in (100, 101, 102)
    }
    lost = (last, 102)
    rows = tuple(
        dataclasses.replace(run(arm, seed, value), phase="rates")
        for (arm, seed), value in cells.items()
        if (arm, seed) != lost
    )
    return ResultTable("rates", tuple(cells), rows, (Hole(*lost, HoleReason.FAILED, "lost"),))


def beside(results: ResultTable, value: float) -> ResultTable:
    """The results with a predictor of that value on the same data."""
    measured = {"loss": {"zero": Measurement(value, 0.001, 100)}}
    rows = tuple(dataclasses.replace(row, references=measured) for row in results.rows)
    return dataclasses.replace(results, rows=rows)


def test_a_large_phase_is_cut_to_what_is_missing() -> None:
    """Many seeds become ranges, and of many conditions only those with holes have a line."""
    names = [f"c{n}" for n in range(30)]
    planned = tuple((name, seed) for name in names for seed in range(40))
    holes = tuple(Hole("c7", seed, HoleReason.FAILED, "lost") for seed in (3, 4, 9))
    gone = {(hole.condition, hole.seed) for hole in holes}
    rows = tuple(run(*of, 1.0) for of in planned if of not in gone)
    matrix = completeness(ResultTable("sweep", planned, rows, holes))
    assert [line.condition for line in matrix.lines] == ["c7"]
    assert matrix.lines[0].cells == ("0-2, 5-8, 10-39", "3-4, 9", "", "")
    assert matrix.whole == 29
    assert [gap.seeds for gap in gaps(holes)] == [(3, 4, 9)]
