"""Two-sample distances: their properties, and oracles in one dimension or by brute force."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.analysis.recording import Array
from pipeline.analysis.two_sample import (
    energy_distance,
    kolmogorov_smirnov,
    median_distance,
    mmd_squared,
)


def points(seed: int, count: int, dimensions: int, shift: float = 0.0) -> Array:
    """A normal sample."""
    return np.random.default_rng(seed).standard_normal((count, dimensions)) + shift


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(2, 12), st.integers(1, 4))
def test_energy_distance_is_a_distance(seed: int, n: int, m: int, d: int) -> None:
    """Not negative, symmetric, 0 for equal samples, unmoved by shifts and rotations of both."""
    x, y = points(seed, n, d), points(seed + 1, m, d)
    rotation, _ = np.linalg.qr(points(seed + 2, d, d))
    assert energy_distance(x, y) >= -1e-12
    assert energy_distance(x, y) == pytest.approx(energy_distance(y, x))
    assert energy_distance(x, x[::-1]) == pytest.approx(0, abs=1e-12)
    moved = energy_distance(x @ rotation + 3, y @ rotation + 3)
    assert moved == pytest.approx(energy_distance(x, y), abs=1e-9)
    assert energy_distance(7 * x, 7 * y) == pytest.approx(7 * energy_distance(x, y), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_energy_distance_equals_scipy_in_one_dimension(seed: int) -> None:
    """scipy's is the root of it, by another route: the distribution functions."""
    x, y = points(seed, 13, 1), points(seed + 9, 17, 1, shift=0.5)
    root = stats.energy_distance(x[:, 0], y[:, 0])
    assert energy_distance(x, y) == pytest.approx(root**2, rel=1e-9)


def test_mmd_is_the_mean_over_pairs_of_different_points() -> None:
    """Pair by pair, as lemma 6 of Gretton et al. (2012) writes it."""
    x, y, width = points(1, 6, 3), points(2, 5, 3, shift=0.4), 1.3

    def k(a: Array, b: Array) -> float:
        return float(np.exp(-np.sum((a - b) ** 2) / (2 * width**2)))

    within = [
        np.mean([k(a, b) for (i, a), (j, b) in product(enumerate(s), repeat=2) if i != j])
        for s in (x, y)
    ]
    across = np.mean([k(a, b) for a, b in product(x, y)])
    assert mmd_squared(x, y, width) == pytest.approx(float(sum(within) - 2 * across))


def test_mmd_has_no_bias_and_sees_a_shift() -> None:
    """Of equal distributions its mean is 0 within Monte-Carlo error; of others it is above."""
    null = [mmd_squared(points(s, 12, 2), points(s + 5000, 12, 2), 1.0) for s in range(400)]
    assert abs(np.mean(null)) < 3.5 * np.std(null) / np.sqrt(len(null))
    assert min(null) < 0
    assert mmd_squared(points(1, 60, 2), points(2, 60, 2, shift=1.0), 1.0) > max(null)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 40), st.booleans())
def test_kolmogorov_smirnov_equals_scipy(seed: int, n: int, m: int, tied: bool) -> None:
    """Statistic and asymptotic p in every dimension, with and without equal points."""
    x, y = points(seed, n, 3), points(seed + 1, m, 3, shift=0.3)
    if tied:
        x, y = np.round(x), np.round(y)
    statistic, p = kolmogorov_smirnov(x, y)
    for column in range(3):
        oracle = stats.ks_2samp(x[:, column], y[:, column], method="asymp")
        assert statistic[column] == pytest.approx(oracle.statistic, abs=1e-12)
        assert p[column] == pytest.approx(oracle.pvalue, rel=1e-6, abs=1e-12)


def test_the_bandwidth_is_the_median_distance() -> None:
    """Over pairs of different points."""
    assert median_distance(np.array([[0.0], [1.0], [5.0]])) == 4.0
