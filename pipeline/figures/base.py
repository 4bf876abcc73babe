"""What all figures share: style, colours, small helpers, and the way to deterministic SVG.

Owns the seam to matplotlib's files. Backgrounds are opaque, so figures read in light and dark
viewers alike.
"""

import textwrap
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline import markdown
from pipeline.errors import PipelineError

# Okabe & Ito's palette, told apart with any colour vision; the reference condition is grey.
BLUE = "#0072B2"
COLOURS = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY, PALE, INK, BAND = "#6b6b6b", "#c9c9c9", "#1f1f1f", "#e4ebf1"
STYLE: Any = {
    "svg.hashsalt": "pipeline",  # ids of clip paths would be random otherwise
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so glyphs are the same everywhere
    "font.size": 10,
    "text.parse_math": False,  # a label may hold a dollar sign
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    # A round or projecting cap would lengthen an interval.
    "lines.solid_capstyle": "butt",
}
NOTE: Any = {"fontsize": 8.5, "color": GREY, "x": 0.02, "ha": "left"}


def drawn(name: str, draw: Callable[[], Figure]) -> bytes:
    """Return a figure as SVG whose bytes depend on the data alone.

    Raises:
        PipelineError: matplotlib cannot draw the figure.
    """
    buffer = BytesIO()
    try:
        with mpl.rc_context(STYLE):
            draw().savefig(
                buffer,
                format="svg",
                bbox_inches="tight",
                metadata={"Date": None, "Creator": None},
            )
    except Exception as error:  # whatever a font, a backend or a setting of the user raises
        raise PipelineError(
            f"figures/{name} cannot be drawn ({type(error).__name__}: {error}); the results are "
            "safe: `pipeline report` draws it once that is mended"
        ) from error
    return buffer.getvalue()


def wrapped(text: str, width: int) -> str:
    """Return text in at most three lines of so many characters."""
    lines = textwrap.wrap(_unbroken(markdown.one_line(text).strip()), width) or [""]
    return "\n".join(lines if len(lines) <= 3 else [*lines[:2], lines[2][: width - 1] + "…"])


def _unbroken(text: str) -> str:
    """Text whose equations stay on one line."""
    return text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def colour_of(condition: str, conditions: Sequence[str], reference: str) -> str:
    """Return a condition's colour, the same in every figure of a phase; the reference is grey."""
    others = [name for name in conditions if name != reference]
    if condition not in others:
        return GREY
    return COLOURS[others.index(condition) % len(COLOURS)]


def side_labels(axes: Axes, texts: Sequence[tuple[float, str, str]]) -> None:
    """Put (height, text, colour) right of the axis, pushed apart where they would overlap."""
    axes.set_ylim(*axes.get_ylim())  # nothing that follows may move what the labels are placed by
    to_axes = axes.transScale + axes.transLimits
    floor = -1.0
    for value, text, colour in sorted(texts):
        lines = textwrap.wrap(_unbroken(text), 26)
        place = max(float(to_axes.transform((axes.get_xlim()[1], value))[1]), floor)
        floor = place + 0.035 + 0.04 * len(lines)
        axes.annotate(
            "\n".join(lines),
            (1.02, place),
            xycoords="axes fraction",
            va="center",
            fontsize=8.5,
            color=colour,
        )
