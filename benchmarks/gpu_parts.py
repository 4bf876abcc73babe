"""What `benchmarks.gpu` measures beside whole steps: rates, data, gradients' errors, bytes."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from training.compiling import Compiler
from training.config import IREDConfig, Precision
from training.data import draw_roots, invert, matrices
from training.loss import loss_and_gradient
from training.precision import for_products, product_mode
from training.stack import Stack
from training.streams import generator
from training.weights import flatten, unflatten

PRODUCTS = {"mm", "bmm", "addmm", "baddbmm"}
Row = dict[str, Any]


def seconds(work: Callable[[], Any], device: torch.device, rounds: int = 7) -> float:
    """Return the median time of work that was done twice before."""
    work()
    work()
    times = []
    for _ in range(rounds):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def product_rate(precision: Precision, device: torch.device, size: int) -> float:
    """Return operations per second of a large square product of random numbers."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    with product_mode(precision):
        return 2 * size**3 / seconds(lambda: left @ right, device)


def copy_rate(device: torch.device, *, small: bool) -> float:
    """Return bytes per second of a large copy, read and written ones together."""
    source = torch.randn(2**22 if small else 2**28, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), device)


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes that matrix products read and write."""

    total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in PRODUCTS:
            tensors = [part for part in (*args, result) if isinstance(part, Tensor)]
            self.total += sum(part.nbytes for part in tensors)
        return result


def product_bytes(config: IREDConfig) -> int:
    """Return what the matrix products of a step of one model have to read and write.

    No step moves less through memory while each of its products is a kernel of its own, however
    well the elementwise rest is fused with them. Float32 is counted as 4 bytes under tf32, too.
    """
    setting = config.model_copy(update={"precision": "bf16" if _is_bf16(config) else "fp32"})
    stack = Stack([setting], [0], torch.device("cpu"))
    with torch.no_grad():  # under inference mode products are not seen as what they come down to
        batch = stack.batches().next()
        weights = for_products(unflatten(stack.initial_weights(), stack.layout), setting.precision)
        with _Traffic() as traffic:  # type: ignore[no-untyped-call]
            _loss(stack, weights, batch)
    return int(traffic.total)


def _is_bf16(config: IREDConfig) -> bool:
    return config.precision == "bf16"


def _loss(stack: Stack, weights: Any, batch: Any) -> Any:
    return loss_and_gradient(
        weights,
        stack.features(),
        stack.schedule(),
        batch,
        stack.config.mining,
        stack.contrastive_weight,
        stack.noise_scale,
    )[1]


@torch.inference_mode()
def gradient_error(config: IREDConfig, device: torch.device) -> float:
    """Return |ours - exact| / |exact| of the first gradient, exact being in float64."""
    exact = _gradient(config.model_copy(update={"precision": "fp64"}), device)
    ours = _gradient(config, device).double()
    return float((ours - exact).norm() / exact.norm())


def _gradient(config: IREDConfig, device: torch.device) -> Tensor:
    """The gradient on the same batch, whatever the precision: drawn and made in float32."""
    stack = Stack([config], [0], device)
    batch = Stack([config.model_copy(update={"precision": "fp32"})], [0], device).batches().next()
    numbers = {
        name: part.to(stack.dtype)
        for name, part in batch._asdict().items()
        if part is not None and part.is_floating_point()
    }
    batch = batch._replace(**numbers)
    weights = for_products(unflatten(stack.initial_weights(), stack.layout), config.precision)
    with product_mode(config.precision):
        return flatten(_loss(stack, weights, batch))


@torch.inference_mode()
def data_row(config: IREDConfig, seeds: int, device: torch.device, rounds: int) -> Row:
    """Time drawing and making the matrices of a step, and ways to invert them."""
    torch.compiler.reset()
    n, ridge = config.matrix_size, config.ridge
    source = Stack([config] * seeds, range(seeds), device).batches()
    R = draw_roots(generator(0, "data"), seeds * config.batch_size, n).to(device)
    R = R.view(seeds, config.batch_size, n, n)
    compiled = Compiler(device, pays=True)(matrices)
    A, y = (part.view(-1, n, n) for part in compiled(R, ridge, torch.float32))
    exact = torch.linalg.inv(A.double())
    work: dict[str, Callable[[], Any]] = {
        "draw": source.draw,
        "matrices": lambda: matrices(R, ridge, torch.float32),
        "matrices compiled": lambda: compiled(R, ridge, torch.float32),
        "invert": lambda: invert(A),
        "library's inv_ex": lambda: torch.linalg.inv_ex(A),
    }
    times = {name: seconds(job, device, rounds) * 1e3 / seeds for name, job in work.items()}
    return {
        "seeds": seeds,
        **{f"{name}, ms per seed": each for name, each in times.items()},
        "error of compiled inverses": float((y - exact).norm() / exact.norm()),
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
