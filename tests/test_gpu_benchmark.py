"""The parts of `benchmarks.gpu`, at a size that a CPU does in a moment."""

import pytest
import torch

from benchmarks.gpu import SMALL, config_of, step_row
from benchmarks.gpu_parts import gradient_error, product_bytes
from benchmarks.gpu_profile import kind_of, profile_row

CPU = torch.device("cpu")


def test_bytes_of_products_are_those_of_their_operands() -> None:
    """Of samples as many as there are, of weights as many as they are; half where rounded."""
    once = config_of(SMALL, "none")
    bytes_of = {
        batch: product_bytes(config_of({**SMALL, "batch_size": batch}, "none"))
        for batch in (64, 128, 192)
    }
    assert bytes_of[192] - bytes_of[128] == bytes_of[128] - bytes_of[64] > 0
    assert 0.5 < product_bytes(config_of(SMALL, "none", "bf16")) / product_bytes(once) < 0.8
    assert product_bytes(config_of(SMALL, "adversarial")) > 1.5 * product_bytes(once)


def test_a_row_holds_a_step_against_its_floor() -> None:
    """The floor is the larger of arithmetic and traffic, at the rates that were measured."""
    rates = {"TFLOP/s": {"fp32": 0.1}, "copy GB/s": 10.0}

    row = step_row(config_of(SMALL, "random"), 2, "eager", CPU, 2, rates)

    floor = max(row["floor arithmetic"], row["floor traffic"])
    assert row["times floor"] == pytest.approx(row["ms per model-step"] / floor)
    assert (row["condition"], row["stack"], row["variant"]) == ("random", 2, "eager")


def test_gradients_err_by_their_precision() -> None:
    """On the same batch, against float64."""
    errors = {p: gradient_error(config_of(SMALL, "none", p), CPU) for p in ("fp32", "bf16")}
    assert errors["fp32"] < 1e-5 < 1e-4 < errors["bf16"] < 5e-2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sm90_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize128x128x32", "products"),
        ("nvjet_hsh_192x192_64x4_2x1_v_bz_TNT", "products"),
        ("void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x128>", "products"),
        ("aten::bmm", "products"),
        ("triton_poi_fused_add_mul_silu_3", "fused"),
        ("void at::native::(anonymous namespace)::distribution_elementwise_grid_stride", "draws"),
        ("Memcpy HtoD (Pageable -> Device)", "copies"),
        ("void at::native::reduce_kernel<512, 1, at::native::ReduceOp>", "other"),
    ],
)
def test_kernels_are_told_by_their_names(name: str, kind: str) -> None:
    """Names as libraries, the compiler and PyTorch give them."""
    assert kind_of(name) == kind


@pytest.mark.filterwarnings("ignore")  # the profiler's own
def test_a_profile_accounts_for_the_time() -> None:
    """What is mostly products shows as products, and shares do not exceed the whole."""
    left = torch.randn(400, 400)

    def steps(count: int) -> None:
        for _ in range(count):
            torch.mm(left, left)

    row = profile_row(steps, CPU)

    assert row["shares"]["products"] > 0.5
    assert sum(row["shares"].values()) == pytest.approx(1, abs=0.05)
    assert "aten::mm" in row["largest"]
