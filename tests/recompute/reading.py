"""Reads a report's tables and the results behind them, and compares printed numbers."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Table = list[list[str]]
LINK = re.compile(r"\[([^\]]*)\]\(([^)]*result\.json)\)")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")


class Checker:
    """Compares printed numbers with recomputed ones, to the digits that are printed."""

    def __init__(self) -> None:
        self.checked = 0
        self.wrong: list[str] = []

    def numbers(self, where: str, cell: str, expected: Sequence[float | None]) -> None:
        """Every number of a cell, in order; None stands for one that is not compared."""
        if "not defined" in cell or "not measured" in cell or not expected:
            return
        floor = cell.startswith("< 1e-6") or "p < 1e-6" in cell
        found = NUMBER.findall(cell.replace("%", " ").replace("±", " ").replace(",", " "))
        if len(found) != len(expected):
            self.wrong.append(f"{where}: {cell!r} holds {len(found)} numbers, not {len(expected)}")
            return
        for text, value in zip(found, expected, strict=True):
            if value is None:
                continue
            self.checked += 1
            if floor and float(text) == 1e-6:
                ok = value < 1e-6
            else:
                ok = abs(float(text) - value) <= 0.5001 * _unit(text) + 1e-12 * abs(value)
            if not ok:
                self.wrong.append(f"{where}: {text} is printed, {value!r} recomputed")

    def hours(self, where: str, printed: str, expected: float) -> None:
        """Hours, of which those below a thousandth are printed as such."""
        if printed.startswith("<"):
            self.equal(where, 0 < expected < float(printed[1:]), True)
        else:
            self.numbers(where, printed, [expected])

    def equal(self, where: str, printed: object, expected: object) -> None:
        """A word or a count."""
        self.checked += 1
        if printed != expected:
            self.wrong.append(f"{where}: {printed!r} is printed, {expected!r} recomputed")


def _unit(text: str) -> float:
    """Worth of a printed number's last digit."""
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(10.0 ** (int(exponent or 0) - decimals))


def metric_of(label: str) -> str:
    """A metric's name, from how people read it."""
    return label.replace(" ", "_").replace("MSE", "mse")


def tables(text: str) -> list[Table]:
    """Every Markdown table as rows of cells, without its ruler."""
    found: list[Table] = []
    previous = ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not previous.startswith("|"):
                found.append([])
            cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not all(set(cell) <= set("-: ") for cell in cells):
                found[-1].append(cells)
        previous = line
    return found


class Section:
    """One phase's section of the report, and the results behind it."""

    def __init__(self, root: Path, study: dict[str, Any], text: str, checker: Checker) -> None:
        self.root, self.study, self.text, self.checker = root, study, text, checker
        analysis = study.get("analysis", {})
        self.alpha = analysis.get("alpha", 0.05)
        self.margin = analysis.get("margin_percent", 0.5)
        self.others = analysis.get("sensitivity_margins_percent", [0.25, 1.0])
        self.power = analysis.get("power", 0.8)
        self.min_pairs = analysis.get("min_pairs", 8)
        links = LINK.findall(text)
        self.phase = links[0][1].split("/")[1] if links else ""
        declared = study["phases"].get(self.phase, {})
        self.metric = declared.get("metric") or study["study"]["metric"]["name"]
        self.kind = declared.get("kind", self.phase)
        self.results: dict[str, dict[str, Any]] = {}
        self.values: dict[str, dict[int, float]] = {}
        self.references: dict[str, Any] = {}

    def read(self) -> None:
        """All values behind links; every result of the phase must be linked to."""
        for table in tables(self.text):
            self._read(table)
        for table in tables(self.text):
            self._predictors(table)
        shown = {link for _, link in LINK.findall(self.text)}
        there = {
            str(p.relative_to(self.root)) for p in self.root.glob(f"runs/{self.phase}/*/r*.json")
        }
        self.checker.equal(f"{self.phase}: results shown", shown, there)
        for done in re.findall(r"^Complete: (\d+) of ", self.text, re.MULTILINE):
            self.checker.equal(f"{self.phase}: complete", int(done), len(there))

    def _alone(
        self, where: str, titles: list[str], cells: list[str], result: dict[str, Any]
    ) -> None:
        """A run of a pilot: its metrics, then its time."""
        *metrics, seconds = cells
        for title, cell in zip(titles, metrics, strict=True):
            name = metric_of(title)
            measured = result["metrics"].get(name) or result["metrics"][self.metric]
            self.checker.numbers(f"{where} {title}", cell, [measured["value"]])
        if seconds != "not recorded":
            self.checker.numbers(f"{where} seconds", seconds, [result["device_s"]])

    def _predictors(self, table: Table) -> None:
        """Rows of reference predictors: the value, and its standard error where it is printed."""
        for title, *cells in (row for row in table if row[0].startswith("*reference:*")):
            by_title = {name.replace("_", " "): of for name, of in self.references.items()}
            measured = by_title[title.partition(" ")[2]]
            value, *errors = (cell for cell in cells if cell)
            self.checker.numbers(f"{self.phase} {title}", value, [measured["value"]])
            for error in errors:
                self.checker.numbers(f"{self.phase} {title}", error, [measured["standard_error"]])

    def _read(self, table: Table) -> None:
        """Values by column, or by row where columns are seeds, each as it is printed."""
        head, *rows = table
        by_row = any(cell.startswith("seed ") for cell in head)
        for row in rows:
            for name, cell in zip(head, row, strict=True):
                for printed, link in LINK.findall(cell):
                    result = json.loads((self.root / link).read_text(encoding="utf-8"))
                    value = result["metrics"][self.metric]["value"]
                    where = f"{self.phase} {link}"
                    self.references = result["references"].get(self.metric, {})
                    if head[0] == "Condition":
                        self.checker.equal(where, int(printed), result["seed"])
                        self._alone(where, head[2:-2], row[2:-1], result)
                        continue
                    arm, seed = (row[0], name.removeprefix("seed ")) if by_row else (name, row[0])
                    self.checker.equal(f"{where}: seed", seed, str(result["seed"]))
                    self.checker.numbers(where, printed, [value])
                    self.values.setdefault(arm, {})[result["seed"]] = value
                    self.results[arm] = result
