"""Write tests/data/golden/ anew: `python -m tests.pipeline.refresh_golden`, then read the diff."""

from pathlib import Path

from pipeline.report import render_report
from tests.pipeline import published

TEMPLATES = Path(__file__).parent.parent.parent / "templates"
GOLDEN = published.DATA / "golden" / "RESULTS.md"


def rendered() -> str:
    """Return the report of the published values."""
    return render_report(published.report_input(), [TEMPLATES])


if __name__ == "__main__":
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(rendered(), encoding="utf-8")
