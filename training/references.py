"""Trivial predictors of an inverse, in numpy: what a model has to beat before it has learned.

Each is fitted by least squares on one draw and scored on others; none has seen those. The entry
mean of squared errors is the metric, as for the models.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.outcome import Measurement, measure

Matrices = NDArray[np.floating[Any]]  # (count, n, n)
Predictor = Callable[[Matrices], NDArray[np.float64]]

# (count, n, n) in float64 at a time: bounds the memory of powers and features.
BLOCK = 8192

POLYNOMIALS = {"scaled identity": 0, "affine": 1, "quadratic": 2, "cubic": 3}


def fit_references(A: Matrices, y: Matrices) -> dict[str, Predictor]:
    """Fit every predictor to matrices A and inverses y, both (count, n, n).

    "scaled identity" is a I, "affine" a I + b A, and so on; "linear" is least squares on the
    entries with an intercept; "exact float32 inverse" is what rounding alone costs.
    """
    predictors: dict[str, Predictor] = {"zero": _zero}
    for name, degree in POLYNOMIALS.items():
        predictors[name] = _fit_polynomial(A, y, degree)
    predictors["linear"] = _fit_linear(A, y)
    predictors["exact float32 inverse"] = _exact_inverse
    return predictors


def score_references(
    predictors: Mapping[str, Predictor], A: Matrices, y: Matrices
) -> dict[str, Measurement]:
    """Measure the mean squared error of each predictor on A and y, both (count, n, n)."""
    return {
        name: measure(
            np.concatenate(
                [
                    np.square(predictor(a) - b, dtype=np.float64).mean((1, 2))
                    for a, b in _blocks(A, y)
                ]
            )
        )
        for name, predictor in predictors.items()
    }


def _blocks(*arrays: Matrices) -> list[tuple[Matrices, ...]]:
    starts = range(0, len(arrays[0]), BLOCK)
    return [tuple(array[start : start + BLOCK] for array in arrays) for start in starts]


def _zero(A: Matrices) -> NDArray[np.float64]:
    return np.zeros(A.shape)


def _exact_inverse(A: Matrices) -> NDArray[np.float64]:
    return np.linalg.inv(A.astype(np.float32)).astype(np.float64)


def _powers(A: Matrices, scale: float, degree: int) -> NDArray[np.float64]:
    """Return I, A / scale, .., (A / scale)^degree as (degree + 1, count, n, n)."""
    A = A.astype(np.float64) / scale
    powers = [np.broadcast_to(np.eye(A.shape[-1]), A.shape)]
    for _ in range(degree):
        powers.append(powers[-1] @ A)
    return np.stack(powers)


def _fit_polynomial(A: Matrices, y: Matrices, degree: int) -> Predictor:
    # The entries of A grow with n, so powers are scaled before they are compared with each other.
    scale = float(np.abs(A).max())
    gram = np.zeros((degree + 1, degree + 1))
    moment = np.zeros(degree + 1)
    for a, b in _blocks(A, y):
        powers = _powers(a, scale, degree).reshape(degree + 1, -1)
        gram += powers @ powers.T
        moment += powers @ b.astype(np.float64).ravel()
    coefficients = np.linalg.solve(gram, moment)

    def predict(A: Matrices) -> NDArray[np.float64]:
        return np.tensordot(coefficients, _powers(A, scale, degree), axes=1)

    return predict


def _features(A: Matrices) -> NDArray[np.float64]:
    """Return an intercept and the entries on and above the diagonal; A is symmetric."""
    rows, columns = np.triu_indices(A.shape[-1])
    entries = A[:, rows, columns].astype(np.float64)
    return np.concatenate([np.ones((len(A), 1)), entries], axis=1)


def _fit_linear(A: Matrices, y: Matrices) -> Predictor:
    n = A.shape[-1]
    width = 1 + n * (n + 1) // 2
    gram = np.zeros((width, width))
    moment = np.zeros((width, n * n))
    for a, b in _blocks(A, y):
        features = _features(a)
        gram += features.T @ features
        moment += features.T @ b.astype(np.float64).reshape(len(b), -1)
    # lstsq rather than solve: a draw smaller than the number of entries is still an answer.
    coefficients = np.linalg.lstsq(gram, moment, rcond=None)[0]

    def predict(A: Matrices) -> NDArray[np.float64]:
        return (_features(A) @ coefficients).reshape(A.shape)

    return predict
