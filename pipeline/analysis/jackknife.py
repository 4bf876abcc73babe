"""An interval for a statistic of seeds whose terms are pairs of seeds.

A mean over pairs of n seeds has far fewer than n (n - 1) / 2 independent terms: every seed is in
n - 1 of them. Leaving out one seed at a time counts each seed once (Arvesen 1969).
"""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.analysis.stats import StatisticsError, TTest


def jackknife(seeds: Sequence[int], statistic: Callable[[Sequence[int]], float]) -> TTest:
    """Return the statistic of all seeds, with its standard error from pseudo-values, n - 1 df.

    Raises:
        StatisticsError: fewer than three seeds, as two must stay when one is left out.
    """
    n = len(seeds)
    if n < 3:
        raise StatisticsError(f"{n} seed(s); at least 3 are needed")
    whole = statistic(seeds)
    without = [statistic([other for other in seeds if other != seed]) for seed in seeds]
    pseudo = n * whole - (n - 1) * np.array(without)
    # Of equal terms nothing but rounding is left, and that is no spread.
    spread = float(pseudo.std(ddof=1))
    if spread <= 64 * n * np.finfo(np.float64).eps * float(np.abs(pseudo).max(initial=0.0)):
        spread = 0.0
    return TTest(whole, spread / float(np.sqrt(n)), n - 1)
