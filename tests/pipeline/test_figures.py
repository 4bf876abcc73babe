"""Figures: same data, same bytes; strange labels and missing parts stay drawable."""

import dataclasses
import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure

from pipeline.analysis.multiseed import analyse_multiseed
from pipeline.analysis.table import Measurement
from pipeline.errors import PipelineError
from pipeline.figures import figures_of
from tests.pipeline import published
from tests.pipeline.analysis.test_multiseed import BASE, HYPOTHESIS, PLAN, scaled, table

BOTH = ["multiseed-strip.svg", "multiseed-forest.svg"]


def test_the_same_data_give_the_same_bytes() -> None:
    """No date, no random id: a figure in version control changes with the data only."""
    analysis = analyse_multiseed(published.table(), published.PLAN, published.HYPOTHESES)
    once, again = figures_of(analysis, {}), figures_of(analysis, {})
    assert list(once) == BOTH
    assert once == again
    for content in once.values():
        assert ET.fromstring(content).tag.endswith("svg")


@pytest.mark.parametrize("missing", [(), (3,), tuple(range(1, 10)), tuple(range(10))])
def test_missing_runs_leave_a_figure(missing: tuple[int, ...]) -> None:
    """The strip is drawn from what there is; the forest needs an interval."""
    analysis = analyse_multiseed(table(scaled(0.97), missing=missing), PLAN, HYPOTHESIS)
    drawn = figures_of(analysis, {}, ["POST-HOC"])
    assert list(drawn) == (BOTH if len(missing) < 9 else BOTH[:1])


def test_a_figure_names_its_phase() -> None:
    """Two phases of one kind do not overwrite each other's figures."""
    given = dataclasses.replace(table(BASE), phase="second")
    drawn = figures_of(analyse_multiseed(given, PLAN, HYPOTHESIS), {})
    assert list(drawn) == ["second-strip.svg", "second-forest.svg"]


def test_labels_are_text_and_not_mathematics() -> None:
    """A dollar sign, a newline or a very long label draws as it is."""
    analysis = analyse_multiseed(table(BASE), PLAN, HYPOTHESIS)
    labels = {"base": "$x_1 | `a`\nb", "arm": "very long label " * 9}
    assert list(figures_of(analysis, labels)) == BOTH


def test_references_near_and_far_are_both_named() -> None:
    """A predictor far away is named below the figure instead of squashing the axis."""
    near = {f"near{i}": Measurement(1.0 + i / 1000, 0.001, 9) for i in range(3)}
    given = table(scaled(1.0))
    far = {"zero": Measurement(50.0, 0.1, 9), "exact": Measurement(2.7e-15, 1e-17, 9)}
    rows = tuple(dataclasses.replace(row, references={"loss": near | far}) for row in given.rows)
    analysis = analyse_multiseed(dataclasses.replace(given, rows=rows), PLAN, HYPOTHESIS)
    assert list(figures_of(analysis, {})) == BOTH


def test_other_analyses_are_passed_over() -> None:
    """A pilot has no figure."""
    assert figures_of(None, {}) == {}


def test_what_cannot_be_drawn_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever matplotlib raises names the figure and keeps the results out of doubt."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no such font")

    monkeypatch.setattr(Figure, "savefig", broken)
    with pytest.raises(PipelineError, match=r"figures/multiseed-strip.svg .*no such font"):
        figures_of(analyse_multiseed(table(BASE), PLAN, HYPOTHESIS), {})
