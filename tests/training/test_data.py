"""The matrices: their distribution, their inverses, and the held-out sets."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import NO_GPU
from tests.training.helpers import needs_gpu
from training.data import HELD_OUT, TRITON, draw_roots, held_out_set, invert, matrices
from training.streams import generator


@pytest.mark.parametrize("size", [1, 2, 6, 20])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_inverses_are_inverses(size: int, dtype: torch.dtype, tolerance: float) -> None:
    """A y = I to the precision of the arithmetic, for more matrices than fit in a block."""
    A, y = matrices(draw_roots(generator(0, "data"), 700, size), 0.5, dtype)
    A, y = A.double().view(-1, size, size), y.double().view(-1, size, size)
    assert (y - torch.linalg.inv(A)).abs().max() < tolerance


INTERPRETED = """
import torch
from training.data import draw_roots, matrices
from training.gpu_inverse import invert_by_warps
from training.streams import generator
for n in (2, 3, 20, 33):
    A, y = matrices(draw_roots(generator(0, "data"), 40, n), 0.1, torch.float32)
    A, y = A.view(-1, n, n), y.view(-1, n, n)
    exact = torch.linalg.inv(A.double())
    ours, theirs = ((part.double() - exact).norm() for part in (invert_by_warps(A), y))
    assert theirs < 1e-5 * exact.norm()
    assert ours < 2 * theirs, n
"""


@pytest.mark.slow
@pytest.mark.skipif(not TRITON, reason=f"{NO_GPU}, and no triton to interpret one")
def test_what_a_gpu_inverts_with_is_as_exact() -> None:
    """Triton's interpreter runs the kernel: it errs no more against float64 than the CPU's way."""
    place = {**os.environ, "TRITON_INTERPRET": "1"}  # read when a kernel is defined
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", INTERPRETED], cwd=root, env=place, check=True)


@needs_gpu
def test_matrices_on_a_gpu_are_as_exact() -> None:
    """Compiled or not, inverses of 20x20 matrices err like float32's."""
    R = draw_roots(generator(0, "data"), 2048, 20).cuda()
    for make in (matrices, torch.compile(matrices, fullgraph=True, dynamic=False)):
        A, y = (part.double().view(-1, 20, 20) for part in make(R, 0.5, torch.float32))
        exact = torch.linalg.inv(A)
        assert (y - exact).norm() < 1e-5 * exact.norm()


def test_matrices_follow_the_definition() -> None:
    """A = 2 R R^T + ridge I: symmetric, no eigenvalue below the ridge, the moments of R."""
    n, ridge = 5, 0.25
    A, _ = matrices(draw_roots(generator(1, "data"), 20_000, n), ridge, torch.float64)
    A = A.view(-1, n, n)
    assert torch.equal(A, A.mT)
    assert float(torch.linalg.eigvalsh(A).min()) >= ridge - 1e-12
    # Var R = 1/3, so E A_ii = 2n/3 + ridge; off the diagonal E A_ij = 0, Var A_ij = 4n/9.
    diagonal = A.diagonal(dim1=1, dim2=2)
    assert float(diagonal.mean()) == pytest.approx(2 * n / 3 + ridge, abs=0.02)
    assert float(A[:, 0, 1].mean()) == pytest.approx(0, abs=0.05)
    assert float(A[:, 0, 1].var()) == pytest.approx(4 * n / 9, rel=0.05)


def test_a_draw_is_exact_whatever_the_machine() -> None:
    """R R^T has no rounding in float64, so its bits cannot depend on a BLAS library's order."""
    R = draw_roots(generator(2, "data"), 50, 20).double()
    A, _ = matrices(R, 0.5, torch.float64)
    by_hand = torch.zeros(50, 20, 20, dtype=torch.float64)
    for k in reversed(range(20)):
        by_hand += R[:, :, None, k] * R[:, None, :, k]
    assert torch.equal(A.view(50, 20, 20), 2 * by_hand + 0.5 * torch.eye(20, dtype=torch.float64))


def test_an_inverse_does_not_depend_on_its_batch() -> None:
    """One matrix inverted alone has the bits it has among others."""
    A, y = matrices(draw_roots(generator(3, "data"), 600, 4), 0.5, torch.float32)
    alone = invert(A[517:518].view(1, 4, 4)).flatten()
    assert torch.equal(alone, y[517])


def test_held_out_sets_never_change() -> None:
    """Results of different days and machines are scored on the same bits: the digest is pinned.

    If this fails, every published score of a study with this held_out_seed means something else.
    """
    sets = {
        name: held_out_set(20_240_701, name, 300, 6, 0.1 if name == "harder" else 0.5).digest[:16]
        for name in HELD_OUT
    }
    assert sets == {
        "validation": "b4579ca1032f4e32",
        "test": "023ddcf8ce3f0b2a",
        "harder": "e842d3039bb6f313",
    }


def test_a_smaller_held_out_set_is_the_beginning_of_a_larger_one() -> None:
    """The curve's subset is part of the validation set it stands for."""
    small = held_out_set(1, "validation", 10, 3, 0.5)
    large = held_out_set(1, "validation", 1500, 3, 0.5)
    assert torch.equal(small.A, large.A[:10])
    assert torch.equal(small.y, large.y[:10])
    assert small.A.dtype == torch.float32
    assert large.A.shape == (1500, 9)


def test_held_out_sets_share_no_matrix() -> None:
    """Validation, test and the references' fit are different draws."""
    first = [held_out_set(1, name, 4, 3, 0.5).A.numpy() for name in HELD_OUT]
    first.append(held_out_set(1, "reference fit", 4, 3, 0.5).A.numpy())
    assert len(np.unique(np.concatenate(first), axis=0)) == 16
