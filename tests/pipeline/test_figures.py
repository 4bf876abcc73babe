"""Figures: same data, same bytes; strange labels and missing parts stay drawable."""

import dataclasses
import xml.etree.ElementTree as ET
from itertools import product

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.analysis.multiseed import analyse_multiseed
from pipeline.analysis.sweep import Axis, SweepDesign, analyse_sweep
from pipeline.analysis.table import Measurement
from pipeline.errors import PipelineError
from pipeline.figures import figures_of
from tests.pipeline import published
from tests.pipeline.analysis.arms import BASE, HYPOTHESIS, PLAN, scaled, table
from tests.pipeline.analysis.test_sweep import DESIGN, sweep_table
from tests.pipeline.analysis.test_sweep import PLAN as SWEEP_PLAN

DRAWN = ["multiseed-strip.svg", "multiseed-forest.svg", "multiseed-power.svg"]


def test_the_same_data_give_the_same_bytes() -> None:
    """No date, no random id: a figure in version control changes with the data only."""
    analysis = analyse_multiseed(published.table(), published.PLAN, published.HYPOTHESES)
    once, again = figures_of(analysis, {}), figures_of(analysis, {})
    assert list(once) == DRAWN
    assert once == again
    for content in once.values():
        assert ET.fromstring(content).tag.endswith("svg")


@pytest.mark.parametrize("missing", [(), (3,), tuple(range(1, 10)), tuple(range(10))])
def test_missing_runs_leave_a_figure(missing: tuple[int, ...]) -> None:
    """The strip is drawn from what there is; the forest needs an interval."""
    analysis = analyse_multiseed(table(scaled(0.97), missing=missing), PLAN, HYPOTHESIS)
    drawn = figures_of(analysis, {}, ["POST-HOC"])
    assert list(drawn) == (DRAWN if len(missing) < 9 else DRAWN[:1])


def test_a_figure_names_its_phase() -> None:
    """Two phases of one kind do not overwrite each other's figures."""
    given = dataclasses.replace(table(BASE), phase="second")
    drawn = figures_of(analyse_multiseed(given, PLAN, HYPOTHESIS), {})
    assert list(drawn) == ["second-strip.svg", "second-forest.svg"]  # identical arms: no power


def test_labels_are_text_and_not_mathematics() -> None:
    """A dollar sign, a newline or a very long label draws as it is."""
    analysis = analyse_multiseed(table(BASE), PLAN, HYPOTHESIS)
    labels = {"base": "$x_1 | `a`\nb", "arm": "very long label " * 9}
    assert list(figures_of(analysis, labels)) == DRAWN[:2]


def test_references_near_and_far_are_both_named() -> None:
    """A predictor far away is named below the figure instead of squashing the axis."""
    near = {f"near{i}": Measurement(1.0 + i / 1000, 0.001, 9) for i in range(3)}
    given = table(scaled(1.0))
    far = {"zero": Measurement(50.0, 0.1, 9), "exact": Measurement(2.7e-15, 1e-17, 9)}
    rows = tuple(dataclasses.replace(row, references={"loss": near | far}) for row in given.rows)
    analysis = analyse_multiseed(dataclasses.replace(given, rows=rows), PLAN, HYPOTHESIS)
    assert list(figures_of(analysis, {})) == DRAWN


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


def test_curves_are_drawn_where_runs_share_steps() -> None:
    """Zero and negative values take a plain axis; runs without shared steps give no figure."""
    analysis = analyse_multiseed(table(scaled(0.97)), PLAN, HYPOTHESIS)
    for low in (0.5, 0.0):
        curves = {"base": [{0: 1.0, 10: low}, {0: 1.2, 10: 0.4}], "arm": [{0: 1.0, 5: 2, 10: 0.3}]}
        assert list(figures_of(analysis, {}, curves=curves)) == [*DRAWN, "multiseed-curves.svg"]
    apart = {"base": [{0: 1.0, 10: 0.5}], "arm": [{0: 1.0, 9: 0.5}]}
    assert list(figures_of(analysis, {}, curves=apart)) == DRAWN


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_grid_of_any_number_of_axes_is_drawn(axes: int) -> None:
    """One row, a matrix, or a panel for each further setting; missing cells leave a hatch."""
    keys = ["t.a", "t.b", "c"][:axes]
    cells = {
        f"arm [{i}]": dict(zip(keys, values, strict=True))
        for i, values in enumerate(product(*[(1, 2)] * axes))
    }
    design = SweepDesign("arm", "base", cells, tuple(Axis(k, k[-1], (1, 2)) for k in keys))
    values = {name: 1 + 0.1 * np.arange(3) for name in ["base", *list(cells)[1:]]}
    analysis = analyse_sweep(sweep_table(values), SWEEP_PLAN, design)
    assert list(figures_of(analysis, {}, selected="arm [1]")) == ["sweep-grid.svg"]


def test_settings_off_the_grid_have_a_figure_of_their_own() -> None:
    """Lists, and the settings that the reference was tried in."""
    values = {name: np.array([1.0, 1.1]) for name in ["base", "base [x]", *DESIGN.cells]}
    design = dataclasses.replace(
        DESIGN, cells={**DESIGN.cells, "arm [z]": {"z": 1}}, reference_cells={"base [x]": {"x": 1}}
    )
    analysis = analyse_sweep(
        sweep_table({**values, "arm [z]": np.array([1.0, 1.2])}), SWEEP_PLAN, design
    )
    assert list(figures_of(analysis, {})) == ["sweep-grid.svg", "sweep-settings.svg"]
    assert figures_of(analysis, {}) == figures_of(analysis, {})
