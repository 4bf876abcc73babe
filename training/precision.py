"""What is rounded in training, by the setting `precision`.

fp32, fp64: everything is computed and kept in that type.
tf32: matrix products on the GPU round their inputs to 10 bits of mantissa; the rest is float32.
bf16: the products with hidden layers round their inputs and results to bfloat16; sums inside a
product, activations, losses, gradients' sums, moments, averages and the weights that are updated
stay float32.

Scores and curves are computed in float32 under tf32 and bf16: what training in less precision
costs is then seen in the weights alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from training.config import Precision
from training.weights import Weights

# The matrices whose products make up the arithmetic; the time network is evaluated on T rows only.
LARGE = ("W1A", "W1x", "W2", "W3", "W4")


def check_device(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that the device does not have.

    Raises:
        ValueError: tf32 where there is no such arithmetic. Elsewhere it would be float32 under
            another name, and a study that compares the two would compare nothing.
    """
    if precision != "tf32":
        return
    if device.type != "cuda":
        raise ValueError(
            'precision = "tf32" needs an NVIDIA GPU, and this process has none; '
            'use "fp32", which is what a CPU would compute'
        )
    if torch.cuda.get_device_capability(device) < (8, 0):
        raise ValueError(
            f'precision = "tf32" needs compute capability 8.0, and '
            f'{torch.cuda.get_device_name(device)} is older; use "fp32"'
        )


def storage_type(precision: Precision) -> torch.dtype:
    """Return the type of weights, moments, activations and sums."""
    return torch.float64 if precision == "fp64" else torch.float32


def for_products(weights: Weights, precision: Precision) -> Weights:
    """Return the weights with those that `energy.product` multiplies by in their rounded type."""
    if precision != "bf16":
        return weights
    return weights._replace(**{name: getattr(weights, name).bfloat16() for name in LARGE})


@contextmanager
def product_mode(precision: Precision) -> Iterator[None]:
    """Let float32 products on a GPU use TF32 inside, where `precision` says so."""
    if precision != "tf32":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
