"""Planted truths through the whole path, from result files to the sentences of RESULTS.md."""

import re
from dataclasses import replace

import pytest

from pipeline.publish import publish
from pipeline.replan import replanned
from pipeline.site import Site
from tests.pipeline.planting import planted
from tests.pipeline.report_rules import assert_tables_are_whole, forbidden_in
from tests.pipeline.truths import TRUTHS, Planting
from tests.recompute.whole import recompute

GIVING = {"1": 1, "2b": 1, "3": 3}
"""Verdicts by phase: multiseed, confirm, alternatives."""


@pytest.mark.parametrize("name", list(TRUTHS))
def test_a_planted_truth_gets_its_verdict_in_every_phase(whole: Site, name: str) -> None:
    """Multi-seed, confirmation of the selected cell, alternatives; in the words of the rules."""
    truth = TRUTHS[name]
    publish(whole.workspace, whole.study, planted(whole, truth))
    text = whole.workspace.report_file.read_text(encoding="utf-8")

    answers = text.split("**Answer.**")[1].split("Scope:")[0]
    found = re.findall(r"^- \*\*([A-Z]+)\*\* in phase (\w+), ", answers, re.MULTILINE)
    assert found == [(truth.outcome, phase) for phase, n in GIVING.items() for _ in range(n)]
    assert truth.said in answers
    assert forbidden_in(text) == []
    assert_tables_are_whole(text)
    assert not re.search(r"SUPPORTED|REJECTED|EQUIVALENT|INCONCLUSIVE", sweep_section(text))


def sweep_section(text: str) -> str:
    """The sweep's own section of a report."""
    return text.split("## Phase 2: ")[1].split("## Phase 2b: ")[0]


def test_a_sweep_of_noise_selects_and_its_confirmation_is_not_fooled(whole: Site) -> None:
    """The selected cell looks favourable where it was selected, and the optimism is printed."""
    publish(whole.workspace, whole.study, planted(whole, Planting("", noise=0.02)))
    text = whole.workspace.report_file.read_text(encoding="utf-8")
    section = sweep_section(text)
    (estimate,) = re.findall(r"Its estimate here, from Baseline, is ([-+.\d]+)%", section)
    assert float(estimate) < -1
    (points,) = re.findall(
        r"Optimism of the selection: ([-+.\d]+) points", text.split("## Phase 2b")[1].split("##")[0]
    )
    assert float(points) < -0.5
    assert "**INCONCLUSIVE** in phase 2b" in text
    assert "was not tuned, while Lifted was tried in 10" in section
    assert re.search(r"no trend is resolved", section)


def test_phases_that_have_not_run_say_so(whole: Site) -> None:
    """No number, no verdict; the confirmation names what it waits for."""
    state, _ = replanned(whole.study, whole.profile_name, None)
    publish(whole.workspace, whole.study, state)
    text = whole.workspace.report_file.read_text(encoding="utf-8")
    assert "\nNot run: its runs are planned once phase sweep has selected a setting.\n" in text
    assert text.count("\nNot run.\n") == 5
    assert forbidden_in(text) == []
    said = text.split("## How to read a verdict")[0]
    assert not re.search(r"SUPPORTED|REJECTED|EQUIVALENT|INCONCLUSIVE|\d%.*CI", said)


def test_a_sweep_under_way_shows_values_by_setting_and_infers_nothing(whole: Site) -> None:
    """A line for each setting, holes by reason, no estimate before all its runs have ended."""
    state = planted(whole, lambda run: None if run.seed == 102 else TRUTHS["harm"](run))
    record = replace(state.phases["sweep"], accepted_failed=False)
    state = replace(state, phases={**state.phases, "sweep": record})
    publish(whole.workspace, whole.study, state)
    section = sweep_section(whole.workspace.report_file.read_text(encoding="utf-8"))
    assert "| Setting | seed 100 | seed 101 | seed 102 |" in section
    assert len(re.findall(r"^\| Lifted, .*\| failed \|$", section, re.MULTILINE)) == 10
    assert not re.search(r"±|selected|Page", section)


@pytest.mark.parametrize("name", ["improvement", "unresolvable", "missing seeds", "identical"])
def test_every_number_is_recomputed_from_the_runs(whole: Site, name: str) -> None:
    """Nothing of our analysis is used: tables are read back and compared digit by digit."""
    publish(whole.workspace, whole.study, planted(whole, TRUTHS[name]))
    checked, wrong = recompute(whole.workspace.root)
    assert wrong == []
    assert checked > 400


def test_a_wrong_number_anywhere_is_found(whole: Site) -> None:
    """In sentences, findings, advice and counts: each change of one digit is told."""
    publish(whole.workspace, whole.study, planted(whole, TRUTHS["unresolvable"]))
    path = whole.workspace.report_file
    text = path.read_text(encoding="utf-8")
    for pattern in CHANGES:
        found = re.search(pattern, text, re.MULTILINE)
        assert found, pattern
        digit = str((int(found[1]) + 1) % 10)
        path.write_text(text[: found.start(1)] + digit + text[found.end(1) :], encoding="utf-8")
        assert recompute(whole.workspace.root)[1], pattern


CHANGES = (
    r"^- \*\*INC.* difference [-+](\d)",
    r"^- \*\*INC.*by the paired t test and p = 0\.\d\d(\d)",
    r"^- \*\*INC.* [-+](\d)\.\d\d% \[[^]]*\]\.$",
    r"^- Resolution.*handicap-helps ±\d\.(\d)",
    r"^- Spread.*alternatives-turned \d+\.(\d)",
    r"^- Evaluation.*Baseline 0\.0(\d)",
    r"^- Cost of one run.*Baseline 0\.01(\d)",
    r"^\| handicap-helps \| .*\| 0\.(\d)\d* \| 1, multiseed \|$",
    r"^Verdict: .* 95% CI \[[-+]\d\.(\d)",
    r"An improvement by the margin or more is .*?one-sided p = 0\.\d(\d)",
    r"takes (\d)\d* further pairs",
    r"and \d+ further pairs \(\d*(\d) in all\) for EQUIVALENT",
    r"^\| 3 Alternatives \| complete \| \d(\d)",
    r"^\| 3 Alternatives \| \d+ \| \d(\d)",
    r"^\| 3 Alternatives \| 0 \| 0\.6(\d)",
    r"^\| 3 Alternatives \| complete \| 40 of 4(\d)",
    r"^Complete: 2(\d) of 20",
    r"^Complete: 20 of 2(\d)",
    r"^\| Baseline \| \[1000\]\S+ \| 0\.9(\d)",
    r"^\| Baseline \| \[1000\]\S+ .* (\d)\d\.0 \| 77 \|$",
    r"^\| 20(\d) \| \[",
    r"^\| Setting \| seed 10(\d)",
    r"^\| \*reference:\* zero \|.* (\d)\.50000",
    r"evaluation SE 0\.00(\d)00",
    r"^Standard error of one run's .* Baseline 0\.00(\d)00",
    r"^Selected: .* is [-+]\d\.\d\d% ± (\d)",
    r"^- Phase 2, sweep: .* is selected \(estimate [-+]\d\.(\d)",
    r"^- Phase 2b, confirm: Optimism of the selection: [-+]\d\.(\d)",
)
"""A digit in the first group."""
