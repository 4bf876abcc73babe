"""Do the verdicts keep their promise? Simulated studies whose truth is known.

    python -m benchmarks.validity

Simulates 2,000 studies for each design and shape of noise, and counts verdicts: under the null no
more than alpha of the studies may hold a SUPPORTED or REJECTED, at a true difference as large as
the margin no more than alpha an EQUIVALENT; beyond that Monte-Carlo error (three standard errors)
is allowed. Prints a table, writes build/benchmarks/validity.json, exits 1 when a limit is broken.

The tests are vectorised over studies here; the rule, its corrections and the selection are the
package's own, and some studies of each design go through the package's whole analysis besides.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.simulated import checked, studies_of, sweep_selections
from pipeline.analysis.margins import Tost
from pipeline.analysis.power import detectable
from pipeline.analysis.stats import holm
from pipeline.analysis.verdict import Evidence, Outcome, decide

STUDIES, PAIRS, ALPHA, MIN_PAIRS = 2_000, 10, 0.05, 8
MEAN, LUCK, NOISE, MARGIN_PERCENT = 1.0, 0.02, 0.01, 0.5
# At the margin itself the question is hard only where the data can tell so little apart.
QUIET = NOISE / 10
CHECKED = 5
OUT = Path("build/benchmarks/validity.json")
Array = np.ndarray[Any, np.dtype[np.float64]]


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Noise as the t test assumes it."""
    return generator.standard_normal(shape)


def heavy(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Outliers: Student's t with three degrees of freedom, of unit variance."""
    return np.asarray(generator.standard_t(3, shape) / np.sqrt(3))


def skewed(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """A floor and a long tail, as errors have: centred exponential."""
    return generator.exponential(1.0, shape) - 1


SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": normal,
    "heavy tails": heavy,
    "skewed": skewed,
}


@dataclass(frozen=True)
class Rate:
    """How often something happened, and how often it may."""

    design: str
    noise: str
    event: str
    rate: float
    limit: float | None
    """Alpha plus three Monte-Carlo standard errors; None where nothing is promised."""

    @property
    def kept(self) -> bool:
        """Is the promise kept?"""
        return self.limit is None or self.rate <= self.limit


def verdicts(base: Array, arms: Array) -> list[list[Outcome]]:
    """Verdicts of each study: base (studies, pairs), arms (studies, k, pairs); one family."""
    d = arms - base[:, None, :]
    n, margin = d.shape[2], MARGIN_PERCENT / 100 * np.abs(base.mean(axis=1))[:, None]
    mean, se = d.mean(axis=2), d.std(axis=2, ddof=1) / np.sqrt(n)
    p = 2 * stats.t.sf(np.abs(mean / se), n - 1)
    lower = stats.t.sf((mean + margin) / se, n - 1)
    upper = stats.t.cdf((mean - margin) / se, n - 1)
    flips = signflips(d, "two-sided")
    below = signflips(d + margin[:, :, None], "greater")
    above = signflips(d - margin[:, :, None], "less")
    found = []
    for i in range(len(d)):
        p_holm, flips_holm = holm(list(p[i])), holm(list(flips[i]))
        row = []
        for j in range(d.shape[1]):
            tost = Tost(margin[i, 0], lower[i, j], upper[i, j], below[i, j], above[i, j])
            evidence = Evidence(mean[i, j], p_holm[j], flips_holm[j], tost)
            row.append(decide(n, evidence, alpha=ALPHA, min_pairs=MIN_PAIRS).outcome)
        found.append(row)
    return found


def signflips(d: Array, alternative: str) -> Array:
    """Exact sign-flip p of many samples, (studies, k, pairs) -> (studies, k)."""
    n = d.shape[2]
    signs = (1 - 2 * ((np.arange(2**n)[None] >> np.arange(n)[:, None]) & 1)).astype(float)
    p = np.empty(d.shape[:2])
    for arm in range(d.shape[1]):
        sums, observed = d[:, arm] @ signs, d[:, arm].sum(axis=1)[:, None]
        slack = 1e-12 * np.abs(d[:, arm]).sum(axis=1)[:, None]
        if alternative == "two-sided":
            extreme = np.abs(sums) >= np.abs(observed) - slack
        else:
            sign = 1 if alternative == "greater" else -1
            extreme = sign * sums >= sign * observed - slack
        p[:, arm] = extreme.mean(axis=1)
    return p


def shares(found: list[list[Outcome]], *events: Outcome) -> float:
    """Share of studies that hold any of the outcomes."""
    return sum(any(outcome in events for outcome in row) for row in found) / len(found)


def limit(studies: int) -> float:
    """What a rate of alpha may look like in so many studies."""
    return ALPHA + 3 * float(np.sqrt(ALPHA * (1 - ALPHA) / studies))


def detectable_effect(family: int) -> float:
    """True difference that one paired t test at alpha / family detects with power 80%."""
    errors = detectable(PAIRS - 1, ALPHA / family, 0.8)
    assert errors is not None
    return errors * NOISE * float(np.sqrt(2 / PAIRS))


def families(studies: int, noise: str, seed: int) -> list[Rate]:
    """Multi-seed validation (two primary hypotheses) and alternatives (three)."""
    rates = []
    for design, k in (("multi-seed, 2 hypotheses", 2), ("alternatives, 3 hypotheses", 3)):
        draw = studies_of(np.random.default_rng([seed, k]), SHAPES[noise], MEAN, LUCK)

        def simulate(
            effect: float,
            noise: float = NOISE,
            draw: Callable[..., tuple[Array, Array]] = draw,
            k: int = k,
        ) -> list[list[Outcome]]:
            base, arms = draw(studies, k, PAIRS, effect, noise)
            found = verdicts(base, arms)
            checked(base, arms, found, CHECKED, ALPHA, MARGIN_PERCENT, MIN_PAIRS)
            return found

        told = (Outcome.SUPPORTED, Outcome.REJECTED)
        null = shares(simulate(0.0), *told)
        rates.append(Rate(design, noise, "null, any told apart", null, limit(studies)))
        edge = [row[:1] for row in simulate(MARGIN_PERCENT / 100 * MEAN, QUIET)]
        bounded = shares(edge, Outcome.EQUIVALENT)
        rates.append(Rate(design, noise, "at the margin, EQUIVALENT", bounded, limit(studies)))
        effect = detectable_effect(k)
        power = shares([row[:1] for row in simulate(-effect)], Outcome.SUPPORTED)
        rates.append(Rate(design, noise, f"true -{100 * effect:.2f}%, SUPPORTED", power, None))
    return rates


def selections(studies: int, noise: str, seed: int) -> list[Rate]:
    """A sweep of 25 settings at three seeds, then the selected one at ten fresh seeds."""
    design = "sweep of 25, then confirm"
    draw = studies_of(np.random.default_rng([seed, 99]), SHAPES[noise], MEAN, LUCK)
    base, cells = draw(studies, 25, 3, 0.0, NOISE)
    selected, estimates = sweep_selections(base, cells, CHECKED)
    chosen = cells[np.arange(studies), selected] - base
    naive = 2 * stats.t.sf(
        np.abs(chosen.mean(axis=1)) / (chosen.std(axis=1, ddof=1) / np.sqrt(3)), 2
    )
    fresh_base, fresh = draw(studies, 1, PAIRS, 0.0, NOISE)
    found = verdicts(fresh_base, fresh)
    checked(fresh_base, fresh, found, CHECKED, ALPHA, MARGIN_PERCENT, MIN_PAIRS)
    null = shares(found, Outcome.SUPPORTED, Outcome.REJECTED)
    effect = detectable_effect(1)
    power = shares(verdicts(*draw(studies, 1, PAIRS, -effect, NOISE)), Outcome.SUPPORTED)
    confirmed = 100 * ((fresh[:, 0] - fresh_base).mean(axis=1) / fresh_base.mean(axis=1))
    optimism = float((estimates - confirmed).mean())
    return [
        Rate(design, noise, "null, told apart", null, limit(studies)),
        Rate(design, noise, "null, p < alpha in the sweep itself", float((naive < ALPHA).mean()),
             None),
        Rate(design, noise, "null, mean optimism in points", optimism, None),
        Rate(design, noise, f"true -{100 * effect:.2f}%, SUPPORTED", power, None),
    ]  # fmt: skip


def measure(studies: int, seed: int = 20_260_123) -> list[Rate]:
    """All rates of all designs."""
    return [
        rate
        for noise in SHAPES
        for rate in (*families(studies, noise, seed), *selections(studies, noise, seed))
    ]


def main() -> None:
    """Simulate, print, write; fail where a promise is broken."""
    rates = measure(STUDIES)
    print(
        f"{STUDIES:,} simulated studies each, {PAIRS} pairs, alpha {ALPHA}, "
        f"margin {MARGIN_PERCENT}%, sd of a run's own noise {100 * NOISE / MEAN:.0f}%"
    )
    for rate in rates:
        said = "" if rate.limit is None else f"  at most {rate.limit:.4f}: "
        said += "" if rate.limit is None else ("kept" if rate.kept else "BROKEN")
        print(f"  {rate.design:28}{rate.noise:13}{rate.event:38}{rate.rate:8.4f}{said}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(rate), "kept": rate.kept} for rate in rates]
    OUT.write_text(json.dumps({"studies": STUDIES, "pairs": PAIRS, "rates": rows}, indent=1) + "\n")
    sys.exit(not all(rate.kept for rate in rates))


if __name__ == "__main__":
    main()
