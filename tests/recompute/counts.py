"""Counts and costs: completeness by phase, condition and seed; hours from result files."""

import json
import re
from pathlib import Path
from typing import Any

from tests.recompute.reading import Checker, Section, tables

_HOUR_S = 3600


class Counts:
    """The tables that count runs and hours."""

    def __init__(
        self, root: Path, sections: dict[str, Section], text: str, checker: Checker
    ) -> None:
        """`sections` by the phase's number, with what each one shows."""
        self.root, self.sections, self.text, self.checker = root, sections, text, checker
        self._planned: dict[str, int] = {}

    def check(self) -> None:
        """The summary's table, the matrix of each phase, hours of phases and jobs."""
        for table in tables(self.text):
            if table[0][:3] == ["Phase", "Planned", "Done"]:
                self._tallies(table)
        for table in tables(self.text):
            head = table[0]
            if head[:3] == ["Phase", "State", "Runs"]:
                self._states(table)
            elif head[0].startswith("Phase ") and table[1:]:
                self._matrix(table)
            elif head == ["Phase", "GPU-hours", "task-hours"]:
                self._hours(table)

    def _results(self, number: str) -> list[dict[str, Any]]:
        phase = self.sections[number].phase
        return [json.loads(p.read_text()) for p in self.root.glob(f"runs/{phase}/*/result.json")]

    def _states(self, table: list[list[str]]) -> None:
        for title, _, runs in table[1:]:
            number = title.split()[0]
            if number in self.sections:
                done, _, planned = runs.split()[:3]
                self.checker.equal(title, int(done), len(self._results(number)))
                self.checker.equal(title, int(planned), self._planned[number])
                complete = re.findall(r"^Complete: \d+ of (\d+) ", self.sections[number].text, re.M)
                for total in complete:
                    self.checker.equal(f"{title}: complete", int(total), self._planned[number])

    def _tallies(self, table: list[list[str]]) -> None:
        for title, planned, done, *holes in table[1:]:
            number = title.split()[0]
            self._planned[number] = int(planned)
            if number in self.sections:
                self.checker.equal(title, int(done), len(self._results(number)))
            self.checker.equal(title, int(planned), int(done) + sum(int(n) for n in holes))

    def _matrix(self, table: list[list[str]]) -> None:
        """A tick where the phase's section shows a value, and nowhere else."""
        section = self.sections[table[0][0].split()[1]]
        if section.kind == "pilot":
            shown = {int(r["seed"]) for r in self._results(table[0][0].split()[1])}
            self.checker.equal("pilot's seeds", {int(s) for s in table[0][1:]} >= shown, True)
            return
        for label, *cells in table[1:]:
            ticks = {int(s) for s, cell in zip(table[0][1:], cells, strict=True) if cell == "✓"}
            self.checker.equal(
                f"{section.phase} matrix, {label}", ticks, set(section.values.get(label, {}))
            )

    def _hours(self, table: list[list[str]]) -> None:
        number = ""
        for title, gpu, task in table[1:]:
            if title.startswith("mean of one run"):
                continue  # the findings' line on costs is checked by condition
            number = title.split()[0]
            results = self._results(number) if number in self.sections else []
            for key, printed in (("gpu_s", gpu), ("device_s", task)):
                if results and printed != "not recorded":
                    hours = sum(r[key] for r in results) / _HOUR_S
                    self.checker.hours(title, printed, hours)
