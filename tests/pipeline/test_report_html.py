"""RESULTS.html: one file, equal bytes for equal results, nothing in it but text and figures."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import markdown
from pipeline.errors import PipelineError
from pipeline.publish import render
from pipeline.report_html import render_html
from pipeline.site import Site, open_site
from tests.pipeline.conftest import make_toy
from tests.pipeline.planting import WHOLE_STUDY, planted
from tests.pipeline.refresh_golden import TEMPLATES
from tests.pipeline.truths import TRUTHS

SVG = (
    b'<?xml version="1.0"?><!-- a label --><svg xmlns="http://www.w3.org/2000/svg" '
    b'xmlns:xlink="http://www.w3.org/1999/xlink" width="72pt" height="36pt" viewBox="0 0 72 36">'
    b'<metadata>m</metadata><defs><style>*{fill:red}</style><path id="a"/></defs>'
    b'<g clip-path="url(#a)"><use xlink:href="#a"/></g></svg>'
)


def page(text: str, figures: Mapping[str, bytes] | None = None) -> str:
    """The page of a report."""
    return render_html(text, figures or {}, "Results: toy", [TEMPLATES])


def body(text: str, figures: Mapping[str, bytes] | None = None) -> str:
    """What a report's own text turns into."""
    return page(text, figures).split("<main>\n")[1].split("</main>")[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    """All files of a whole study's report."""
    site: Site = open_site(make_toy(tmp_path_factory.mktemp("whole") / "ws", WHOLE_STUDY), None)
    state = planted(site, TRUTHS["harm"])
    files = render(site.workspace, site.study, state)
    assert render(site.workspace, site.study, state) == files
    return files


def test_the_page_needs_no_other_file(whole: dict[Path, bytes]) -> None:
    """Every figure stands in it once, with ids of its own; nothing is fetched and nothing runs."""
    (html,) = (of.decode() for path, of in whole.items() if path.name == "RESULTS.html")
    drawn = [path for path in whole if path.suffix == ".svg"]
    assert html.count("<figure>") == html.count("<svg ") == len(drawn) > 5
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids)) > 100
    referred = re.findall(r'(?:href="#|url\(#)([^")]*)', html)
    assert set(referred) <= set(ids)
    assert not re.search(r"<script|<iframe|<link rel=.stylesheet|@import|\bon\w+=|<!--", html)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', html)
    assert "default-src 'none'" in html


def test_the_page_says_what_the_report_says(whole: dict[Path, bytes]) -> None:
    """Each line of the report's tables is a row, each heading a heading, each verdict marked."""
    files = {path.name: of.decode() for path, of in whole.items()}
    text, html = files["RESULTS.md"], files["RESULTS.html"]
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert re.findall(r"<h2 [^>]*>(.*?)</h2>", html) == headings
    rows = [line for line in text.splitlines() if line.startswith("|")]
    rulers = [line for line in rows if set(line) <= set("|-: ") and "-" in line]
    assert html.count("<tr>") == len(rows) - len(rulers)
    assert html.count('class="verdict rejected"') == text.count("**REJECTED**") > 10


def test_a_figure_loses_what_would_leak_into_the_page() -> None:
    """Its style sheet, its comments and its ids; its size becomes a limit."""
    html = body("![a & b](figures/x%20y.svg)", {"figures/x y.svg": SVG})
    assert '<path id="f0-a" />' in html
    assert 'clip-path="url(#f0-a)"' in html
    assert 'href="#f0-a"' in html
    assert "max-width:96px" in html
    assert "<figcaption>a &amp; b</figcaption>" in html
    assert not re.search("<style|metadata|a label|xlink|<img", html)


def test_a_picture_that_is_not_ours_becomes_a_link() -> None:
    """A workspace's own template may show one; the page stays one file."""
    assert '<a href="logo.png">our logo</a>' in body("See ![our logo](logo.png).")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("<http://x.example>", "http://x.example"),
        ("a <b onclick=x>", "&lt;b onclick=x&gt;"),
        ("![x](data:text/html,boo)", "![x](data:text/html,boo)"),
    ],
)
def test_html_and_odd_links_stay_text(text: str, left: str) -> None:
    """Even where a template forgot to escape."""
    html = body(text)
    assert left in html
    assert not re.search('<script|<b |javascript:[^<]*"|src=', html)


@given(st.text(alphabet=st.sampled_from(" #*_-+=.)0179`<>[]()!|~$&;\\\"'\n\tab"), max_size=24))
def test_escaped_text_is_one_paragraph_of_itself(text: str) -> None:
    """Whatever it looks like: no heading, list, rule, link or tag comes of it."""
    shown = body(str(markdown.escape(text)))
    inner = shown.removeprefix("<p>").removesuffix("</p>\n")
    assert "<" not in inner
    plain = inner.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    assert plain.replace("&amp;", "&") == markdown.one_line(text).strip()


def test_sections_of_one_name_have_anchors_of_their_own() -> None:
    """And one without a letter has one, too."""
    html = body("## A b\n\n## A b\n\n## ✓\n")
    assert re.findall('<h2 id="([^"]*)"', html) == ["a-b", "a-b-1", "section"]


def test_a_workspace_may_dress_the_page(tmp_path: Path) -> None:
    """Its own style sheet replaces ours; a wrong one is named with file and line."""
    (tmp_path / "results").mkdir()
    sheet = tmp_path / "results" / "page.css.j2"
    sheet.write_text("body { color: teal }")
    assert "teal" in render_html("x", {}, "t", [tmp_path, TEMPLATES])
    sheet.write_text("{{ gone }}")
    with pytest.raises(PipelineError, match=r"page\.css\.j2:1: the report's template is wrong"):
        render_html("x", {}, "t", [tmp_path, TEMPLATES])
