"""The whole report, section by section."""

import re
import tomllib
from pathlib import Path

from tests.recompute.assessment import Assessment
from tests.recompute.counts import Counts
from tests.recompute.diagnostics import Diagnosed
from tests.recompute.paired import Paired
from tests.recompute.reading import Checker, Section
from tests.recompute.sweep import Sweep


def recompute(root: Path) -> tuple[int, list[str]]:
    """Compare the whole report; return the count of numbers and the differences found."""
    study = tomllib.loads((root / "study.toml").read_text(encoding="utf-8"))
    text = (root / "RESULTS.md").read_text(encoding="utf-8")
    checker = Checker()
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    sections: dict[str, Section] = {}
    paired: list[Paired] = []
    for part in (s for s in parts if s.startswith("Phase ") and "result.json" in s):
        section = Section(root, study, part, checker)
        section.read()
        sections[part.split()[1].rstrip(":")] = section
        if section.kind == "sweep":
            sweep = Sweep(section)
            sweep.check()
            sweep.check_findings(text)
        elif section.kind == "diagnostics":
            Diagnosed(section).check()
        elif section.kind != "pilot" and "### Comparisons" in part:
            paired.append(Paired(section))
            paired[-1].check()
    Counts(root, sections, text, checker).check()
    if paired:
        Assessment(paired, text, checker).check()
    return checker.checked, checker.wrong
