"""Reference predictors against the published values and against what they must be."""

import numpy as np
import pytest

from training.data import held_out_set
from training.references import Matrices, fit_references, score_references


def matrices(seed: int, name: str, count: int, n: int) -> tuple[Matrices, Matrices]:
    """Return A and y, (count, n, n)."""
    drawn = held_out_set(seed, "test" if name == "test" else "reference fit", count, n, 0.5)
    return drawn.A.numpy().reshape(-1, n, n), drawn.y.numpy().reshape(-1, n, n)


# Mean squared errors at n = 20, measured independently on 200,000 matrices, with the standard
# deviation of one matrix's error and the number of fitted coefficients.
PUBLISHED = {
    "zero": (0.020724, 0.003607),
    "scaled identity": (0.014141, 0.002476),
    "affine": (0.009560, 0.001682),
    "quadratic": (0.006525, 0.001220),
    "cubic": (0.004513, 0.001144),
}


def test_predictors_have_their_published_errors() -> None:
    """At n = 20 each agrees within five standard errors, and the linear fit with the affine."""
    fit, held_out = matrices(0, "fit", 20_000, 20), matrices(0, "test", 8_000, 20)
    scores = score_references(fit_references(*fit), *held_out)
    for name, (value, spread) in PUBLISHED.items():
        error = spread * (1 / 8_000 + 1 / 200_000) ** 0.5
        assert abs(scores[name].value - value) < 5 * error, name
        assert scores[name].standard_error == pytest.approx(spread / 8_000**0.5, rel=0.1)
        assert scores[name].count == 8_000
    # Least squares on 210 entries pays for its coefficients: 1 % at 20,000 matrices.
    assert scores["linear"].value == pytest.approx(0.009568, rel=0.025)
    assert scores["exact float32 inverse"].value < 1e-13


def test_more_coefficients_never_hurt_the_fit() -> None:
    """On the matrices they are fitted on, each polynomial is at least as good as the one before."""
    A, y = matrices(1, "fit", 2_000, 5)
    scores = score_references(fit_references(A, y), A, y)
    order = ["zero", "scaled identity", "affine", "quadratic", "cubic"]
    values = [scores[name].value for name in order]
    assert values == sorted(values, reverse=True)
    assert scores["linear"].value < scores["affine"].value


def test_a_linear_world_is_predicted_exactly() -> None:
    """Where the target is a I + b A, the affine and the linear fit find it."""
    A, _ = matrices(2, "fit", 500, 4)
    y = 0.3 * np.eye(4) - 0.7 * A.astype(np.float64)
    scores = score_references(fit_references(A, y), A, y)
    for name in ("affine", "linear", "cubic"):
        assert scores[name].value < 1e-18, name
    assert scores["scaled identity"].value > 0.1
