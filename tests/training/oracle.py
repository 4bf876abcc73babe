"""The definitions of IRED read plainly: one model, float64, autograd through autograd.

Written from the paper and the public release's behaviour, sharing no code with `training` except
the names of the parameters. Slow on purpose: nothing is reused, cached or written out by hand.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

Parameters = dict[str, Tensor]


def swish(z: Tensor) -> Tensor:
    """The activation."""
    return z * torch.sigmoid(z)


def time_features(t: Tensor) -> Tensor:
    """Sinusoidal embedding of t, (B, 128)."""
    frequencies = torch.tensor([10_000 ** (-i / 63) for i in range(64)], dtype=torch.float64)
    angles = t.double()[:, None] * frequencies
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


def hidden(p: Parameters, A: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features of the hidden layers, (B, h) each."""
    time = torch.nn.functional.gelu(time_features(t) @ p["T1"].T + p["t1"]) @ p["T2"].T + p["t2"]
    gain2, bias2 = (time @ p["F2"].T + p["f2"]).chunk(2, dim=1)
    gain3, bias3 = (time @ p["F3"].T + p["f3"]).chunk(2, dim=1)
    first = torch.cat([p["W1A"], p["W1x"]], dim=1)
    h1 = swish(torch.cat([A, x], dim=1) @ first.T + p["b1"])
    h2 = swish((h1 @ p["W2"].T + p["b2"]) * (1 + gain2) + bias2)
    return h1, h2, swish((h2 @ p["W3"].T + p["b3"]) * (1 + gain3) + bias3)


def energy(p: Parameters, A: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """E(A, x, t) of each sample, (B,)."""
    return ((hidden(p, A, x, t)[2] @ p["W4"].T + p["b4"]) ** 2).sum(1)


def energy_gradient(p: Parameters, A: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """dE/dx, (B, D), differentiable in the parameters."""
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(energy(p, A, x, t).sum(), x, create_graph=True)
    return gradient


def alpha_bars(steps: int) -> list[float]:
    """Share of signal variance at each t, by the clipped cosine schedule."""

    def f(u: float) -> float:
        return math.cos((u / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    product, values = 1.0, []
    for t in range(steps):
        beta = min(max(1 - f(t + 1) / f(t), 0), 0.999)
        product *= 1 - beta
        values.append(product)
    return values


@dataclass
class Schedule:
    """Columns by t, (T,) each."""

    root: Tensor
    root_rest: Tensor
    per_root: Tensor
    noise_per_root: Tensor
    step: Tensor


def schedule(steps: int, *, quirks: bool) -> Schedule:
    """Constants by t, passed through float32 under the quirks."""
    bars = alpha_bars(steps)
    betas = [1 - bar / before for bar, before in zip(bars, [1.0, *bars[:-1]], strict=True)]
    columns = [
        [math.sqrt(bar) for bar in bars],
        [math.sqrt(1 - bar) for bar in bars],
        [math.sqrt(1 / bar) for bar in bars],
        [math.sqrt(1 / bar - 1) for bar in bars],
        [beta * math.sqrt(1 / (1 - bar)) for beta, bar in zip(betas, bars, strict=True)],
    ]
    stored = torch.float32 if quirks else torch.float64
    return Schedule(*(torch.tensor(c, dtype=torch.float64).to(stored).double() for c in columns))


def inner_steps(
    p: Parameters, s: Schedule, A: Tensor, x: Tensor, t: Tensor, count: int, *, quirks: bool
) -> tuple[Tensor, float]:
    """Return where the inner steps end and the share of them that was reverted."""
    reverted = 0.0
    for i in range(count):
        before = energy(p, A, x, t).detach()
        gradient = energy_gradient(p, A, x, t).detach()
        factor = 2.0 if quirks and i > 0 else 1.0
        new = x - factor * s.step[t][:, None] * gradient
        for b in range(len(x)):
            limit = 2 * s.root[t[0] if quirks else t[b]]
            new[b] = torch.clamp(new[b], -limit, limit)
        after = energy(p, A, new, t).detach()
        for b in range(len(x)):
            if after[b] > before[b]:
                new[b] = x[b]
                reverted += 1 / len(x) / count
        x = new
    return x, reverted


@dataclass
class Draws:
    """One batch of one model: A, y, eps.. (B, D), t (B,)."""

    A: Tensor
    y: Tensor
    t: Tensor
    eps: Tensor
    contrast_eps: Tensor
    negatives: Tensor  # (M B, D), M for each sample


@dataclass
class Setting:
    """What a condition is."""

    strategy: str
    contrastive_weight: float = 0.5
    opt_steps: int = 2
    noise_scale: float = 3.0
    fraction: float = 1.0
    filler: str = "none"
    ramp: str = ""
    start: float = 0.0
    ramp_share: float = 1.0
    candidates: int = 8
    kept: int = 1
    source: str = "natural"
    kept_share: float = 0.5
    diffusion_steps: int = 10
    quirks: bool = False

    def at(self, step: int, steps: int) -> "Setting":
        """What a curriculum is in a step: adversarial mining that is not yet hard."""
        if self.strategy != "curriculum":
            return self
        done = min((step - 1) / (steps * self.ramp_share), 1)
        target = getattr(self, self.ramp)
        value = self.start + done * (target - self.start)
        if self.ramp == "opt_steps":
            value = math.floor(value) if target > self.start else math.ceil(value)
        return dataclasses.replace(self, strategy="adversarial", **{self.ramp: value})


@dataclass
class Losses:
    """Losses of a batch, and the share of inner steps that was reverted."""

    total: Tensor
    denoising: Tensor
    contrastive: Tensor | None
    reverted: float


def losses(p: Parameters, draws: Draws, setting: Setting) -> Losses:
    """The losses of a batch, differentiable in the parameters."""
    s = schedule(setting.diffusion_steps, quirks=setting.quirks)
    A, y, t = draws.A, draws.y, draws.t
    root, rest = s.root[t][:, None], s.root_rest[t][:, None]
    estimate = energy_gradient(p, A, root * y + rest * draws.eps, t)
    errors = ((estimate - draws.eps) ** 2).mean(1)
    denoising = errors.mean()
    if setting.strategy == "none":
        return Losses(denoising, denoising, None, 0.0)
    if setting.strategy == "ohem":
        hardest = errors.detach().argsort(descending=True)
        kept = hardest[: round(setting.kept_share * len(y))]
        return Losses(errors[kept].mean(), denoising, None, 0.0)
    found, reverted = negatives(p, s, draws, setting)
    pairs = [(b, negative) for b in range(len(y)) for negative in found[b]]
    of = torch.tensor([b for b, _ in pairs])
    noise = rest[of] * draws.contrast_eps[of]
    positive, negative = root[of] * y[of], root[of] * torch.stack([x for _, x in pairs])
    energy_positive = energy(p, A[of], positive + noise, t[of])
    energy_negative = energy(p, A[of], negative + noise, t[of])
    energies = torch.stack([-energy_positive, -energy_negative], dim=1)
    target = torch.zeros(len(pairs), dtype=torch.int64)
    each = torch.nn.functional.cross_entropy(energies, target, reduction="none")
    shares = torch.tensor([1 / len(found[b]) / len(y) for b, _ in pairs], dtype=torch.float64)
    contrastive = (shares * each).sum()
    total = denoising + setting.contrastive_weight * contrastive
    return Losses(total, denoising, contrastive, reverted)


def negatives(
    p: Parameters, s: Schedule, draws: Draws, setting: Setting
) -> tuple[list[list[Tensor]], float]:
    """Return the negatives of each sample, and the share of their inner steps that was reverted."""
    A, y, t, eps = draws.A, draws.y, draws.t, draws.contrast_eps
    size = len(y)
    root, rest = s.root[t][:, None], s.root_rest[t][:, None]
    drawn = draws.negatives.clamp(-2, 2)
    if setting.strategy == "random":
        return [[drawn[b]] for b in range(size)], 0.0
    if setting.strategy == "hardest_n":
        found = []
        for b in range(size):
            numbers = range(setting.candidates)
            if setting.source == "natural":
                candidates = [y[(b + 1 + m) % size] for m in numbers]
            else:
                candidates = [drawn[m * size + b] for m in numbers]
            noisy = torch.stack([root[b] * c + rest[b] * eps[b] for c in candidates])
            energies = energy(p, A[b].expand_as(noisy), noisy, t[b].expand(len(noisy)))
            order = sorted(numbers, key=energies.tolist().__getitem__)
            found.append([candidates[m] for m in order[: setting.kept]])
        return found, 0.0
    mined = round(setting.fraction * size)
    begin = (root * y + rest * setting.noise_scale * eps)[:mined]
    end, reverted = inner_steps(
        p, s, A[:mined], begin, t[:mined], setting.opt_steps, quirks=setting.quirks
    )
    result = [[row] for row in (s.per_root[t[:mined]][:, None] * end).clamp(-2, 2)]
    for b in range(mined, size):
        filler = {"none": [], "natural": [y[(b + 1) % size]], "random": [drawn[b]]}
        result.append(filler[setting.filler])
    return result, reverted


def sample(
    p: Parameters, A: Tensor, start: Tensor, steps: int, inner: int, *, quirks: bool
) -> Tensor:
    """Run the sampler from start, (B, D)."""
    s = schedule(steps, quirks=quirks)
    x = start
    for level in reversed(range(steps)):
        t = torch.full((len(A),), level)
        eps = energy_gradient(p, A, x, t).detach()
        solution = (s.per_root[level] * x - s.noise_per_root[level] * eps).clamp(-2, 2)
        x, _ = inner_steps(p, s, A, s.root[level] * solution, t, inner, quirks=quirks)
        x = x.clamp(-2 * s.root[level], 2 * s.root[level])
        if level > 0:
            x = s.root[level - 1] * s.per_root[level] * x
    return x if quirks else s.per_root[0] * x


def rate_schedule(
    optimiser: Optimizer,
    *,
    steps: int,
    shape: str,
    warmup_steps: int = 0,
    floor_share: float = 0.0,
) -> LRScheduler:
    """Compose torch's own schedulers for a training of `steps` steps, to be stepped after each."""
    peak, left = optimiser.param_groups[0]["lr"], steps - warmup_steps
    decay: LRScheduler
    if shape == "cosine":
        decay = CosineAnnealingLR(optimiser, left, eta_min=floor_share * peak)
    else:
        end = 1.0 if shape == "constant" else floor_share
        decay = LinearLR(optimiser, start_factor=1.0, end_factor=end, total_iters=left)
    if warmup_steps == 0:
        return decay
    warmup = LinearLR(optimiser, start_factor=1 / (warmup_steps + 1), total_iters=warmup_steps)
    return SequentialLR(optimiser, [warmup, decay], milestones=[warmup_steps])


class Trainer:
    """The training of one model with torch's own optimiser and clipping."""

    def __init__(
        self,
        parameters: Parameters,
        *,
        learning_rate: float,
        betas: tuple[float, float],
        grad_clip: float,
        ema_decay: float,
        ema_every: int,
        ema_warmup: int,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
    ) -> None:
        self.p = {name: value.clone().requires_grad_(True) for name, value in parameters.items()}
        self.average = {name: value.clone() for name, value in parameters.items()}
        self.optimiser = torch.optim.Adam(self.p.values(), lr=learning_rate, betas=betas)
        self.schedule = schedule(self.optimiser) if schedule else None
        self.grad_clip, self.ema_decay = grad_clip, ema_decay
        self.ema_every, self.ema_warmup = ema_every, ema_warmup
        self.calls = 0

    def step(self, draws: Draws, setting: Setting) -> Losses:
        """Train on one batch."""
        result = losses(self.p, draws, setting)
        self.optimiser.zero_grad()
        result.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.p.values(), self.grad_clip)
        self.optimiser.step()
        if self.schedule:
            self.schedule.step()
        self._update_average()
        return result

    def _update_average(self) -> None:
        call, self.calls = self.calls, self.calls + 1
        if call % self.ema_every:
            return
        decay = 0.0
        if call > self.ema_warmup:
            decay = min(self.ema_decay, 1 - (1 + call - self.ema_warmup) ** (-2 / 3))
        for name, value in self.p.items():
            self.average[name] = decay * self.average[name] + (1 - decay) * value.detach()
