"""A phase of kind diagnostics: declared, planned, run; planted truths through the whole path."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.gather import gather
from pipeline.plan import plan_phase
from pipeline.publish import publish
from pipeline.report import render_report
from pipeline.site import Site, open_site
from pipeline.state import RunRecord, State
from pipeline.study import load_study
from tests.inprocess import study_in
from tests.pipeline.conftest import edit, make_toy
from tests.pipeline.planting import planted
from tests.pipeline.recorded import Planted, recorded
from tests.pipeline.report_rules import assert_tables_are_whole, forbidden_in
from tests.recompute.whole import recompute

STUDY = """\
[study]
name = "whole"
question = "Does a handicap matter?"
trainer = "toy:ToyTrainer"
metric = { name = "loss", direction = "minimize" }

[config]
steps = 2

[conditions.baseline]
label = "Baseline"

[conditions.mined]
label = "Mined"
config.handicap = 0.5

[conditions.twin]
label = "Twin | `x`"
config.handicap = 0.1

[phases.diagnostics]
seeds = "20-24"
config.diagnostics = { every = 10 }
"""
KINDS = ("summaries", "likeness", "components", "gradients", "cosines", "energies", "negatives")
TRUE = {
    "baseline": Planted(noise=0.02),
    "mined": Planted(effect=0.6, noise=0.02, own=True),
    "twin": Planted(noise=0.02, own=True),
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A workspace with a study of one phase of diagnostics."""
    return open_site(make_toy(tmp_path / "ws", STUDY), None)


def metrics(run: RunRecord) -> Mapping[str, float]:
    """The same for all: diagnostics decide nothing."""
    return {"loss": 1.0 + 0.01 * run.seed}


def planted_truth(site: Site, truth: Mapping[str, Planted] = TRUE, salted: bool = True) -> State:
    """All runs done, with recordings as planted."""
    names = list(site.study.file.conditions)

    def record(run: RunRecord) -> tuple[Mapping[str, float], bytes]:
        salt = names.index(run.condition) if salted else 0
        return recorded(truth[run.condition], run.seed, salt)

    return planted(site, metrics, record=record)


def reported(site: Site, state: State) -> str:
    """RESULTS.md without figures; its tables are whole and its words obey the rules."""
    report = gather(site.workspace, site.study, state)
    text = render_report(report, site.workspace.template_dirs())
    site.workspace.report_file.write_text(text, encoding="utf-8")
    assert forbidden_in(text) == []
    assert_tables_are_whole(text)
    return text


def section(text: str) -> str:
    """The part of a report that is about the phase."""
    return text.split(": Diagnostics\n")[1].split("\n## ")[0]


def test_planted_differences_are_found_and_told_as_associations(site: Site) -> None:
    """From files to sentences: what was planted stands out, its twin shows nothing."""
    text = section(reported(site, planted_truth(site)))
    assert text.count("Exploratory") == 1
    for said in (
        "- distance is higher with Mined than with Baseline (difference +0.5",
        "- false negative share is lower with Mined than with Baseline (difference -0.",
        "- gradient cosine is lower with Mined than with Baseline (difference -0.",
        "- energy distance is higher with Mined than with Baseline",
        "- features of the first hidden layer differ between Mined and Baseline beyond what",
        "Mined: an association in the first, second hidden layer (CKA lost beyond the seed's",
        "Twin \\| \\`x\\`: not resolved in any hidden layer",
        "Each is an association over runs; none says why",
    ):
        assert said in text
    found = re.findall(r"^- .* with (\w+) than with Baseline", text, re.MULTILINE)
    assert set(found) == {"Mined"}
    assert not re.search(r"SUPPORTED|REJECTED|EQUIVALENT|INCONCLUSIVE", text)
    facts = r"\((difference|mean) [-+]\S+, 95% CI \[\S+ \S+\], 5 .*p [=<] \S+, q [=<] \S+\)$"
    bullets = re.findall(r"^- .*(?: than with | zero with | beyond what ).*$", text, re.MULTILINE)
    assert len(bullets) >= 8
    assert all(re.search(facts, line) for line in bullets)


def test_identical_arms_give_no_finding(site: Site) -> None:
    """The same recordings under three names: nothing but the cosines' distance from zero."""
    truth = dict.fromkeys(TRUE, Planted(noise=0.02))
    text = reported(site, planted_truth(site, truth, salted=False))
    own = section(text)
    assert not re.search(r"than with Baseline|beyond what another seed makes \(", own)
    assert own.count("not resolved in any hidden layer") == 2
    assert "At a false discovery rate of 10% 3 stand out" in own  # one for each condition
    assert "No diagnostic of phase 0 that would bear on an explanation stands out." in text


def test_explanations_are_hypotheses_tied_to_a_finding(site: Site) -> None:
    """Only for what stands out, each with its numbers; without the phase there is none."""
    text = reported(site, planted_truth(site))
    offered = text.split("## Possible explanations")[1].split("\n## ")[0]
    bullets = re.findall(r"^- .*$", offered, re.MULTILINE)
    assert len(bullets) >= 4
    for line in bullets:
        assert re.match(r"- Hypothesis: .*\. In phase 0, .*95% CI \[.*q [=<] ", line)
    assert all("The contrastive loss of Twin" in line for line in bullets if "Twin" in line)
    assert "Measured in phase 0 without standing out: " in offered
    assert "distance (Twin" in offered


def test_every_number_is_recomputed_from_the_files(site: Site) -> None:
    """Means, intervals, CKA, two-sample statistics, p and q, by formulas that share nothing."""
    reported(site, planted_truth(site))
    checked, wrong = recompute(site.workspace.root)
    assert wrong == []
    assert checked > 400


def test_figures_are_drawn_and_always_the_same(site: Site) -> None:
    """Seven of small multiples; the same files give the same bytes."""
    state = planted_truth(site)
    publish(site.workspace, site.study, state)
    text = section(site.workspace.report_file.read_text(encoding="utf-8"))
    shown = re.findall(r"!\[[^\]]+\]\(figures/diagnostics-(\w+)\.svg\)", text)
    assert tuple(shown) == KINDS
    folder = site.workspace.figures_dir
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(before) == len(KINDS)
    for content in before.values():
        assert ET.fromstring(content).tag.endswith("svg")
    publish(site.workspace, site.study, state)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_run_without_usable_diagnostics_is_a_hole_of_them_alone(site: Site) -> None:
    """Its result counts as a result; its diagnostics are missing by name, and pairs are fewer."""
    state = planted_truth(site)
    (folder,) = site.workspace.root.glob("runs/diagnostics/mined-s22-*")
    (folder / "diagnostics.npz").write_bytes(b"\x80\x04.")  # a pickle
    text = reported(site, state)
    own = section(text)
    why = "diagnostics.npz is not the file that the run left (its digest differs)"
    assert f"- Mined, seed 22: {why}" in own
    assert f"{folder.name} counts for no diagnostic: {why}." in text.split("## Deviations")[1]
    assert re.search(r"^\| distance \| Mined \| .* \| 4 \|", own, re.MULTILINE)
    assert re.search(r"^\| distance \| Twin .* \| 5 \|", own, re.MULTILINE)
    assert f"runs/diagnostics/{folder.name}/result.json" in own
    assert recompute(site.workspace.root)[1] == []


def test_failed_runs_leave_fewer_pairs(site: Site) -> None:
    """Down to two seeds features cannot be told from luck, and the report says so."""

    def truth(run: RunRecord) -> Mapping[str, float] | None:
        return None if run.condition != "baseline" and run.seed > 21 else metrics(run)

    state = planted(site, truth, record=lambda run: recorded(TRUE[run.condition], run.seed))
    own = section(reported(site, state))
    assert "it takes three seeds that a condition shares with Baseline" in own
    assert "Learned features" not in own
    assert recompute(site.workspace.root)[1] == []


def test_a_phase_whose_runs_recorded_nothing_is_still_reported(site: Site) -> None:
    """Every run by name, no estimate, no figure, no error."""
    publish(site.workspace, site.study, planted(site, metrics))
    text = section(site.workspace.report_file.read_text(encoding="utf-8"))
    assert text.count("it left no diagnostics") == 15
    assert "No run has usable diagnostics." in text
    assert "figures/" not in text


def test_the_phase_runs_like_any_other(tmp_path: Path) -> None:
    """Submitted, collected, reported; what the toy leaves is no archive, and each run says so."""
    with study_in(tmp_path / "ws") as study:
        text = STUDY.replace('name = "whole"', 'name = "whole"\nprofile = "cluster"')
        study.workspace.study_file.write_text(text, encoding="utf-8")
        done = study.walk()
    assert done.code == 0, done.err
    text = section(study.workspace.report_file.read_text(encoding="utf-8"))
    assert "Complete: 15 of 15 runs." in text
    assert text.count("diagnostics.npz: it is no archive of arrays") == 15


def test_runs_are_planned_with_the_phase_s_own_config(site: Site) -> None:
    """Every condition at every seed; each run is asked to record."""
    runs = plan_phase(site.study, "diagnostics")
    assert len(runs) == 15
    assert {run.config["diagnostics"]["every"] for run in runs} == {10}
    assert gather(site.workspace, site.study, planted_truth(site)).phases[0].title == "Diagnostics"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("config.diagnostics = { every = 10 }", "", "baseline would record nothing; say what to"),
        ("every = 10", "evry = 10", 'did you mean "every"'),
        ('"20-24"', '"20-21"', "phases.diagnostics needs 3 seeds or more"),
        ('"20-24"', '"20-24"\nconfirmatory = true', "diagnostics confirm nothing"),
        ('"20-24"', '"20-24"\nconditions = ["mined"]', "leaves out 'baseline'"),
        ("[phases.diagnostics]", "[phases.diagnostic]", 'did you mean "diagnostics"'),
    ],
)
def test_a_mistake_in_the_phase_is_named(site: Site, old: str, new: str, said: str) -> None:
    """Before anything is submitted, with its key path."""
    edit(site.workspace, old, new)
    with pytest.raises(PipelineError) as caught:
        load_study(site.workspace.study_file)
    assert str(caught.value).startswith("study.toml: ")
    assert said in str(caught.value)


def test_seeds_of_diagnostics_are_its_own(site: Site) -> None:
    """A phase that decides must not share them."""
    edit(
        site.workspace,
        "[phases.diagnostics]",
        "[phases.pilot]\nseeds = [22]\n\n[phases.diagnostics]",
    )
    with pytest.raises(PipelineError, match="pilot and diagnostics share seed 22"):
        load_study(site.workspace.study_file)
