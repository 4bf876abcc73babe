"""Settings for all tests of training."""

from collections.abc import Iterator

import pytest
import torch

from training import evaluate


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """One thread per test process: `pytest -n auto` has filled the cores already."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _small_reference_fit() -> Iterator[None]:
    """Fit the reference predictors to fewer matrices: ample for tests, a second less for each."""
    before, evaluate.REFERENCE_FIT = evaluate.REFERENCE_FIT, 4096
    yield
    evaluate.REFERENCE_FIT = before
