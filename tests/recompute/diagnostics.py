"""Sections of diagnostics: means, paired differences, CKA and false discovery rates."""

import json
import re
from itertools import permutations
from typing import Any

import numpy as np
from scipy import stats
from scipy.spatial.distance import pdist
from statsmodels.stats.multitest import multipletests

from tests.recompute.formulas import Array, paired
from tests.recompute.reading import Section, Table, tables


class Diagnosed:
    """A section of diagnostics; values and arrays are read from the runs' folders."""

    def __init__(self, section: Section) -> None:
        self.s, self.checker = section, section.checker
        self.base = next(iter(section.values))
        self.runs: dict[tuple[str, int], dict[str, Any]] = {}
        self.values: dict[str, dict[str, dict[int, float]]] = {}
        for result in section.root.glob(f"runs/{section.phase}/*/result.json"):
            content = json.loads(result.read_text())
            folder = content["attempt"].get("folder")
            place = result.parent / "attempts" / folder if folder else result.parent
            self._read(content, place / "diagnostics.npz")
        self.p: list[float] = []
        self.q: list[tuple[str, str]] = []

    def _read(self, result: dict[str, Any], file: Any) -> None:
        label = self.s.study["conditions"][result["condition"]]["label"]
        run = (label, result["seed"])
        try:
            with np.load(file, allow_pickle=False) as found:
                arrays = dict(found)
        except (OSError, ValueError):
            return  # a hole
        labels = json.loads(str(arrays["index"]))["labels"]
        self.runs[run] = {"arrays": arrays, "labels": labels}
        numbers = {n.replace("_", " "): v for n, v in result["diagnostics"].items()}
        for name, value in {
            **numbers,
            **_two_sample(arrays, labels),
            **_dimensions(arrays, labels),
        }.items():
            shown = f"own mining: {name[4:]}" if name.startswith("own ") else name
            self.values.setdefault(shown, {}).setdefault(label, {})[result["seed"]] = value

    def check(self) -> None:
        """The tables of conditions, differences and features, then every q at once."""
        for table in tables(self.s.text):
            table[0] = [_plain(cell) for cell in table[0]]
            if table[0][-1] == "what it is":
                self._conditions(table)
            elif table[0][:3] == ["Diagnostic", "Condition", "difference, 95% CI"]:
                self._differences(table)
            elif table[0][0] == "Layer":
                self._features(table)
        corrected = multipletests(self.p, method="fdr_bh")[1]
        for (where, cell), q in zip(self.q, corrected, strict=True):
            self.checker.numbers(f"{where} q", cell.strip("*"), [float(q)])
            self.checker.equal(f"{where} bold", cell.startswith("**"), bool(q <= 0.1))

    def _conditions(self, table: Table) -> None:
        shown = {row[0] for row in table[1:]}
        self.checker.equal(f"{self.s.phase}: diagnostics shown", shown, set(self.values))
        for name, *cells, _ in table[1:]:
            for arm, cell in zip(table[0][1:-1], cells, strict=True):
                values = list(self.values[name].get(arm, {}).values())
                if not values:
                    self.checker.equal(f"{name} {arm}", cell, "none")
                    continue
                expected = _interval(np.array(values))
                self.checker.numbers(f"{self.s.phase} {name} {arm}", cell, expected)

    def _differences(self, table: Table) -> None:
        for name, printed, cell, count, p, q in table[1:]:
            arm = _plain(printed)
            where = f"{self.s.phase} {name} {arm}"
            of = self.values[name.removesuffix(", from zero")]
            if name.endswith(", from zero"):
                d = np.array(list(of[arm].values()))
            else:
                c, r, _ = paired(of[arm], of[self.base])
                d = c - r
            self.checker.equal(f"{where} n", int(count), len(d))
            self.checker.numbers(where, cell, _interval(d))
            found = 1.0 if np.ptp(d) == 0 else float(stats.ttest_1samp(d, 0).pvalue)
            self.checker.numbers(f"{where} p", p, [found])
            self.p.append(found)
            self.q.append((where, q))

    def _features(self, table: Table) -> None:
        layers = next(iter(self.runs.values()))["labels"]["hidden layer"]
        for layer, printed, own, theirs, both, equal, apart, q, moved, moved_q in table[1:]:
            arm = _plain(printed)
            grams = {
                run: _gram(of["arrays"]["gram"][-1, layers.index(layer)])
                for run, of in self.runs.items()
            }
            seeds = sorted(
                {s for a, s in grams if a == arm} & {s for a, s in grams if a == self.base}
            )
            where = f"{self.s.phase} {layer} {arm}"

            def level(chosen: list[int], first: str, second: str, *, same: bool) -> float:
                pairs = [(s, s) for s in chosen] if same else permutations(chosen, 2)
                return float(np.mean([_cka(grams[first, a], grams[second, b]) for a, b in pairs]))  # noqa: B023

            def seed(chosen: list[int]) -> float:
                return sum(level(chosen, a, a, same=False) for a in (arm, self.base)) / 2  # noqa: B023

            wanted = {
                "base": (own, lambda s: level(s, self.base, self.base, same=False)),
                "arm": (theirs, lambda s: level(s, arm, arm, same=False)),  # noqa: B023
                "both": (both, lambda s: level(s, arm, self.base, same=False)),  # noqa: B023
                "equal": (equal, lambda s: level(s, arm, self.base, same=True)),  # noqa: B023
                "apart": (apart, lambda s: seed(s) - level(s, arm, self.base, same=False)),  # noqa: B023
                "moved": (moved, lambda s: seed(s) - level(s, arm, self.base, same=True)),  # noqa: B023
            }
            for name, (cell, statistic) in wanted.items():
                estimate, error = _jackknifed(seeds, statistic)
                half = stats.t.ppf(0.975, len(seeds) - 1) * error
                self.checker.numbers(
                    f"{where} {name}", cell, [estimate, estimate - half, estimate + half]
                )
                if name in ("apart", "moved"):
                    p = (
                        float(stats.t.sf(estimate / error, len(seeds) - 1))
                        if error > 1e-12
                        else 1.0
                    )
                    self.p.append(p)
                    self.q.append((f"{where} {name}", q if name == "apart" else moved_q))


def _plain(text: str) -> str:
    """A label as the study has it."""
    return re.sub(r"\\(.)", r"\1", text)


def _interval(values: Array) -> list[float | None]:
    mean = float(values.mean())
    if len(values) < 2:
        return [mean]
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return [mean, mean - half, mean + half]


def _jackknifed(seeds: list[int], statistic: Any) -> tuple[float, float]:
    n, whole = len(seeds), statistic(seeds)
    left = np.array([statistic([s for s in seeds if s != out]) for out in seeds])
    return whole, float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))


def _gram(packed: Array) -> Array:
    n = int((np.sqrt(8 * len(packed) + 1) - 1) / 2)
    full = np.zeros((n, n))
    full[np.triu_indices(n)] = packed
    return full + np.triu(full, 1).T


def _hsic(K: Array, L: Array) -> float:
    n, K, L = len(K), K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    return float(
        np.trace(K @ L) + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (K @ L).sum()
    )


def _cka(K: Array, L: Array) -> float:
    return _hsic(K, L) / float(np.sqrt(_hsic(K, K) * _hsic(L, L)))


def _dimensions(arrays: dict[str, Any], labels: dict[str, list[str]]) -> dict[str, float]:
    found = {}
    for place, layer in enumerate(labels["hidden layer"]):
        gram = _gram(arrays["gram"][-1, place])
        centre = np.eye(len(gram)) - 1 / len(gram)
        spectrum = np.linalg.eigvalsh(centre @ gram @ centre)
        found[f"feature dimension, {layer} layer"] = float(
            spectrum.sum() ** 2 / (spectrum**2).sum()
        )
    return found


def _two_sample(arrays: dict[str, Any], labels: dict[str, list[str]]) -> dict[str, float]:
    truth = arrays["fixed_projected"][labels["projected solution"].index("inverse")].astype(float)
    width = float(np.median(pdist(truth)))
    first = np.zeros(len(truth), dtype=bool)
    for level in np.unique(arrays["level"]):  # every other probe of a level, going on from the last
        at = np.flatnonzero(arrays["level"] == level)
        first[at[(np.arange(len(at)) + np.sum(arrays["level"] < level)) % 2 == 0]] = True
    found: dict[str, float] = {}
    for place, procedure in enumerate(labels["procedure"]):
        mined = arrays["projected"][-1, place].astype(float)
        both = [_compared(mined[h], truth[~h], width) for h in (first, ~first)]
        prefix = "own " if procedure == "own" else ""
        for name, value in zip(("energy distance", "MMD²", "KS statistic", "KS share"),
                               np.mean(both, axis=0), strict=True):  # fmt: skip
            found[prefix + name] = float(value)
    return found


def _compared(x: Array, y: Array, width: float) -> list[float]:
    def apart(a: Array, b: Array) -> Array:
        return np.asarray(np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)))

    def kernel(a: Array, b: Array) -> Array:
        return np.asarray(np.exp(-(apart(a, b) ** 2) / (2 * width**2)))

    def off(k: Array) -> float:
        return float(k[~np.eye(len(k), dtype=bool)].mean())

    energy = 2 * apart(x, y).mean() - apart(x, x).mean() - apart(y, y).mean()
    mmd = off(kernel(x, x)) + off(kernel(y, y)) - 2 * kernel(x, y).mean()
    tests = [stats.ks_2samp(a, b, method="asymp") for a, b in zip(x.T, y.T, strict=True)]
    p = np.sort([t.pvalue for t in tests])
    told = np.logical_and.accumulate(p < 0.05 / np.arange(len(p), 0, -1))  # Holm, step by step
    return [
        float(energy),
        float(mmd),
        float(np.mean([t.statistic for t in tests])),
        float(told.mean()),
    ]
