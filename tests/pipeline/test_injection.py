"""Names and texts of a study mean nothing to file systems, shells, Slurm, Markdown or terminals."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline import display
from pipeline.analysis.multiseed import analyse_multiseed
from pipeline.errors import PipelineError
from pipeline.figures import figures_of
from pipeline.markdown import one_line
from pipeline.private import own_folder, owner_writes
from pipeline.report import render_report
from pipeline.report_html import _inline, render_html
from pipeline.report_input import GateInfo, ReportInput
from pipeline.site import Site, open_site
from pipeline.state import RunStatus, TaskState
from pipeline.store import StateStore
from pipeline.study import load_study
from pipeline.study_file import _NAME
from pipeline.view import view_of
from pipeline.words import harmless
from pipeline.workspace import Workspace, find_workspace
from tests.fakeslurm.control import FakeSlurm
from tests.fuzz.damage import HOSTILE_TEXTS
from tests.inprocess import Cluster, installed, make_workspace, pipeline
from tests.pipeline.conftest import TOY_STUDY, Cli, make_toy, state_of
from tests.pipeline.published import HYPOTHESES, PLAN, report_input, table
from tests.pipeline.refresh_golden import TEMPLATES

ODD = [
    *HOSTILE_TEXTS,
    "a*b*c",
    "[a](b)",
    "![a](b)",
    "<a href='x'>",
    "<!-- x -->",
    "&lt;b&gt;",
    "a\\",
    "~~~",
    "```",
    "1. a",
    "- a",
    "===",
    "---",
    "> a",
    "    a",
    "| --- |",
    "</script>",
    "</style>",
    "$x^2$",
    "a_b_c",
    "{% include %}",
    "\x9b31m",
    "\x07",
    "\u2028",
    "\ufffe",
    "\U0001ffff",
    "--",
    "]]>",
]
texts = st.one_of(
    st.sampled_from(ODD), st.text(max_size=20), st.lists(st.sampled_from(ODD)).map("".join)
)
few = settings(max_examples=40, deadline=None, derandomize=True)


# -- names ------------------------------------------------------------------------------------


@few
@given(texts, st.sampled_from(["name", "phase", "condition", "hypothesis", "profile"]))
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


# -- shell and sbatch -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_folder_s_name_is_no_command(
    tmp_path: Path, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spaces, dollars, semicolons and backticks in the workspace's path are just its path."""
    monkeypatch.chdir(tmp_path)
    place = make_workspace(tmp_path / "w $(touch hacked); `touch hacked` & #SBATCH --hold")
    assert pipeline("advance", "-w", str(place.root)).code == 0
    fake_slurm.wait(fake_slurm.jobs()[0].id, timeout=60)
    pipeline("advance", "-w", str(place.root))
    assert {r.status for r in state_of(place).runs_of("pilot").values()} == {RunStatus.DONE}
    assert not list(tmp_path.rglob("hacked"))


@pytest.mark.parametrize("name", ["a%jb", 'a"b', "a'b", "a\\b"])
def test_a_path_that_slurm_would_read_in_its_own_way_is_refused(
    tmp_path: Path, fake_slurm: FakeSlurm, name: str
) -> None:
    """%j in the name of a folder would send logs elsewhere; nothing was submitted."""
    place = make_workspace(tmp_path / name)
    ended = pipeline("advance", "-w", str(place.root))
    assert ended.code == 2
    assert "rename the folder" in ended.err
    assert fake_slurm.jobs() == []


def test_sbatch_that_prints_no_job_id_may_have_made_one(
    tmp_path: Path, fake_slurm: FakeSlurm
) -> None:
    """Its words are shown, the intent stays, and the job is looked for before another is made."""
    real = fake_slurm.bin / "sbatch"
    (fake_slurm.directory / "real").mkdir()
    hidden = real.rename(fake_slurm.directory / "real" / "sbatch")
    real.write_text(f'#!/bin/sh\n"{hidden}" "$@" >/dev/null\nprintf "ok \\033[31m;²\\n"\n')
    real.chmod(0o755)
    place = make_workspace(tmp_path / "ws")
    ended = pipeline("advance", "-w", str(place.root))
    assert ended.code == 4
    assert "printed no job id but: ok ;²" in ended.err
    hidden.rename(real)
    assert "found job" in pipeline("advance", "-w", str(place.root)).out
    assert len(fake_slurm.jobs()) == 1


# -- pickles ----------------------------------------------------------------------------------


def test_nobody_else_may_write_what_is_executed(tmp_path: Path, fake_slurm: FakeSlurm) -> None:
    """Under the most permissive umask: pickles, scripts, task files and copied code are ours."""
    fake_slurm.configure(slots=0)
    place = make_workspace(tmp_path / "ws")
    before = os.umask(0)
    try:
        assert pipeline("advance", "-w", str(place.root)).code == 0
    finally:
        os.umask(before)
    made = [*place.logs_dir.rglob("*"), *place.code_dir.rglob("*.py"), *place.code_dir.glob("*/*")]
    names = {path.name for path in made}
    assert {"task-0.pkl", "submission.sh", "task-0000.json", "toy.py"} <= names
    for path in made:
        if not path.is_symlink():
            assert not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH), path


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """What lies there would be executed as ours."""
    folder = tmp_path / "job"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(PipelineError, match=f"; chmod go-w {re.escape(str(folder))}"):
        own_folder(folder, tmp_path)


def test_a_folder_in_an_open_one_or_of_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be put in the place of ours; a sticky folder such as /tmp is no harm."""
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o1777)
    own_folder(place / "a", tmp_path)
    place.chmod(0o777)
    with pytest.raises(PipelineError, match="everybody may write there"):
        own_folder(place / "b", tmp_path)
    place.chmod(0o755)
    (place / "link").symlink_to(place / "a")
    with pytest.raises(PipelineError, match="not a folder of yours"):
        own_folder(place / "link", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PipelineError, match="not a folder of yours"):
        own_folder(place / "a", tmp_path)


def test_the_umask_is_what_it_was() -> None:
    """Also when the block ends with an error."""
    before = os.umask(0o027)
    try:
        with pytest.raises(ZeroDivisionError), owner_writes():
            1 / 0  # noqa: B018
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


# -- Markdown, HTML, Jinja, SVG ---------------------------------------------------------------


SHOWN = [text for text in ODD if one_line(text).strip()]


def said(texts: list[str]) -> ReportInput:
    """A report that says each text in a list and in a table, and one in every other place."""
    report, text = report_input(), texts[0]
    condition = report.conditions[0]
    return replace(
        report,
        question=text,
        scope=text,
        hypotheses=tuple(replace(h, statement=text) for h in report.hypotheses),
        conditions=(
            replace(condition, label=text, differences={f"k{n}": t for n, t in enumerate(texts)}),
            *report.conditions[1:],
        ),
        shared_config={**report.shared_config, "key": text},
        deviations=tuple(texts),
        jobs=tuple(replace(job, profile=text) for job in report.jobs),
        reproduce_note=text,
        phases=tuple(
            replace(phase, gates=(GateInfo("finite-metrics", True, text, text, "2026"),))
            for phase in report.phases
        ),
    )


_WORDS = ("text", "code_inline")  # a text with a bar in it is no code span: it may be in a table


def skeleton(text: str) -> list[str]:
    """What a Markdown text is made of, where HTML would be let through."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    kinds = []
    for token in markdown.parse(text):
        kinds.append(token.type)
        kinds += [child.type for child in token.children or () if child.type not in _WORDS]
    return kinds


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        if tag != "code":
            self.found.append(" ".join([tag, *(name for name, _ in attrs)]))


def tags(page: str) -> list[str]:
    """All tags of a page."""
    parser = Tags()
    parser.feed(page)
    return parser.found


def test_a_text_changes_nothing_but_itself_in_the_report() -> None:
    """No heading, table, link, tag or template comes of it, in Markdown or on the page."""
    found = []
    for texts in (
        [" and ".join(SHOWN), *SHOWN],
        [f"plain words {n}" for n in range(len(SHOWN) + 1)],
    ):
        report = render_report(said(texts), [TEMPLATES])
        assert all(c == "\n" or c.isprintable() or ord(c) > 0xFF for c in report)
        page = render_html(report, {}, texts[0], [TEMPLATES])
        found.append((skeleton(report), tags(page)))
    assert found[0] == found[1]


def test_a_text_that_looks_like_a_template_stays_as_it_is() -> None:
    """Data are never a template."""
    report = render_report(said(["{{ 7 * 7 }} {% raw %} {# c #}"]), [TEMPLATES])
    assert "{{ 7 \\* 7 }} {% raw %} {# c #}" in report
    assert "49" not in report.partition("{{ 7")[2][:20]


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    texts.filter(
        lambda t: not any(ord(c) & 0xFFFE == 0xFFFE or "\ud800" <= c <= "\udfff" for c in t)
    )
)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_labels_of_figures_are_text_alone(text: str) -> None:
    """Well-formed SVG without a script, a link or an event, whatever the conditions are called."""
    analysis = analyse_multiseed(table(), PLAN, HYPOTHESES)
    drawn = figures_of(analysis, dict.fromkeys(("baseline", "random", "adversarial"), text))
    assert len(drawn) >= 2
    for svg in drawn.values():
        root = ElementTree.fromstring(svg)
        names = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert not names & {"script", "a", "foreignObject", "image"}
        assert not any(key.startswith("on") for e in root.iter() for key in e.attrib)
        _inline(svg, "f0-")


@pytest.mark.parametrize("code_point", [0xFFFE, 0xFFFF, 0x1FFFE, 0xFDD0])
def test_code_points_that_xml_cannot_hold_are_refused(
    workspace: Workspace, code_point: int
) -> None:
    """No figure could show them."""
    workspace.study_file.write_text(TOY_STUDY.replace("Handicapped", chr(code_point)), "utf-8")
    with pytest.raises(PipelineError, match="no characters cannot stand here"):
        load_study(workspace.study_file)


# -- terminals --------------------------------------------------------------------------------


def obeyed(text: str) -> list[str]:
    """What a terminal would obey in a text, our own colours apart."""
    plain = re.sub(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\", "", text)
    return [c for c in plain if not c.isprintable() and c not in "\n\t" and ord(c) < 0x2100]


@given(texts)
def test_nothing_in_a_text_is_obeyed_by_a_terminal(text: str) -> None:
    """Escape sequences go as a whole, other control characters by themselves."""
    plain = harmless(text)
    assert not [c for c in plain if ord(c) < 32 and c not in "\n\t"]
    assert not set(plain) & {"\x7f", "\x9b", "\u202e", "\ud800"}
    assert harmless(plain) == plain
    assert not text.isprintable() or plain == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]8;;http://e\x1b\\link", "link"),
        ("\x1bPq#0\x1b\\six", "six"),
        ("a\x1b", "a"),
        ("50%\r100%\r\n", "50%\n100%\n"),
        ("a\tb\u202ec", "a\tbc"),
        ("\x1b]unended\nnext", "\nnext"),
    ],
)
def test_sequences_are_taken_out_whole(text: str, left: str) -> None:
    """Colours, titles, links, pictures; a sequence without an end takes its line alone."""
    assert harmless(text) == left


@few
@given(text=texts)
def test_screens_show_hostile_names_as_text(slurm_screen: Site, text: str) -> None:
    """Nodes, reasons, gates and phases on the screen of status."""
    state = StateStore(slurm_screen.workspace.state_dir).load()
    assert state is not None
    (token,) = state.jobs
    task = replace(
        state.jobs[token].tasks[0], state=TaskState.RUNNING, node=text, scheduler_state=text
    )
    state = state.with_task(token, 0, task)
    key = next(iter(state.runs))
    failed = replace(state.runs[key], status=RunStatus.FAILED, reason=text, settled=True)
    view = view_of(slurm_screen.workspace, replace(state, runs={**state.runs, key: failed}), [text])
    shown = StringIO()
    out = display._HarmlessConsole(force_terminal=True, width=100, file=shown)
    out.print(display.status_screen(view, 100))
    assert obeyed(shown.getvalue()) == []


@pytest.fixture(scope="module")
def slurm_screen(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A study of which the pilot is queued."""
    place = make_workspace(tmp_path_factory.mktemp("screen") / "ws")
    with installed(Cluster()):
        pipeline("advance", "-w", str(place.root))
    return open_site(place, None)


def test_logs_and_reasons_are_shown_without_what_they_order(tmp_path: Path) -> None:
    """A task that prints escape sequences and fails orders nothing by `logs` or `why`."""
    place = make_workspace(tmp_path / "ws")
    root = str(place.root)
    evil = "\x1b]0;owned\x07\x1b[2J RuntimeError: \x9b31m\u202e boo"
    with installed(Cluster()) as cluster:
        pipeline("advance", "-w", root)
        (folder,) = place.logs_dir.iterdir()
        (folder / "100_0_log.out").write_text(f"Traceback (most recent call last):\n{evil}\n")
        cluster.jobs["100"].states[:] = [TaskState.ENDED]
        pipeline("advance", "-w", root)
        key = next(iter(state_of(place).runs_of("pilot")))
        for command in ("logs", "why"):
            ended = pipeline(command, key, "-w", root)
            assert "boo" in ended.out
            assert obeyed(ended.text) == []
        assert obeyed(pipeline("status", "-w", root).text) == []


def test_errors_show_hostile_keys_as_text(workspace: Workspace, cli: Cli) -> None:
    """A key of study.toml may hold anything; its complaint is one line of plain text."""
    text = TOY_STUDY + '\n["a\\u001b[31m\\nb"]\nx = 1\n'
    workspace.study_file.write_text(text, encoding="utf-8")
    done = cli("plan")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert obeyed(done.stderr) == []
