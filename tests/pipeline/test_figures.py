"""Figures: same data, same bytes; strange labels and missing parts stay drawable."""

import dataclasses
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pipeline.analysis.multiseed import analyse_multiseed
from pipeline.analysis.table import Measurement
from pipeline.figures import draw_figures
from tests.pipeline import published
from tests.pipeline.analysis.test_multiseed import BASE, HYPOTHESIS, PLAN, scaled, table


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    """No date, no random id: a figure in version control changes with the data only."""
    analysis = analyse_multiseed(published.table(), published.PLAN, published.HYPOTHESES)
    once = draw_figures([analysis], {}, tmp_path / "a")
    again = draw_figures([analysis], {}, tmp_path / "b")
    assert once == again == ["strip.svg", "forest.svg"]
    for name in once:
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes()
        assert ET.fromstring(content).tag.endswith("svg")


@pytest.mark.parametrize("missing", [(), (3,), tuple(range(1, 10)), tuple(range(10))])
def test_missing_runs_leave_a_figure(tmp_path: Path, missing: tuple[int, ...]) -> None:
    """The strip is drawn from what there is; the forest needs an interval."""
    analysis = analyse_multiseed(table(scaled(0.97), missing=missing), PLAN, HYPOTHESIS)
    names = draw_figures([analysis], {}, tmp_path, post_hoc=True)
    assert names == (["strip.svg", "forest.svg"] if len(missing) < 9 else ["strip.svg"])


def test_labels_are_text_and_not_mathematics(tmp_path: Path) -> None:
    """A dollar sign, a newline or a very long label draws as it is."""
    analysis = analyse_multiseed(table(BASE), PLAN, HYPOTHESIS)
    labels = {"base": "$x_1 | `a`\nb", "arm": "very long label " * 9}
    assert draw_figures([analysis], labels, tmp_path) == ["strip.svg", "forest.svg"]


def test_references_near_and_far_are_both_named(tmp_path: Path) -> None:
    """A predictor far away is named below the figure instead of squashing the axis."""
    near = {f"near{i}": Measurement(1.0 + i / 1000, 0.001, 9) for i in range(3)}
    given = table(scaled(1.0))
    far = {"zero": Measurement(50.0, 0.1, 9), "exact": Measurement(2.7e-15, 1e-17, 9)}
    rows = tuple(dataclasses.replace(row, references={"loss": near | far}) for row in given.rows)
    analysis = analyse_multiseed(dataclasses.replace(given, rows=rows), PLAN, HYPOTHESIS)
    assert draw_figures([analysis], {}, tmp_path) == ["strip.svg", "forest.svg"]


def test_other_analyses_are_passed_over(tmp_path: Path) -> None:
    """A pilot has no figure."""
    assert draw_figures([None], {}, tmp_path) == []
