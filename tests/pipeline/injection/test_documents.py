"""Texts stay text in Markdown, HTML, templates and SVG."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt

from pipeline.analysis.multiseed import analyse_multiseed
from pipeline.errors import PipelineError
from pipeline.figures import figures_of
from pipeline.markdown import one_line
from pipeline.report import render_report
from pipeline.report_html import _inline, render_html
from pipeline.report_input import GateInfo, ReportInput
from pipeline.study import load_study
from pipeline.workspace import Workspace
from tests.pipeline.conftest import TOY_STUDY
from tests.pipeline.injection.odd import ODD, odd_texts
from tests.pipeline.published import HYPOTHESES, PLAN, report_input, table
from tests.pipeline.refresh_golden import TEMPLATES

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
    odd_texts.filter(
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
