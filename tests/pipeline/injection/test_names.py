"""Names of a study and of its workspace become folders, options and paths of nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.store import StateStore
from pipeline.study import load_study
from pipeline.study_file import _NAME
from pipeline.workspace import Workspace, find_workspace
from tests.inprocess import Cluster, installed, make_workspace, pipeline
from tests.pipeline.conftest import TOY_STUDY, make_toy
from tests.pipeline.injection.odd import few, odd_texts


@few
@given(odd_texts, st.sampled_from(["name", "phase", "condition", "hypothesis", "profile"]))
def test_a_name_that_could_mean_more_is_refused(
    tmp_path_factory: Any, text: str, what: str
) -> None:
    """Only ASCII letters, digits, "-" and "_" make names: no folder, option or path of another."""
    quoted = json.dumps(text, ensure_ascii=False)
    replaced = {
        "name": ('name = "toy"', f"name = {quoted}"),
        "phase": ("[phases.pilot]", f'[phases.{quoted}]\nkind = "pilot"'),
        "condition": ("[conditions.worse]", f"[conditions.{quoted}]"),
        "hypothesis": ("[hypotheses.handicap-helps]", f"[hypotheses.{quoted}]"),
        "profile": ('name = "toy"', f'name = "toy"\nprofile = {quoted}'),
    }[what]
    place = make_toy(tmp_path_factory.mktemp("names"))
    content = TOY_STUDY.replace(*replaced).replace('candidate = "worse"', "candidate = " + (
        quoted if what == "condition" else '"worse"'))  # fmt: skip
    place.study_file.write_bytes(content.encode("utf-8", "surrogatepass"))
    try:
        load_study(place.study_file)
    except PipelineError:
        return
    assert _NAME.fullmatch(text)


@pytest.mark.parametrize("table", ["phases", "conditions"])
def test_names_that_differ_in_case_alone_are_refused(workspace: Workspace, table: str) -> None:
    """On some file systems they would be one folder."""
    more = {
        "phases": '[phases.Pilot]\nkind = "pilot"\nseeds = [7]\n',
        "conditions": '[conditions.BASELINE]\nlabel = "B"\nconfig.handicap = 3.0\n',
    }[table]
    workspace.study_file.write_text(TOY_STUDY + more, encoding="utf-8")
    with pytest.raises(PipelineError, match="differ in case alone"):
        load_study(workspace.study_file)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"pilot/baseline', '"pilot/../../baseline'),
        ('"phases": {\n    "pilot"', '"phases": {\n    "../pilot"'),
        ('"phase": "pilot"', '"phase": "../../pilot"'),
    ],
)
def test_a_state_that_leads_out_of_the_workspace_is_refused(
    tmp_path: Path, old: str, new: str
) -> None:
    """Folders are called after what stands there."""
    place = make_workspace(tmp_path / "ws")
    with installed(Cluster()):
        pipeline("advance", "-w", str(place.root))
    path = place.state_dir / "pipeline.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(PipelineError, match=r"pipeline\.json:\d+:\d+"):
        StateStore(place.state_dir).load()


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\x07"])
def test_a_workspace_whose_path_no_line_could_hold_is_refused(tmp_path: Path, name: str) -> None:
    """A line break in it would begin a line of a script."""
    make_toy(tmp_path / name)
    with pytest.raises(PipelineError, match="control characters"):
        find_workspace(tmp_path, tmp_path / name)
