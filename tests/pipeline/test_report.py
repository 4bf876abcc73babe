"""RESULTS.md: the golden report, the rules of wording, and what must not break it."""

import dataclasses
import difflib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import markdown
from pipeline.analysis.multiseed import analyse_multiseed
from pipeline.analysis.pilot import analyse_pilot
from pipeline.analysis.sweep import SweepDesign, analyse_sweep
from pipeline.analysis.table import Direction, Hole, HoleReason, Measurement, ResultTable
from pipeline.errors import PipelineError
from pipeline.report import render_report
from pipeline.report_completeness import completeness, gaps
from pipeline.report_input import (
    ConditionInfo,
    GateInfo,
    PhaseInfo,
    PhaseStatus,
    PlanSeal,
    ReportInput,
    SealState,
)
from tests.pipeline import published
from tests.pipeline.analysis.test_multiseed import BASE, HYPOTHESIS, PLAN, run, scaled, table
from tests.pipeline.refresh_golden import GOLDEN, TEMPLATES, rendered

FORBIDDEN = re.compile(
    r"\boptimal|\bconclusive|\bproves?\b|\bdemonstrat|\bno difference|\bno effect|\bbecause\b"
    r"|\bshould\b|\bstrong power|\bhighly\b|\bp = 0(\.0+)?\b(?!\.)"
    r"|(?-i:\bNone\b)|(?<!loss is )\bnan\b|\binf\b"
    r"|\bsignificant|\bbetter\b|\bworse\b|\bbest\b|\boutperform|\bdegrad|\bsuperior|\bbeats?\b",
    re.IGNORECASE,
)
COMPARING = re.compile(r"\b(lower|higher|larger|smaller|less|fewer|more) \S+ than\b")


def report(
    results: ResultTable | None = None,
    status: PhaseStatus = PhaseStatus.COMPLETE,
    direction: Direction = "minimize",
) -> ReportInput:
    """Return a small study with these results of its multi-seed phase."""
    plan = dataclasses.replace(PLAN, direction=direction)
    complete = status is PhaseStatus.COMPLETE
    given = results or unrun()
    phases = [
        pilot() if results else PhaseInfo("pilot", "Pilot", PhaseStatus.RUNNING, running_pilot()),
        PhaseInfo(
            "multiseed",
            "Multi-seed validation",
            status,
            given,
            analyse_multiseed(given, plan, HYPOTHESIS) if complete else None,
            confirmatory=True,
        ),
    ]
    return ReportInput(
        study="toy",
        question="Is the arm any use?",
        plan=plan,
        seal=PlanSeal(SealState.FROZEN, "abc", "abc", "2026-01-01"),
        hypotheses=HYPOTHESIS,
        conditions=(ConditionInfo("base", "Base", {}), ConditionInfo("arm", "Arm", {"a": "1"})),
        shared_config={"k": "v"},
        phases=tuple(phases),
        scope="toy data",
    )


def pilot() -> PhaseInfo:
    """Return a pilot of one run."""
    one = ResultTable("pilot", (("base", 1000),), (run("base", 1000, 1.0),))
    return PhaseInfo("pilot", "Pilot", PhaseStatus.COMPLETE, one, analyse_pilot(one, "loss"))


def running_pilot() -> ResultTable:
    """Return a pilot with one of its two runs done."""
    planned = (("base", 1000), ("arm", 1000))
    rows = (run("base", 1000, 1.0),)
    return ResultTable("pilot", planned, rows, (Hole("arm", 1000, HoleReason.RUNNING),))


def unrun() -> ResultTable:
    """Return a multi-seed phase of which nothing was run."""
    planned = tuple((name, seed) for seed in range(10) for name in ("base", "arm"))
    holes = tuple(Hole(name, seed, HoleReason.NOT_RUN) for name, seed in planned)
    return ResultTable("multiseed", planned, (), holes)


def half_done() -> ResultTable:
    """Return a multi-seed phase with runs done, failed, running and waiting."""
    given = table(scaled(0.97), missing=(2, 5, 7, 8, 9))
    reasons = {7: HoleReason.RUNNING, 8: HoleReason.NOT_RUN, 9: HoleReason.NOT_RUN}
    holes = tuple(
        Hole("arm", hole.seed, reasons[hole.seed]) if hole.seed in reasons else hole
        for hole in given.holes
    )
    return dataclasses.replace(given, holes=holes)


SCENES: dict[str, Callable[[], ReportInput]] = {
    "published": published.report_input,
    "nothing run": lambda: report(None, PhaseStatus.NOT_RUN),
    "improvement": lambda: report(table(scaled(0.97))),
    "harm": lambda: report(table(scaled(1.03))),
    "maximize": lambda: report(table(scaled(1.03)), direction="maximize"),
    "within the margin": lambda: report(table(scaled(1.003))),
    "identical": lambda: report(table(BASE)),
    "copied": lambda: report(table(BASE + 0.25)),
    "outlier": lambda: report(table(BASE - np.eye(10)[3] * 0.5)),
    "missing runs": lambda: report(table(scaled(0.97), missing=(2, 5, 7))),
    "partly done": lambda: report(half_done(), PhaseStatus.NEEDS_PERSON),
    "failed runs": lambda: report(table(scaled(0.97), missing=(2, 5, 7)), PhaseStatus.NEEDS_PERSON),
    "one pair": lambda: report(table(scaled(0.97), missing=tuple(range(1, 10)))),
    "no pair": lambda: report(table(scaled(0.97), missing=tuple(range(10)))),
    "gates": lambda: gated(report(table(scaled(0.97)))),
    "changed plan": lambda: dataclasses.replace(
        report(table(scaled(1.03))), seal=PlanSeal(SealState.CHANGED, "new", "old", "2026-01-01")
    ),
}


def gated(given: ReportInput) -> ReportInput:
    """Return the report with a pilot that has an open, a closed and an overridden gate."""
    words = "loss of zero 1, mean of base 2; not past it: base"
    gates = (
        GateInfo("unread-config:rate", False, "the trainer never read the config key rate"),
        GateInfo("finite-metrics", True, "1 metric finite in 1 run"),
        GateInfo("clears-reference:zero", False, words, "known | and *meant*", "2026-01-02"),
    )
    first, *others = given.phases
    return dataclasses.replace(given, phases=(dataclasses.replace(first, gates=gates), *others))


@pytest.fixture(params=list(SCENES))
def text(request: pytest.FixtureRequest) -> str:
    """The rendered report of each scene in turn."""
    return render_report(SCENES[request.param](), [TEMPLATES])


def test_the_published_values_give_the_golden_report() -> None:
    """Line by line; refresh with `python -m tests.pipeline.refresh_golden` and read the diff."""
    golden, now = GOLDEN.read_text(encoding="utf-8"), rendered()
    diff = difflib.unified_diff(golden.splitlines(), now.splitlines(), "golden", "now", lineterm="")
    assert golden == now, "\n" + "\n".join(diff)


def test_every_gate_stands_with_its_outcome_and_an_override_is_a_deviation() -> None:
    """Open, closed, or closed and overridden, with the numbers; the reason is plain text."""
    text = render_report(SCENES["gates"](), [TEMPLATES])
    gates, deviations = text.split("## Gates")[1].split("## Deviations")
    assert "| `unread-config:rate` | closed | the trainer never read" in gates
    assert "| `finite-metrics` | open | 1 metric finite in 1 run |" in gates
    assert "| `clears-reference:zero` | closed, overridden | loss of zero 1" in gates
    assert "overridden by a person at 2026-01-02: known \\| and \\*meant\\*" in deviations
    assert "finite-metrics" not in deviations


def test_no_forbidden_word_is_said(text: str) -> None:
    """Wording rules: nothing is oversold, nothing is missing, no p is zero."""
    found = [match[0] for match in FORBIDDEN.finditer(text)]
    assert found == []
    assert re.findall(r"equivalen\w*", text, re.IGNORECASE) == re.findall("EQUIVALENT", text)


def test_only_the_wording_macros_compare() -> None:
    """No other template holds a comparing word."""
    words = re.compile(r"\b(lower|higher|better|worse|best|outperform\w*|superior|inferior)\b")
    sources = [path for path in TEMPLATES.rglob("*.j2") if "wording" not in path.name]
    assert len(sources) > 5
    assert {path.name: words.findall(path.read_text()) for path in sources} == {
        path.name: [] for path in sources
    }


@pytest.mark.parametrize("name", ["improvement", "harm", "maximize"])
def test_every_comparing_sentence_states_its_numbers(name: str) -> None:
    """Difference, interval, pairs, test, corrected p and margin follow the claim."""
    text = render_report(SCENES[name](), [TEMPLATES])
    claims = [line for line in text.splitlines() if COMPARING.search(line) and "Arm has" in line]
    assert claims
    for line in claims:
        sign = "-" if "has lower" in line else "+"
        assert f"difference {sign}" in line
        for part in ("95% CI [", "10 pairs", "Holm-corrected p", "paired t test", "margin ±1.00%"):
            assert part in line


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
    assert said in render_report(SCENES[scene](), [TEMPLATES])


def test_a_changed_plan_marks_every_verdict() -> None:
    """No verdict of a changed plan stands without POST-HOC."""
    text = render_report(SCENES["changed plan"](), [TEMPLATES])
    assert text.count("**REJECTED**") == text.count("**REJECTED** (POST-HOC)")
    assert "POST-HOC)" not in render_report(SCENES["harm"](), [TEMPLATES])


def test_a_pilot_says_nothing_about_conditions() -> None:
    """The pilot's section holds values and costs, and no inference."""
    section = rendered().split("## Phase 0")[1].split("## Phase 1")[0]
    assert "Ran; no inference is drawn from single runs." in section
    assert not re.search(r"\bCI\b|\bp [=<]|%|than", section)


@pytest.mark.parametrize("scene", ["partly done", "failed runs"])
def test_a_phase_with_open_holes_shows_values_and_infers_nothing(scene: str) -> None:
    """Values by seed with holes by reason; no test, interval, mean or verdict before the end."""
    text = render_report(SCENES[scene](), [TEMPLATES])
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


def test_the_summary_fits_a_screen(text: str) -> None:
    """At a hundred characters a line no more than fifty lines."""
    summary = text.split("\n## ")[1]
    lines = [-(-len(line) // 100) for line in summary.splitlines()]
    assert sum(max(1, n) for n in lines) <= 50


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
    assert FORBIDDEN.search(advice) is None
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


def test_tables_are_whole(text: str) -> None:
    """Every row of a table has as many cells as its head."""
    cells = 0
    for line in text.splitlines():
        if not line.startswith("|"):
            cells = 0
            continue
        count = len(re.findall(r"(?<!\\)\|", line))
        assert cells in (0, count), line
        cells = count


def test_text_of_the_study_cannot_break_the_document() -> None:
    """Labels and notes are data: pipes, ticks, newlines, HTML and links stay text."""
    nasty = "x | `y`\n\n# z <b> [l](u) $m$ *e* _i_"
    given = report(table(scaled(1.03), missing=(4,)))
    hole = Hole("arm", 4, HoleReason.FAILED, nasty)
    first, second = given.phases
    assert second.table is not None
    second = dataclasses.replace(
        second, title=nasty, table=dataclasses.replace(second.table, holes=(hole,))
    )
    given = dataclasses.replace(
        given,
        study=nasty,
        question=nasty,
        phases=(first, second),
        conditions=tuple(
            ConditionInfo(c.name, nasty, {"a|b": nasty, "c": "``"}) for c in given.conditions
        ),
        deviations=(nasty,),
        reproduce=("echo ```", "one\ntwo"),
    )
    text = render_report(given, [TEMPLATES])
    test_tables_are_whole(text)
    assert text.count("\n# ") == 0
    assert "<b>" not in text.replace("\\<b\\>", "")
    assert "x \\| \\`y\\` # z \\<b\\> \\[l\\](u) \\$m\\$ \\*e\\* \\_i\\_" in text
    assert "````sh\necho ```\none two\n````" in text


def test_workspace_templates_come_first(tmp_path: Path) -> None:
    """A user replaces one part and keeps the rest."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "guide.md.j2").write_text("Our own guide.")
    text = render_report(report(), [tmp_path, TEMPLATES])
    assert "Our own guide." in text
    assert "## Executive summary" in text


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ report.nothing }}", "no attribute 'nothing'"),
        ("{{ plan.alpha }}", "0.05 would be printed without a format"),
        ("{{ report.phases[0].cost.gpu_hours }}", "None would be printed without a format"),
        ("a\n{% if %}", "RESULTS.md.j2:2: the report's template is wrong: "),
        ("a\n\n{{ 1 / 0 }}", "RESULTS.md.j2:3: the report's template is wrong: ZeroDivision"),
        ("{{ 'a'|margin }}", "RESULTS.md.j2:1: the report's template is wrong: ValueError"),
        ("{{ 1|margin(2, 3) }}", "RESULTS.md.j2:1: the report's template is wrong: TypeError"),
        ("{{ 1|gone }}", "RESULTS.md.j2:1: the report's template is wrong: No filter named"),
        ("{{ gone }}", "RESULTS.md.j2:1: the report's template is wrong: 'gone' is undefined"),
        ("{% include 'RESULTS.md.j2' %}", "is wrong: RecursionError"),
        ("{% include 'gone.md.j2' %}", "no template gone.md.j2"),
    ],
)
def test_a_template_never_prints_what_is_not_there(
    tmp_path: Path, template: str, said: str
) -> None:
    """A missing value, a bare number or a missing part is an error that names it."""
    (tmp_path / "RESULTS.md.j2").write_text(template)
    with pytest.raises(PipelineError, match=re.escape(said)):
        render_report(report(), [tmp_path])


def test_a_wrong_part_is_named_by_its_own_line(tmp_path: Path) -> None:
    """Not by the template that includes it, and whatever function of ours it upsets."""
    (tmp_path / "results").mkdir()
    part = tmp_path / "results" / "guide.md.j2"
    part.write_text("fine\n{{ seed_rows(3) }}\n")
    with pytest.raises(PipelineError, match=re.escape(f"{part}:2: the report's template is wrong")):
        render_report(report(), [tmp_path, TEMPLATES])


def test_a_template_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are an error about that file."""
    part = tmp_path / "RESULTS.md.j2"
    part.write_bytes(b"caf\xe9")
    with pytest.raises(PipelineError, match=re.escape(f"{part}: the report's template cannot be")):
        render_report(report(), [tmp_path, TEMPLATES])


@pytest.mark.parametrize(
    ("p", "cell"),
    [
        (0.0577237, "0.0577"),
        (0.5, "0.500"),
        (1.0, "1.00"),
        (1.49e-5, "1.49e-05"),
        (1e-6, "1.00e-06"),
        (9.9e-7, "< 1e-6"),
        (0.0, "< 1e-6"),
    ],
)
def test_p_has_three_digits_and_a_floor(p: float, cell: str) -> None:
    """No p is ever zero."""
    assert markdown.p_cell(p) == cell


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (0.009692448, 7.1758e-6, "0.00969245"),
        (0.009730532, 1.9871e-5, "0.0097305"),
        (1234.5678, 0.5, "1234.568"),
        (2.7e-15, 1.2e-17, "2.7000e-15"),
        (0.0, 0.01, "0.0000"),
        (0.1234567, None, "0.123457"),
        (None, 0.1, "not measured"),
    ],
)
def test_values_have_three_digits_of_their_error(
    value: float | None, error: float | None, shown: str
) -> None:
    """More digits would be noise, fewer would hide the difference."""
    assert markdown.number(value, error) == shown


@pytest.mark.parametrize(
    ("hours", "shown"),
    [
        (45.0, "45.00"),
        (0.5, "0.5"),
        (0.0123, "0.012"),
        (1.2e-6, "< 0.001"),
        (0.0, "0"),
        (None, "not recorded"),
    ],
)
def test_hours_are_never_powers_of_ten(hours: float | None, shown: str) -> None:
    """What is too short to matter says so."""
    assert markdown.hours(hours) == shown
