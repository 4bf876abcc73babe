"""The whole report, section by section."""

import re
import tomllib
from pathlib import Path

from tests.recompute.diagnostics import Diagnosed
from tests.recompute.paired import Paired
from tests.recompute.reading import Checker, Section
from tests.recompute.sweep import Sweep


def recompute(root: Path) -> tuple[int, list[str]]:
    """Compare the whole report; return the count of numbers and the differences found."""
    study = tomllib.loads((root / "study.toml").read_text(encoding="utf-8"))
    text = (root / "RESULTS.md").read_text(encoding="utf-8")
    checker = Checker()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    for part in (s for s in sections if s.startswith("Phase ") and "result.json" in s):
        section = Section(root, study, part, checker)
        section.read()
        if section.kind == "sweep":
            Sweep(section).check()
        elif section.kind == "diagnostics":
            Diagnosed(section).check()
        elif section.kind != "pilot":
            Paired(section).check()
    return checker.checked, checker.wrong
