"""IRED's training step read plainly, as the public release computes it: what `train` is timed
against.

Float32, one model, autograd through autograd, the time network on every sample, the energy of the
inner steps evaluated anew at each, matrices made one by one in numpy. Shares nothing with
`training` but the config, and runs in a process of its own, so that it has the C library's memory
allocator as it comes, where ours is told to keep what is freed.
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from training.config import IREDConfig
from training.strategies import AdversarialMining, ContrastiveMining

Draw = tuple[Tensor, Tensor]


class Energy(nn.Module):
    """E(A, x, t) of each sample."""

    frequencies: Tensor

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(2 * features, width), nn.Linear(width, width)
        self.fc3, self.fc4 = nn.Linear(width, width), nn.Linear(width, features)
        self.time = nn.Sequential(nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 128))
        self.film2, self.film3 = nn.Linear(128, 2 * width), nn.Linear(128, 2 * width)
        frequencies = torch.exp(torch.arange(64) * (-math.log(10_000) / 63))
        self.register_buffer("frequencies", frequencies)

    def forward(self, A: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Return (B,)."""
        angles = t[:, None] * self.frequencies
        time = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        gain2, bias2 = self.film2(time).chunk(2, dim=1)
        gain3, bias3 = self.film3(time).chunk(2, dim=1)
        h = _swish(self.fc1(torch.cat([A, x], dim=1)))
        h = _swish(self.fc2(h) * (1 + gain2) + bias2)
        h = _swish(self.fc3(h) * (1 + gain3) + bias3)
        energy: Tensor = self.fc4(h).pow(2).sum(1)
        return energy

    def with_slope(self, A: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return E and dE/dx with their graph, which the public release always keeps."""
        x = x.detach().requires_grad_(True)
        energy = self(A, x, t)
        (slope,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
        return energy, slope


def _swish(z: Tensor) -> Tensor:
    return z * torch.sigmoid(z)


class PlainTrainer:
    """Trains one model."""

    def __init__(self, config: IREDConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.model = Energy(config.matrix_size**2, config.hidden_width).to(device)
        betas = (config.adam_beta1, config.adam_beta2)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), lr=config.learning_rate, betas=betas
        )
        self.average = [parameter.detach().clone() for parameter in self.model.parameters()]
        u = torch.arange(config.diffusion_steps + 1, dtype=torch.float64) / config.diffusion_steps
        f = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
        betas_t = (1 - f[1:] / f[:-1]).clamp(0, 0.999)
        bar = torch.cumprod(1 - betas_t, 0)
        self.root, self.rest = (c.float().to(device) for c in (bar.sqrt(), (1 - bar).sqrt()))
        self.length = (betas_t / (1 - bar).sqrt()).float().to(device)
        self.steps = 0

    def data(self) -> Draw:
        """Make a batch one matrix at a time, and collate it."""
        items = list(_matrices(self.config))
        A, y = (
            torch.stack([torch.from_numpy(item[i]) for item in items]).float() for i in range(2)
        )
        return A.to(self.device), y.to(self.device)

    def step(self, A: Tensor, y: Tensor) -> None:
        """Train on one batch."""
        config, model = self.config, self.model
        t = torch.randint(config.diffusion_steps, (len(y),), device=self.device)
        root, rest = self.root[t][:, None], self.rest[t][:, None]
        eps = torch.randn_like(y)
        _, estimate = model.with_slope(A, root * y + rest * eps, t)
        loss = ((estimate - eps) ** 2).mean()
        if isinstance(config.mining, ContrastiveMining):
            contrast_eps = torch.randn_like(y)
            negative = self._negative(A, y, t, contrast_eps)
            both = torch.cat([y, negative]) * root.repeat(2, 1)
            # The public release asks for gradients in every x it is given, here as well.
            noisy = (both + (rest * contrast_eps).repeat(2, 1)).requires_grad_(True)
            energies = model(A.repeat(2, 1), noisy, t.repeat(2)).view(2, -1)
            target = torch.zeros(len(y), dtype=torch.int64, device=self.device)
            contrast = nn.functional.cross_entropy(-energies.T, target)
            loss = loss + config.mining.contrastive_weight * contrast
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        self.optimiser.step()
        if self.steps % config.ema_every == 0:
            for average, parameter in zip(self.average, model.parameters(), strict=True):
                average.lerp_(parameter.detach(), 1 - config.ema_decay)
        self.steps += 1

    def _negative(self, A: Tensor, y: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        mining = self.config.mining
        if not isinstance(mining, AdversarialMining):
            return torch.randn_like(y).clamp(-2, 2)
        root, rest, length = (c[t][:, None] for c in (self.root, self.rest, self.length))
        x = root * y + rest * mining.noise_scale * eps
        for _ in range(mining.opt_steps):
            energy, slope = self.model.with_slope(A, x, t)
            new = torch.clamp(x - length * slope, -2 * root, 2 * root)
            worse = self.model(A, new, t) > energy
            x = torch.where(worse[:, None], x, new).detach()
        return (x / root).clamp(-2, 2)


class Plain:
    """A `PlainTrainer` in another process, which times what it is asked to do."""

    def __init__(self, config: IREDConfig, device: torch.device) -> None:
        command = [sys.executable, "-m", "benchmarks.plain", config.model_dump_json(), device.type]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def seconds(self, job: str, repeats: int) -> float:
        """Do a job ("step" or "data") that often and return seconds per repeat."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(job, repeats, file=self._process.stdin, flush=True)
        return float(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _serve() -> None:
    """Answer lines "<job> <repeats>" on standard input with seconds per repeat."""
    device = torch.device(sys.argv[2])
    trainer = PlainTrainer(IREDConfig.model_validate_json(sys.argv[1]), device)
    batch = trainer.data()
    jobs = {"step": lambda: trainer.step(*batch), "data": trainer.data}
    for line in sys.stdin:
        job, repeats = line.split()
        _wait(device)
        started = time.perf_counter()
        for _ in range(int(repeats)):
            jobs[job]()
        _wait(device)
        print(json.dumps((time.perf_counter() - started) / int(repeats)), flush=True)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _matrices(config: IREDConfig) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    n = config.matrix_size
    for _ in range(config.batch_size):
        R = np.random.uniform(-1, 1, (n, n))
        product = R.dot(R.T)
        A = product + product.T + config.ridge * np.eye(n)
        yield A.flatten(), np.linalg.inv(A).flatten()


if __name__ == "__main__":
    _serve()
