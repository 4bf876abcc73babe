"""CKA and principal components: invariances, an oracle, and features without spread."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.cka import (
    aligned,
    cka,
    cka_matrix,
    components,
    effective_dimension,
    gram_matrix,
    gram_size,
)
from pipeline.analysis.recording import Array


def features(seed: int, inputs: int = 20, width: int = 7) -> Array:
    """Random features, (inputs, width)."""
    return np.random.default_rng(seed).standard_normal((inputs, width))


def hsic(K: Array, L: Array) -> float:
    """HSIC_1 as Song et al. (2012) write it, term by term."""
    n = len(K)
    K, L = K.copy(), L.copy()
    np.fill_diagonal(K, 0)
    np.fill_diagonal(L, 0)
    one = np.ones(n)
    first = np.trace(K @ L)
    second = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (one @ K @ L @ one)
    return float((first + second - third) / (n * (n - 3)))


@pytest.mark.parametrize("seed", range(5))
def test_cka_is_the_ratio_of_unbiased_hsic(seed: int) -> None:
    """By the formula of its authors, which shares nothing with U-centring."""
    x, y = features(seed), features(seed + 100, width=11) + features(seed, width=11)
    K, L = x @ x.T, y @ y.T
    expected = hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))
    assert cka(K, L) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.floats(-5, 5))
def test_cka_knows_no_rotation_scale_or_shift(seed: int, scale: float, shift: float) -> None:
    """Orthogonal transforms, isotropic scaling and translation leave it as it is; 1 with itself."""
    x, y = features(seed), features(seed + 1)
    rotation, _ = np.linalg.qr(features(seed + 2, 7, 7))
    moved = scale * (x @ rotation) + shift
    K, L, M = x @ x.T, y @ y.T, moved @ moved.T
    assert cka(K, M) == pytest.approx(1, abs=1e-7)
    assert cka(M, L) == pytest.approx(cka(K, L), abs=1e-7)
    assert cka(K, K) == pytest.approx(1, abs=1e-12)
    assert cka(K, L) == pytest.approx(cka(L, K), abs=1e-12)
    assert abs(cka(K, L)) <= 1


def test_independent_features_are_not_alike_however_wide() -> None:
    """Without bias: wide random features have CKA about 0, where the biased one nears 1."""
    wide = [features(seed, inputs=30, width=3000) for seed in range(20)]
    matrix = cka_matrix(np.stack([x @ x.T for x in wide]))
    others = matrix[~np.eye(20, dtype=bool)]
    assert abs(others.mean()) < 0.02
    assert np.allclose(np.diag(matrix), 1)


def test_features_without_spread_are_like_nothing() -> None:
    """A dead layer has no direction: 0, never nan."""
    dead, alive = np.full((10, 10), 3.7), features(0, 10) @ features(0, 10).T
    assert cka(dead, alive) == 0
    assert effective_dimension(dead) == 0
    assert effective_dimension(np.zeros((10, 10))) == 0
    found = components(dead)
    assert np.isfinite(found.scores).all()
    assert found.shares.tolist() == [0, 0]


def test_effective_dimension_counts_directions() -> None:
    """k directions of equal variance count as k, whatever their scale."""
    for k in (1, 3, 6):
        x, _ = np.linalg.qr(features(k, 40, k) - features(k, 40, k).mean(axis=0))
        x = 5 * (x - x.mean(axis=0))
        values = np.linalg.eigvalsh(np.cov(x.T).reshape(k, k))
        expected = values.sum() ** 2 / (values**2).sum()
        assert effective_dimension(x @ x.T) == pytest.approx(expected, rel=1e-9)
        assert effective_dimension(x @ x.T) == pytest.approx(k, rel=1e-6)


def test_components_are_those_of_the_features() -> None:
    """Distances in the plane and shares equal those of a singular value decomposition."""
    x = features(3) * np.array([5, 3, 1, 1, 0.5, 0.2, 0.1])
    centred = x - x.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    found = components(x @ x.T)
    assert found.shares == pytest.approx((s**2 / (s**2).sum())[:2])
    unit = np.sqrt(np.abs(x @ x.T).max())
    assert np.abs(found.scores * unit) == pytest.approx(np.abs(u * s)[:, :2])


def test_alignment_undoes_rotation_and_reflection() -> None:
    """Two pictures of the same thing lie on each other."""
    scores = features(1, 15, 2)
    turn = np.array([[0.6, 0.8], [0.8, -0.6]])
    assert aligned(scores @ turn, scores) == pytest.approx(scores)


@given(st.integers(1, 40))
def test_a_gram_matrix_is_unpacked_as_it_was_packed(n: int) -> None:
    """Entries i <= j, row by row; other counts are no matrix."""
    x = features(n, n, 3)
    full = x @ x.T
    packed = full[np.triu_indices(n)]
    assert gram_matrix(packed) == pytest.approx(full)
    assert gram_size(len(packed)) == n
    assert n == 1 or gram_size(len(packed) + 1) is None
    with pytest.raises(ValueError, match="no half of a square"):
        gram_matrix(np.zeros(4))
