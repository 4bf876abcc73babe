"""What is said across phases: summary, findings, assessment, recommendations, conclusion."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from math import ceil
from typing import Any, Literal

import numpy as np
from scipy import stats
from statsmodels.stats.power import TTestPower

from tests.recompute.formulas import Array, flips
from tests.recompute.paired import Paired
from tests.recompute.reading import NUMBER, Checker, tables

FACTS = re.compile(
    r"difference (\S+), \S+ CI (\[[^]]*\]), (\d+) pairs?, Holm-corrected (p \S+(?: \S+)?) by the "
    r"paired t test and (p \S+(?: \S+)?) by sign flips \((\d+) hypothes[ie]s\), margin (\S+?%)"
)
SIDES = re.compile(
    r"An improvement by the margin or more is (not )?excluded "
    r"\(one-sided (.*?), sign-flip (.*?)\); a harm by the margin or more is (not )?excluded "
    r"\(one-sided (.*?), sign-flip (.*?)\)"
)
PLANNING = re.compile(
    r"Power (\S+)% takes (.*?) for a true difference .*?, and (.*?) for EQUIVALENT .*?; (\d+) w"
)
MOST_PAIRS = 65_536


class Assessment:
    """Sentences and tables that repeat or draw on what the phases' sections hold."""

    def __init__(self, paired: Sequence[Paired], text: str, checker: Checker) -> None:
        self.phases = {section.s.phase: section for section in paired}
        self.text, self.checker = text, checker

    def check(self) -> None:
        """Everything that stands outside of the phases' sections."""
        self._summary()
        self._findings()
        self._table()
        self._details()
        self._recommendations()
        for name, where in self._items("Conclusion", r"^- (\S+): \*\*(.*)$"):
            self._verdict(self._phase(where), name, where)

    def _section(self, title: str) -> str:
        return self.text.split(f"\n## {title}\n")[1].split("\n## ")[0]

    def _items(self, title: str, pattern: str) -> list[Any]:
        return re.findall(pattern, self._section(title), re.MULTILINE)

    def _phase(self, words: str) -> Paired:
        """The phase that words name; without a name there is only one."""
        named = re.search(r"in phase \w+, ([\w-]+)", words)
        return self.phases[named[1]] if named else next(iter(self.phases.values()))

    def _verdict(self, phase: Paired, name: str, words: str) -> None:
        (said,) = re.findall(r"SUPPORTED|REJECTED|EQUIVALENT|INCONCLUSIVE", words)
        self.checker.equal(name, said, phase._verdict(name, phase.s.margin))

    def _summary(self) -> None:
        summary = self._section("Executive summary")
        for line in re.findall(r"^- \*\*.*$", summary, re.MULTILINE):
            phase = self._phase(line)
            (name,) = [
                name
                for name, (ours, theirs, _) in phase.hypotheses.items()
                if re.search(rf": {re.escape(ours)} (has|is|against) .*{re.escape(theirs)}\b", line)
                or f": {ours} against {theirs} " in line
                or re.search(rf": {re.escape(ours)} (has|is) .*{re.escape(theirs)}( in|:)", line)
            ]
            self._sentence(phase, name, line)
        self._untrained(summary)

    def _untrained(self, text: str) -> None:
        """Which predictors every condition misses or passes, and by name."""
        for line in re.findall(r"^- (?:In|The|Every|No|Lower|Higher) .*$", text, re.MULTILINE):
            phase = self._phase(line.replace("In phase", "in phase"))
            sides = {name: phase.sides(name) for name in phase.predictors()}
            missed = [name for name, of in sides.items() if of == {"above"}]
            passed = [name for name, of in sides.items() if of == {"below"}]
            found = re.search(r"higher .* than (\d+) of the (\d+) reference predictors: ", line)
            where = f"{phase.s.phase} untrained"
            printed = (int(found[1]), int(found[2])) if found else (0, len(sides))
            self.checker.equal(where, printed, (len(missed), len(sides)))
            for name in missed:
                self.checker.equal(where, name.replace("_", " ") in line, True)
            whole = re.search(r"lower .* than (the|all)", line) is not None
            self.checker.equal(where, whole, len(passed) == len(sides))

    def _findings(self) -> None:
        short = r"^- (\*\*.*?)(\S+): .* against .*?, (\S+%|not defined) (\[.*?\]|not defined)\."
        for where, name, percent, interval in self._items("Key findings", short):
            phase = self._phase(where)
            facts = phase.facts[name]
            self._verdict(phase, name, where)
            self.checker.numbers(name, percent, facts["in percent"])
            self.checker.numbers(name, interval, _first(facts, "CI (Fieller)"))
        self._by_hypothesis(
            "Resolution", lambda p, n: [*p.facts[n]["the same at Bonferroni's level"]]
        )
        self._by_hypothesis(
            "Spread over seeds",
            lambda p, n: [*p.facts[n]["ratio of sds"], *p.facts[n]["Brown-Forsythe p"]],
        )
        for line in self._items("Key findings", r"^- (Evaluation.*)$"):
            phase = self._phase(line)
            for item in line.partition("own evaluation:")[2].strip(" .").split("; "):
                label = max((a for a in phase.s.values if item.startswith(a)), key=len)
                x = list(phase.s.values[label].values())
                expected = [float(np.std(x, ddof=1)), max(phase.evaluation_errors(label))]
                self.checker.numbers(label, item.removeprefix(label), expected)
        for line in self._items("Key findings", r"^- (Cost of one run.*)$"):
            phase = self._phase(line)
            for label in phase.s.values:
                (printed,) = re.findall(rf" {re.escape(label)} (<? ?[\d.]+\d|0)[,.]", line)
                seconds = [run["device_s"] for run in phase._runs(label)]
                self.checker.hours(label, printed, float(np.mean(seconds)) / 3600)

        said = r"^- Phase \w+, ([\w-]+): Optimism of the selection: (\S+) points"
        for name, points in self._items("Key findings", said):
            self.checker.numbers(f"{name}: optimism", points, [self.phases[name].optimism])

    def _by_hypothesis(self, title: str, wanted: Callable[[Paired, str], Sequence[Any]]) -> None:
        for line in self._items("Key findings", rf"^- ({title}.*)$"):
            phase = self._phase(line)
            for name in phase.hypotheses:
                found = re.search(
                    rf"[:;] {name} ([^;]*?)(?: \(\d+ pairs?\)|, not resolved)?[;.](?!\d)", line
                )
                if found and phase.facts[name]:
                    self.checker.numbers(f"{title} {name}", found[1], wanted(phase, name))

    def _table(self) -> None:
        (table,) = (t for t in tables(self._section("Hypothesis assessment")))
        for name, verdict, percent, interval, pairs, p, p_flip, place in table[1:]:
            phase = self.phases[place.partition(", ")[2]]
            facts = phase.facts[name]
            self._verdict(phase, name, verdict)
            self.checker.equal(name, int(pairs), len(phase._pairs(name)[0]))
            if percent == "not tested":
                continue
            self.checker.numbers(name, percent, facts["in percent"])
            self.checker.numbers(name, interval, _first(facts, "CI (Fieller)"))
            self.checker.numbers(name, p, facts["p, Holm"])
            self.checker.numbers(name, p_flip, facts["sign-flip p, Holm"])

    def _details(self) -> None:
        for part in self._section("Hypothesis assessment").split("\n### ")[1:]:
            name = part.split(" ", 1)[0]
            for line in re.findall(r"^Verdict: .*$", part, re.MULTILINE):
                self._sentence(self._phase(line), name, line)
            (phase,) = {self._phase(line) for line in part.splitlines() if "Verdict: " in line}
            for found in SIDES.findall(part):
                self._sides(phase, name, found)

    def _sentence(self, phase: Paired, name: str, line: str) -> None:
        """One verdict in full."""
        self._verdict(phase, name, re.findall(r"\*\*[A-Z]+\*\*", line)[0])
        found = FACTS.search(line)
        facts = phase.facts[name]
        if found is None or not facts:
            return
        percent, interval, pairs, p, p_flip, family, margin = found.groups()
        where = f"sentence of {name}"
        self.checker.numbers(where, percent, facts["in percent"])
        self.checker.numbers(where, interval, _first(facts, "CI (Fieller)"))
        self.checker.equal(where, int(pairs), len(phase._pairs(name)[0]))
        self.checker.numbers(where, p, facts["p, Holm"])
        self.checker.numbers(where, p_flip, facts["sign-flip p, Holm"])
        self.checker.equal(where, int(family), len(phase._family(name)))
        self.checker.numbers(where, margin, [phase.s.margin])
        tost = re.search(r"; TOST (.*?), by sign flips (.*?)\.(?!\d)", line)
        if tost:
            self.checker.numbers(where, tost[1], facts["TOST p"])
            self.checker.numbers(where, tost[2], facts["TOST sign-flip p"])

    def _sides(self, phase: Paired, name: str, found: tuple[str, ...]) -> None:
        c, r = phase._pairs(name)
        m = phase._margin(phase.s.margin)
        sides: tuple[tuple[tuple[str, ...], float, Literal["greater", "less"]], ...] = (
            (found[:3], m, "greater"),
            (found[3:], -m, "less"),
        )
        for (said, p, p_flip), shift, alternative in sides:
            same = np.array_equal(c, r)  # without spread the margin is infinitely far away
            test = None if same else stats.ttest_rel(c + shift, r, alternative=alternative)
            one_sided = float(test.pvalue) if test else 0.0
            flipped = flips(c - r + shift, alternative)
            self.checker.numbers(f"side of {name}", p, [one_sided])
            self.checker.numbers(f"side of {name}", p_flip, [flipped])
            excluded = max(one_sided, flipped) < phase.s.alpha
            self.checker.equal(f"side of {name}", said != "not ", excluded)

    def _recommendations(self) -> None:
        advice = self._section("Recommendations")
        for line in (line for line in advice.splitlines() if PLANNING.search(line)):
            phase = self._phase(line)
            (name,) = [
                name
                for name, (ours, theirs, _) in phase.hypotheses.items()
                if line.startswith(f"- {ours} against {theirs}")
            ]
            c, r = phase._pairs(name)
            sd, m = float((c - r).std(ddof=1)), phase._margin(phase.s.margin)
            level, power = phase.s.alpha / len(phase._family(name)), phase.s.power
            wanted = (to_detect(sd, m, level, power), to_bound(sd, m, phase.s.alpha, power))
            found = PLANNING.search(line)
            assert found is not None
            for words, total in zip(found.groups()[1:3], wanted, strict=True):
                self.checker.equal(f"pairs for {name}", _pairs_in(words), _missing(total, len(c)))
        clear = re.findall(r"No condition clears the predictor (.*?)(?: in phase|, which)", advice)
        first = [
            next((n for n in phase.predictors() if "below" not in phase.sides(n)), None)
            for phase in self.phases.values()
        ]
        wanted_first = list(dict.fromkeys(n.replace("_", " ") for n in first if n))
        self.checker.equal("predictors to clear", clear, wanted_first)


def _first(facts: dict[str, list[float | None]], ending: str) -> list[float | None]:
    return next((value for key, value in facts.items() if key.endswith(ending)), [])


def _pairs_in(words: str) -> tuple[int, ...]:
    return tuple(int(number) for number in NUMBER.findall(words.replace(",", "")))


def _missing(total: int, complete: int) -> tuple[int, ...]:
    if total > MOST_PAIRS:
        return (MOST_PAIRS,)
    return () if total <= complete else (total - complete, total)


@cache
def to_detect(sd: float, size: float, alpha: float, power: float) -> int:
    """Pairs for the paired t test, by statsmodels; it looks for real numbers, upwards from 2."""
    for n in count(2):
        if n > MOST_PAIRS or TTestPower().power(size / sd, n, alpha) >= power:
            return n
    raise AssertionError


@cache
def to_bound(sd: float, margin: float, alpha: float, power: float) -> int:
    """Pairs for TOST at a true difference of zero: power as a mean over quantiles of chi-square."""
    u = (np.arange(20_000) + 0.5) / 20_000

    def passes(n: int) -> float:
        ratio: Array = np.sqrt(stats.chi2.ppf(u, n - 1) / (n - 1))
        reach = margin * np.sqrt(n) / sd - stats.t.ppf(1 - alpha, n - 1) * ratio
        return float(np.mean(np.clip(2 * stats.norm.cdf(reach) - 1, 0, None)))

    low, high = 1, 2
    while passes(high) < power:
        low, high = high, 2 * high
        if low > MOST_PAIRS:
            return high
    while high - low > 1:
        middle = ceil((low + high) / 2)
        low, high = (low, middle) if passes(middle) >= power else (middle, high)
    return high
