"""Matrices to invert: the distribution, its exact inverses, and the fixed held-out sets.

A = 2 R R^T + ridge I with R uniform on (-1, 1)^(n x n); the target is y = A^-1; both are used
flattened, D = n^2 numbers each.
"""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from training.streams import Purpose, generator

HeldOutName = Literal["validation", "test", "harder"]
HELD_OUT: tuple[HeldOutName, ...] = ("validation", "test", "harder")

# Matrices drawn at a time where many are needed. Part of the definition of the held-out sets: the
# stream is read in blocks of this size, so a smaller set is the beginning of a larger one.
BLOCK = 1024

# Comes with PyTorch wherever it has CUDA, but for Windows.
TRITON = find_spec("triton") is not None


def draw_roots(stream: torch.Generator, count: int, size: int) -> Tensor:
    """Draw R ~ U(-1, 1), (count, n, n) float32, on the stream's device."""
    shape = (count, size, size)
    uniform = torch.rand(shape, generator=stream, dtype=torch.float32, device=stream.device)
    return 2 * uniform - 1


def matrices(R: Tensor, ridge: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return A and y, each (..., D), of R (..., n, n).

    A matrix's bits depend on nothing else that is computed. In float64 on the CPU, of which the
    held-out sets are made, they do not even depend on the machine: draws are multiples of 2^-23,
    so every sum in R R^T is exact whatever its order, and the inverse is made of elementwise
    operations. In float32, y may differ in its last bits between kinds of processor, as all
    training does.
    """
    R = R.double()
    A = 2 * (R @ R.mT) + ridge * torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)
    A = A.to(dtype)
    y = invert(A.flatten(0, -3)).view_as(A)
    return A.flatten(-2), y.flatten(-2)


def invert(A: Tensor) -> Tensor:
    """Invert symmetric positive definite matrices (count, n, n); anything else gives garbage.

    Nothing is checked: a check would make the host wait for a GPU in every training step, and
    A has no eigenvalue below its ridge. No library is asked either: those that a GPU has wait for
    it, or take the matrices one by one.
    """
    if A.device.type == "cuda":
        if TRITON and A.dtype == torch.float32:
            from training.gpu_inverse import invert_by_warps

            return invert_by_warps(A)
        return _by_batch(A)
    # Blocks that stay in the cache of a core or two: a large batch at once is half as fast.
    block = max(1, 2**19 // A[0].numel())
    return torch.cat([_by_batch(part) for part in torch.split(A, block)])


def _by_batch(A: Tensor) -> Tensor:
    """Invert (count, n, n), laid out as (n, n, count): every operation runs along the batch.

    A copy even where A has the layout already, as a single matrix does.
    """
    M = A.permute(1, 2, 0).clone(memory_format=torch.contiguous_format)
    _gauss_jordan(M)
    return M.permute(2, 0, 1)


def _gauss_jordan(M: Tensor) -> None:
    """Invert (n, n, count) in place; pivots need no search when matrices are definite."""
    for k in range(len(M)):
        pivot = M[k, k].reciprocal()  # (count,)
        row = M[k] * pivot  # (n, count)
        column = M[:, k].clone()  # (n, count)
        if M.dtype == torch.float64:
            # Two roundings, never one fused: that keeps the bits equal on every machine.
            M.sub_(column[:, None] * row)
        else:
            M.addcmul_(column[:, None], row, value=-1)
        M[k] = row
        M[:, k] = -column * pivot
        M[k, k] = pivot


@dataclass(frozen=True)
class HeldOutSet:
    """Matrices that no run trains on: A and y as (count, D) float32, and their SHA-256."""

    A: Tensor
    y: Tensor
    digest: str


def held_out_set(
    seed: int,
    name: HeldOutName | Literal["reference fit", "probes"],
    count: int,
    size: int,
    ridge: float,
) -> HeldOutSet:
    """Draw the set `name` of a study on the CPU.

    The inverses are computed in float64; the digest is over the bytes of A, then of y.
    """
    purpose: Purpose = name
    stream = generator(seed, purpose)
    A, y = torch.empty(count, size**2), torch.empty(count, size**2)
    for a, b in zip(torch.split(A, BLOCK), torch.split(y, BLOCK), strict=True):
        roots = draw_roots(stream, BLOCK, size)[: len(a)]
        exact_a, exact_b = matrices(roots, ridge, torch.float64)
        a.copy_(exact_a)
        b.copy_(exact_b)
    digest = hashlib.sha256(A.numpy().data)
    digest.update(y.numpy().data)
    return HeldOutSet(A, y, digest.hexdigest())
