"""Sections of sweeps: differences with half-widths, and trends."""

import json
import re
from typing import Any

import numpy as np
from scipy import stats

from tests.recompute.formulas import paired
from tests.recompute.reading import Section, Table, tables


class Sweep:
    """A section of cells against the reference."""

    def __init__(self, section: Section) -> None:
        self.s, self.checker = section, section.checker
        self.base = next(iter(section.values))
        self.estimates: dict[str, list[float | None]] = {}
        """Difference and half-width by arm, in percent."""

    def check(self) -> None:
        """The tables of settings and of trends."""
        for table in tables(self.s.text):
            if table[0][-1] == "difference":
                self._settings(table)
            elif "Page's L" in table[0]:
                self._trends(table)
        here = r"^Selected: (.*?), by the declared rule: .* is (\S+% ± \S+?);"
        self._selected(re.findall(here, self.s.text, re.MULTILINE))

    def check_findings(self, text: str) -> None:
        """What the report's findings repeat of the selection."""
        said = rf"^- Phase \w+, {self.s.phase}: (.*) is selected \(estimate (\S+% ± \S+),"
        self._selected(re.findall(said, text, re.MULTILINE))

    def _selected(self, printed: list[tuple[str, str]]) -> None:
        for label, estimate in printed:
            if label in self.estimates:  # not so where the reference was tuned, too
                where = f"{self.s.phase} selected {label}"
                self.checker.numbers(where, estimate, self.estimates[label])

    def _settings(self, table: Table) -> None:
        base = self.s.values[self.base]
        for row in table[1:]:
            arm, pairs, difference = row[0], row[-2], row[-1]
            if arm not in self.s.values or arm == self.base:
                continue
            c, r, seeds = paired(self.s.values[arm], base)
            percents = 100 * (c - r) / np.mean(list(base.values()))
            expected: list[float | None] = [percents.mean()]
            if len(seeds) > 1:
                quantile = stats.t.ppf(1 - self.s.alpha / 2, len(seeds) - 1)
                expected.append(quantile * stats.sem(percents))
            self.checker.equal(f"{self.s.phase} {arm}", int(pairs), len(seeds))
            self.estimates[arm] = expected
            self.checker.numbers(f"{self.s.phase} {arm}", difference, expected)

    def _trends(self, table: Table) -> None:
        grid = self.s.study["phases"][self.s.phase]["grid"]
        for label, means, statistic, p, _ in table[1:]:
            axis = next(key for key in grid if key.rpartition(".")[2] == label)
            levels = sorted(grid[axis])
            cells = [arm for arm in self.s.values if self._on_grid(arm, grid)]
            columns = [
                [arm for arm in cells if self._setting(arm, axis) == level] for level in levels
            ]
            seeds = sorted(set.intersection(*(set(self.s.values[arm]) for arm in cells)))
            blocks = np.array(
                [
                    [np.mean([self.s.values[a][seed] for a in of]) for of in columns]
                    for seed in seeds
                ]
            )
            where = f"{self.s.phase} trend {label}"
            expected = [n for pair in zip(levels, blocks.mean(axis=0), strict=True) for n in pair]
            self.checker.numbers(where, means.replace(":", " "), expected)
            if "not defined" in statistic:
                self.checker.equal(where, len(levels) < 3 or len(seeds) < 2, True)
                continue
            rising, falling = (stats.page_trend_test(b) for b in (blocks, blocks[:, ::-1]))
            self.checker.numbers(where, statistic, [float(rising.statistic)])
            self.checker.numbers(where, p, [min(1.0, 2 * min(rising.pvalue, falling.pvalue))])

    def _config(self, arm: str) -> dict[str, Any]:
        folder = self.s.root / "runs" / self.s.phase / self.s.results[arm]["run_id"]
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        return config

    def _setting(self, arm: str, key: str) -> Any:
        value = self._config(arm)["config"]
        for part in key.split("."):
            value = value[part]
        return value

    def _on_grid(self, arm: str, grid: dict[str, list[Any]]) -> bool:
        swept = self.s.study["phases"][self.s.phase]["condition"]
        own = self._config(arm)["condition"] == swept
        return own and all(self._setting(arm, key) in values for key, values in grid.items())
