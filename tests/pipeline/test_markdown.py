"""Numbers and texts in Markdown: digits that mean something, and data that stay text."""

import dataclasses

import pytest

from pipeline import markdown
from pipeline.analysis.table import Hole, HoleReason
from pipeline.report import render_report
from pipeline.report_input import ConditionInfo
from tests.pipeline.analysis.arms import scaled, table
from tests.pipeline.refresh_golden import TEMPLATES
from tests.pipeline.report_rules import assert_tables_are_whole
from tests.pipeline.scenes import report


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
    assert_tables_are_whole(text)
    assert text.count("\n# ") == 0
    assert "<b>" not in text.replace("\\<b\\>", "")
    assert "x \\| \\`y\\` # z \\<b\\> \\[l\\](u) \\$m\\$ \\*e\\* \\_i\\_" in text
    assert "````sh\necho ```\none two\n````" in text


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
