"""Templates of the report: the workspace's own come first, and a wrong one is named."""

import re
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.report import render_report
from tests.pipeline.refresh_golden import TEMPLATES
from tests.pipeline.scenes import report


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
