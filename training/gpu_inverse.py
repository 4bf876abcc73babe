"""Inverses of many small matrices on a GPU, each by one warp that keeps it in registers.

Written for Triton, because what torch.compile makes of an elimination goes through memory with
every few pivots: some 80 kernels for 20x20 matrices, as many as it makes of the rest of a step.
This is one, and moves a matrix in and its inverse out.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit  # type: ignore[untyped-decorator]
def _gauss_jordan(A, Y, n: tl.constexpr, P: tl.constexpr):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    # i, j: rows and columns, padded to P = 2^m; what lies beyond n stays 0 and is not written.
    i, j = tl.arange(0, P)[:, None], tl.arange(0, P)[None, :]
    inside = (i < n) & (j < n)
    place = tl.program_id(0).to(tl.int64) * n * n + i * n + j
    M = tl.load(A + place, mask=inside, other=0.0)
    for k in range(n):
        row = tl.sum(tl.where(i == k, M, 0.0), axis=0)[None, :]
        column = tl.sum(tl.where(j == k, M, 0.0), axis=1)[:, None]
        pivot = 1.0 / tl.sum(tl.where(j == k, row, 0.0))
        # One product for all of a step: row, column and pivot themselves come out of it, too.
        row = tl.where(j == k, pivot, row * pivot)
        column = tl.where(i == k, -1.0, column)
        M = tl.where((i == k) | (j == k), 0.0, M) - column * row
    tl.store(Y + place, M, mask=inside)


def invert_by_warps(A: Tensor) -> Tensor:
    """Invert symmetric positive definite float32 matrices (count, n, n), n up to 64."""
    A = A.contiguous()
    Y = torch.empty_like(A)
    n = A.shape[-1]
    _gauss_jordan[(len(A),)](A, Y, n, triton.next_power_of_2(n), num_warps=1 if n <= 32 else 4)
    return Y
