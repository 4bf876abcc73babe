"""Sections that compare conditions at equal seeds: multi-seed, confirmation, alternatives."""

import json
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from tests.recompute.formulas import Array, fieller, flips, holm, paired, small_sample, standardised
from tests.recompute.reading import Section, Table, metric_of, tables


class Paired:
    """A section that compares conditions at equal seeds."""

    def __init__(self, section: Section) -> None:
        self.s, self.checker = section, section.checker
        conditions = section.study["conditions"]
        self.labels = {name: c["label"] for name, c in conditions.items()}
        self.arms = list(section.values)
        declared = section.study.get("hypotheses", {})
        first = next(iter(declared.values()), {"reference": next(iter(conditions))})
        reference = section.study.get("analysis", {}).get("reference") or first["reference"]
        self.base = self.arms[0] if section.kind == "confirm" else self.labels[reference]
        self.optimism: float | None = None
        """Points between the sweep's estimate and the confirmation's."""
        self.hypotheses: dict[str, tuple[str, str, str]] = {}
        if section.kind == "confirm":
            self.hypotheses[section.phase] = (self.arms[1], self.arms[0], "primary")
        elif section.kind == "alternatives":
            for name, label in self.labels.items():
                if label in self.arms and label != self.base:
                    self.hypotheses[f"{section.phase}-{name}"] = (label, self.base, "primary")
        else:
            for name, h in declared.items():
                pair = (self.labels[h["candidate"]], self.labels[h["reference"]])
                self.hypotheses[name] = (*pair, h.get("family", "primary"))

    def check(self) -> None:
        """The tables of conditions, distances, comparisons, checks, order and optimism.

        And the line on the evaluations' own errors.
        """
        self._errors()
        for table in tables(self.s.text):
            head = table[0]
            if head[:3] == ["", "n", "mean"]:
                self._conditions(table)
            elif head[0] == "Reference":
                self._distances(table)
            elif head[0] == "Condition":
                self._further(table)
            elif head[0] == "Group":
                self._order(table)
            elif head[0].startswith("Estimate of"):
                self._optimism(table)
            elif head[0] == "" and set(head[1:]) <= set(self.hypotheses):
                self._comparisons(table)

    def _conditions(self, table: Table) -> None:
        for name, *cells in table[1:]:
            if name not in self.s.values:
                continue
            x = np.array(list(self.s.values[name].values()))
            low, high = stats.t.interval(1 - self.s.alpha, len(x) - 1, x.mean(), stats.sem(x))
            expected = [[len(x)], [x.mean()], [x.std(ddof=1)], [low, high], [x.min()], [x.max()]]
            for cell, numbers in zip(cells, expected, strict=True):
                self.checker.numbers(f"{self.s.phase} {name}", cell, numbers)

    def _errors(self) -> None:
        (line,) = re.findall(r"^Standard error of one run's own .*$", self.s.text, re.MULTILINE)
        for label in self.s.values if re.search(r"\d", line.partition(":")[2]) else ():
            (printed,) = re.findall(rf"[:,] {re.escape(label)} (\d\S*?)[,.](?:\s|$)", line)
            expected = max(self.evaluation_errors(label))
            self.checker.numbers(f"{self.s.phase} {label}: own error", printed, [expected])

    def evaluation_errors(self, label: str) -> list[float]:
        """Standard errors of an arm's own evaluations, run by run."""
        return [run["metrics"][self.s.metric]["standard_error"] for run in self._runs(label)]

    def _distances(self, table: Table) -> None:
        for title, *cells in table[1:]:
            for arm, cell in zip(table[0][1:], cells, strict=True):
                if "times" in cell:  # far away only a multiple is printed
                    continue
                name = next(n for n in self.predictors() if n.replace("_", " ") == title)
                measured = self.s.results[arm]["references"][self.s.metric][name]
                percent = 100 / abs(measured["value"])
                expected = [percent * value for value in self._distance(arm, name)]
                self.checker.numbers(f"{self.s.phase} {title}", cell, expected)

    def _distance(self, arm: str, predictor: str) -> tuple[float, float, float]:
        """Mean minus predictor, and its interval (Welch-Satterthwaite)."""
        x = np.array(list(self.s.values[arm].values()))
        measured = self.s.results[arm]["references"][self.s.metric][predictor]
        se, count = measured["standard_error"], measured["count"]
        difference, own = float(x.mean() - measured["value"]), float(stats.sem(x))
        total = own**2 + se**2
        df = total**2 / (own**4 / (len(x) - 1) + se**4 / (count - 1))
        half = float(stats.t.ppf(1 - self.s.alpha / 2, df) * np.sqrt(total))
        return difference, difference - half, difference + half

    def predictors(self) -> list[str]:
        """Names of the reference predictors, from high to low."""
        measured = next(iter(self.s.results.values()))["references"].get(self.s.metric, {})
        return sorted(measured, key=lambda name: -float(measured[name]["value"]))

    def sides(self, predictor: str) -> set[str]:
        """Where the arms' intervals lie: above the predictor, below, or across it."""
        intervals = [self._distance(arm, predictor)[1:] for arm in self.s.values]
        return {
            "above" if low > 0 else "below" if high < 0 else "across" for low, high in intervals
        }

    def _further(self, table: Table) -> None:
        for name, *cells in table[1:]:
            runs = self._runs(name)
            for metric, cell in zip(table[0][1:], cells, strict=True):
                x = np.array([r["metrics"][metric_of(metric)]["value"] for r in runs])
                self.checker.numbers(f"{self.s.phase} {name}", cell, [x.mean(), x.std(ddof=1)])

    def _runs(self, label: str) -> list[dict[str, Any]]:
        """Results of an arm, found again by config."""
        example = self.s.results[label]
        folder = self.s.root / "runs" / self.s.phase
        own = json.loads((folder / example["run_id"] / "config.json").read_text())["config"]
        return [
            json.loads(path.read_text())
            for path in folder.glob("*/result.json")
            if json.loads((path.parent / "config.json").read_text())["config"] == own
        ]

    def _order(self, table: Table) -> None:
        for _, label, value, interval, verdict in table[1:]:
            name = next(n for n, h in self.hypotheses.items() if h[0] == label)
            facts = self.facts[name]
            where = f"{self.s.phase} order {label}"
            self.checker.numbers(where, value, facts["in percent"])
            self.checker.numbers(where, interval, facts["CI at Bonferroni's level"][:2])
            self.checker.equal(
                where, verdict.strip("*").split("*")[0], self._verdict(name, self.s.margin)
            )

    def _optimism(self, table: Table) -> None:
        c, r, _ = paired(*(self.s.values[arm] for arm in reversed(self.arms)))
        test = 100 * float((c - r).mean() / r.mean())
        self.checker.numbers(f"{self.s.phase} optimism", table[-1][-1], [test])
        (points,) = re.findall(r"Optimism of the selection: ([-+.\d]+) points", self.s.text)
        selected = self._in_the_sweep()
        self.checker.numbers(f"{self.s.phase} optimism", table[1][-1], [selected])
        self.optimism = selected - test
        self.checker.numbers(f"{self.s.phase} optimism", points, [self.optimism])

    def _in_the_sweep(self) -> float:
        """The selected cell's estimate, from the sweep's runs of the same two configs.

        What either phase sets for all its runs is left out of the match.
        """
        phases, own = self.s.study["phases"], self.s.study["phases"][self.s.phase]
        sweep = self.s.root / "runs" / own["of"]
        set_by_phase = {*own.get("config", {}), *phases[own["of"]].get("config", {})}

        def config_in(folder: Path) -> dict[str, Any]:
            config = json.loads((folder / "config.json").read_text())["config"]
            return {key: value for key, value in config.items() if key not in set_by_phase}

        metric = self.s.study["study"]["metric"]["name"]
        configs = []
        for arm in self.arms:
            folder = self.s.root / "runs" / self.s.phase / self.s.results[arm]["run_id"]
            configs.append(config_in(folder))
        values: list[dict[int, float]] = [{}, {}]
        for path in sweep.glob("*/result.json"):
            config = config_in(path.parent)
            if config in configs:
                result = json.loads(path.read_text())
                place = configs.index(config)
                values[place][result["seed"]] = result["metrics"][metric]["value"]
        c, r, _ = paired(values[1], values[0])
        return 100 * float((c - r).mean() / np.mean(list(values[0].values())))

    def _comparisons(self, table: Table) -> None:
        names = table[0][1:]
        for title, *cells in table[1:]:
            key = title.replace("*", "")
            for name, cell in zip(names, cells, strict=True):
                where = f"{self.s.phase} {name}, {key}"
                if key == "verdict":
                    said = re.findall(r"\*\*([A-Z]+)\*\*", cell)
                    self.checker.equal(where, said, [self._verdict(name, self.s.margin)])
                elif key == "under other margins":
                    said = re.findall(r"[A-Z]{8,}", cell)
                    wanted = [self._verdict(name, m) for m in self.s.others] if said else []
                    self.checker.equal(where, said, wanted)
                elif key == "pairs (seeds)":
                    self.checker.equal(where, int(cell.split()[0]), len(self._pairs(name)[0]))
                elif "not defined" not in cell:
                    self.checker.numbers(
                        where, cell, self.facts[name][re.sub(r" at ±.*| at power.*", "", key)]
                    )

    def _pairs(self, name: str) -> tuple[Array, Array]:
        candidate, reference, _ = self.hypotheses[name]
        c, r, _ = paired(self.s.values.get(candidate, {}), self.s.values.get(reference, {}))
        return c, r

    def _family(self, name: str) -> list[str]:
        own = self.hypotheses[name][2]
        return [n for n, h in self.hypotheses.items() if own == "secondary" or h[2] == "primary"]

    def _holm(self, name: str, p_of: Callable[[str], float]) -> float:
        family = self._family(name)
        return holm(tuple(p_of(other) for other in family))[family.index(name)]

    def _p(self, name: str) -> float:
        c, r = self._pairs(name)
        if not self._testable(name):
            return 1.0
        return 1.0 if np.array_equal(c, r) else float(stats.ttest_rel(c, r).pvalue)

    def _testable(self, name: str) -> bool:
        c, r = self._pairs(name)
        if len(c) < 2:
            return False
        d = c - r
        return bool(np.ptp(d) > 1e-14) or bool(np.abs(d).max() < 1e-14)

    def _p_flip(self, name: str) -> float:
        c, r = self._pairs(name)
        return flips(c - r) if self._testable(name) else 1.0

    def _margin(self, percent: float) -> float:
        return percent / 100 * float(np.mean(list(self.s.values[self.base].values())))

    def _tost(self, name: str, percent: float) -> tuple[float, float]:
        c, r = self._pairs(name)
        m, d = self._margin(percent), c - r
        flip = max(flips(d + m, "greater"), flips(d - m, "less"))
        return (0.0 if np.array_equal(c, r) else float(ttost_paired(c, r, -m, m)[0])), flip

    def _verdict(self, name: str, percent: float) -> str:
        c, r = self._pairs(name)
        if len(c) < self.s.min_pairs or not self._testable(name):
            return "INCONCLUSIVE"
        if max(self._tost(name, percent)) < self.s.alpha:
            return "EQUIVALENT"
        if max(self._holm(name, self._p), self._holm(name, self._p_flip)) >= self.s.alpha:
            return "INCONCLUSIVE"
        return "SUPPORTED" if c.mean() < r.mean() else "REJECTED"

    @cached_property
    def facts(self) -> dict[str, dict[str, list[float | None]]]:
        """Expected numbers of each hypothesis, by the row's title; a report repeats them often."""
        return {name: self._facts(name) for name in self.hypotheses}

    def _facts(self, name: str) -> dict[str, list[float | None]]:
        c, r = self._pairs(name)
        if not self._testable(name) or np.array_equal(c, r):
            return _Nothing()
        d, n, alpha, k = c - r, len(c), self.s.alpha, len(self._family(name))
        level, to_percent = 1 - alpha, 100 / float(r.mean())
        test, se = stats.ttest_rel(c, r), float(stats.sem(d))
        ci = test.confidence_interval(level)
        pooled = np.sqrt((c.var(ddof=1) + r.var(ddof=1)) / 2)
        df = 2 * n - 2
        j = small_sample(df)
        tost, tost_flip = self._tost(name, self.s.margin)
        welch = stats.ttest_ind(c, r, equal_var=False)
        left = [(np.delete(c, i), np.delete(r, i)) for i in range(n)]
        percents = [100 * float((a - b).mean() / b.mean()) for a, b in left]
        m, t = self._margin(self.s.margin), stats.t(n - 1, d.mean(), se)
        ties = int(np.sum(d == 0))

        def mde(at: float) -> float:
            size = TTestPower().solve_power(nobs=n, alpha=at, power=self.s.power)
            return float(size * d.std(ddof=1) * to_percent)

        return {
            "mean difference": [d.mean(), se],
            f"{100 * level:.4g}% CI": [ci.low, ci.high],
            "in percent": [100 * float(d.mean() / r.mean())],
            f"{100 * level:.4g}% CI (Fieller)": list(fieller(c, r, level)),
            "CI at Bonferroni's level": [*fieller(c, r, 1 - alpha / k), 100 * (1 - alpha / k)],
            f"{100 * (1 - 2 * alpha):.4g}% CI (for TOST)": list(fieller(c, r, 1 - 2 * alpha)),
            "paired t": [n - 1, float(test.statistic)],
            "p": [float(test.pvalue)],
            "p, Holm": [self._holm(name, self._p)],
            "sign-flip p": [flips(d)],
            "sign-flip p, Holm": [self._holm(name, self._p_flip)],
            "TOST p": [tost],
            "TOST sign-flip p": [tost_flip],
            f"Hedges' g, {100 * level:.4g}% CI": list(
                standardised(float(d.mean() / pooled), df, float(np.sqrt(n / 2)), j, level)
            ),
            f"d_z, {100 * level:.4g}% CI": list(
                standardised(float(d.mean() / d.std(ddof=1)), n - 1, float(np.sqrt(n)), 1, level)
            ),
            "Welch's t (unpaired)": [float(welch.df), float(welch.statistic), float(welch.pvalue)],
            "Wilcoxon, exact": [float(stats.wilcoxon(d, method="exact").pvalue)],
            "one seed left out": [min(percents), max(percents)],
            "largest p of those": [max(float(stats.ttest_rel(a, b).pvalue) for a, b in left)],
            "posterior: below, inside, above the margin": [
                float(t.cdf(-m)), float(t.cdf(m) - t.cdf(-m)), float(t.sf(m)),
            ],
            "pairs that improve": [int(np.sum(d < 0)), n, *([ties] if ties else [])],
            "correlation over seeds": [float(np.corrcoef(c, r)[0, 1])],
            "ratio of sds": [float(c.std(ddof=1) / r.std(ddof=1))],
            "Brown-Forsythe p": [float(stats.levene(c, r, center="median").pvalue)],
            "detectable": [mde(alpha)],
            "the same at Bonferroni's level": [mde(alpha / k)],
        }  # fmt: skip


class _Nothing(dict[str, list[float | None]]):
    """Identical arms: what is printed of them is limits, not statistics."""

    def __missing__(self, key: str) -> list[float | None]:
        return []
