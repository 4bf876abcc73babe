"""How alike are two sets of features of the same inputs? Linear CKA, and principal components.

Owns formulas only, on Gram matrices: entry (i, j) is the inner product of the features of inputs
i and j. Linear CKA is that of Kornblith et al. (2019), with the unbiased estimate of HSIC (Song et
al. 2012; Nguyen et al. 2021): with more features than inputs the biased one nears 1 for any two
sets. Invariant to rotation, translation and isotropic scaling of either set.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.analysis.recording import Array
from pipeline.analysis.stats import Vector

LEAST_INPUTS = 4
"""HSIC without bias needs as many."""


@dataclass(frozen=True, eq=False)
class Components:
    """The leading principal components of some inputs."""

    scores: Array
    """(inputs, components), by decreasing variance; the largest of a component is positive."""
    shares: Vector
    """Of the variance, by component."""


def gram_size(pairs: int) -> int | None:
    """Return the n of an n x n matrix with so many entries i <= j; None when there is none."""
    n = round((np.sqrt(8 * pairs + 1) - 1) / 2)
    return n if n * (n + 1) // 2 == pairs else None


def gram_matrix(packed: Array) -> Array:
    """Unpack the entries i <= j, row by row, (.., pairs), into symmetric matrices (.., n, n).

    Raises:
        ValueError: the number of pairs is not that of a square matrix.
    """
    n = gram_size(packed.shape[-1])
    if n is None:
        raise ValueError(f"{packed.shape[-1]} entries are no half of a square matrix")
    rows, columns = np.triu_indices(n)
    full = np.zeros((*packed.shape[:-1], n, n))
    full[..., rows, columns] = packed
    full[..., columns, rows] = packed
    return full


def cka_matrix(grams: Array) -> Array:
    """Return the CKA of each of m sets of features with each other, from (m, n, n) to (m, m).

    Features without any spread are like no other: 0.
    """
    centred = np.stack([_u_centred(gram) for gram in grams]).reshape(len(grams), -1)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    product: Array = np.clip(unit @ unit.T, -1.0, 1.0)
    return product


def cka(first: Array, second: Array) -> float:
    """Return the linear CKA of two Gram matrices (n, n) of the same n >= 4 inputs."""
    return float(cka_matrix(np.stack([first, second]))[0, 1])


def _u_centred(gram: Array) -> Array:
    """U-centre (Szekely & Rizzo 2014): sum(U(K) * U(L)) = n (n - 3) HSIC_1(K, L) of Song et al."""
    n = len(gram)
    # CKA knows no scale, and squares of tiny or huge entries would leave the range of a double.
    largest = float(np.abs(gram).max())
    bare = gram / largest if largest else gram.copy()
    np.fill_diagonal(bare, 0.0)
    means = bare.sum(axis=0) / (n - 2)
    centred: Array = bare - means - means[:, None] + bare.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0.0)
    return centred if np.abs(centred).max() > _noise(n) else np.zeros_like(centred)


def components(gram: Array, count: int = 2) -> Components:
    """Return the leading principal components of the inputs behind a Gram matrix (n, n).

    Scores are in units of the root of the matrix's largest entry.
    """
    values, vectors = np.linalg.eigh(_centred(gram))
    values, vectors = np.clip(values[::-1][:count], 0.0, None), vectors[:, ::-1][:, :count]
    # Signs are arbitrary, and a library's choice of them would show in the figures.
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    total = float(_centred(gram).trace())
    shares = values / total if total else np.zeros(count)
    return Components(vectors * np.sqrt(values) * np.where(largest < 0, -1, 1), shares)


def effective_dimension(gram: Array) -> float:
    """Return the participation ratio of the variances, (sum v)^2 / sum v^2: 1 to n - 1.

    0 for features without spread. Roughly the number of directions that features vary in.
    """
    centred = _centred(gram)
    # Trace and squared norm are the sums over the spectrum, at a fraction of its cost.
    squares = float((centred**2).sum())
    return float(centred.trace()) ** 2 / squares if squares else 0.0


def _centred(gram: Array) -> Array:
    """The Gram matrix of the features less their mean, scaled to entries of about 1."""
    largest = float(np.abs(gram).max())
    unit = gram / largest if largest else gram
    means = unit.mean(axis=0)
    centred: Array = unit - means - means[:, None] + unit.mean()
    return centred if np.abs(centred).max() > _noise(len(gram)) else np.zeros_like(centred)


def _noise(n: int) -> float:
    """What centring leaves of n features without spread: rounding, and no direction."""
    return 64 * float(np.finfo(np.float64).eps) * n


def aligned(scores: Array, target: Array) -> Array:
    """Rotate or reflect scores (n, k) towards a target (n, k): orthogonal Procrustes, for pictures.

    Components are told up to sign only, so two pictures of the same thing may look apart.
    """
    left, _, right = np.linalg.svd(scores.T @ target)
    turned: Array = scores @ (left @ right)
    return turned
