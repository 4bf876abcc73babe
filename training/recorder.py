"""Makes the records of an instrumented stack while it trains; training does not notice."""

import time

import torch
from torch import Tensor

from training.batches import Batch
from training.config import Diagnostics
from training.instruments import (
    Procedure,
    distances,
    energies,
    fixed_solutions,
    gradients,
    mined,
    probe,
    representations,
    residuals,
)
from training.probes import draw_probes
from training.records import Records
from training.stack import MiningNumbers, Stack, State
from training.strategies import AdversarialMining, ContrastiveMining, mining_at
from training.weights import unflatten

# Probes behind a Gram matrix: with three of those, 0.3 MB of a run's file.
REPRESENTED = 128


class Recorder:
    """Measures the models of a stack when a record is due, and counts in between."""

    def __init__(self, stack: Stack, state: State, records: Records, what: Diagnostics) -> None:
        self.stack, self.state, self.records, self.what = stack, state, records, what
        self.probes = draw_probes(stack, what)
        self.features, self.schedule = stack.features(), stack.schedule()

    def start(self) -> float:
        """Record the models as they were initialised; return the seconds it took."""
        return self._record(0, last_step=0) if self.state.step == 0 else 0.0

    def after_step(self, norms: Tensor) -> float:
        """Take note of a step and its gradients' norms; return the seconds a record took."""
        config, step = self.stack.config, self.state.step
        self.records.clipped += norms > config.grad_clip
        if not self.what.due(step, config.steps):
            return 0.0
        since = (step - 1) % self.what.every + 1
        return self._record(since, last_step=step)

    def _record(self, since: int, last_step: int) -> float:
        started = time.monotonic()
        parts = [self._measure(group, max(1, last_step)) for group in self.stack.groups]
        values = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        values["clipped_share"] = self.records.clipped / max(1, since)
        self.records.clipped.zero_()
        self.records.add(values)
        seconds = time.monotonic() - started
        self.records.seconds += seconds
        return seconds

    def _measure(self, group: slice, step: int) -> dict[str, Tensor]:
        config, weights = self.stack.config, unflatten(self.state.weights[group], self.stack.layout)
        batch = self._batch(len(weights.b1))
        quirks = config.reference_quirks
        models = probe(weights, self.features, self.schedule, batch, quirks=quirks)
        procedures = self._procedures(group, step)
        norms, cosines = gradients(models, config.mining, procedures)
        found = [mined(models, procedure) for procedure in procedures]
        fixed = fixed_solutions(batch, self.schedule)
        tried = [fixed["inverse"], fixed["natural"], fixed["random"], *(f.solution for f in found)]
        n = config.matrix_size
        values = {
            "gradient_norm": norms,
            "gradient_cosine": cosines,
            "energy": torch.stack([energies(models, solution) for solution in tried], 1),
            "distance": torch.stack([distances(batch, f.solution) for f in found], 1),
            "residual": torch.stack([residuals(batch, f.solution, n) for f in found], 1),
            "reverted_share": torch.stack(
                [f.reverted for f in found if f.reverted is not None], dim=1
            ),
            "projected": torch.stack([f.solution @ self.probes.directions for f in found], 1),
        }
        if len(procedures) > 1:
            values["contrastive_weight"] = procedures[1].numbers.contrastive_weight
        if self.records.count in self.what.moments(config.steps):
            # Of the average: that is the network that is scored.
            average = unflatten(self.state.average[group], self.stack.layout)
            values["gram"] = representations(
                average, self.features, self.schedule, batch, min(REPRESENTED, self.what.probes)
            )
        return values

    def _batch(self, models: int) -> Batch:
        """Return the probes for each of several models."""
        drawn = (part for part in self.probes.batch if part is not None)  # all of them
        return Batch(*(part.expand(models, *part.shape[1:]) for part in drawn))

    def _procedures(self, group: slice, step: int) -> list[Procedure]:
        """Return the mining that all runs are probed with, and what the run itself does."""
        own = MiningNumbers(*(n[group] for n in self.stack.mining_numbers(step)))
        numbers = MiningNumbers(
            torch.ones_like(own.contrastive_weight),
            torch.full_like(own.noise_scale, self.what.noise_scale),
        )
        common = AdversarialMining(opt_steps=self.what.opt_steps, noise_scale=self.what.noise_scale)
        procedures = [Procedure(common, numbers)]
        mining = mining_at(self.stack.config.mining, step, self.stack.config.steps)
        if isinstance(mining, ContrastiveMining):
            procedures.append(Procedure(mining, own))
        return procedures
