"""What an instrumented stack carries from step to step: the records of each run so far."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_PREFIX = "record "


@dataclass
class Records:
    """Records of a stack's runs, and what is counted until the next."""

    clipped: Tensor  # (S,): steps since the last record whose gradient was clipped
    runs: list[dict[str, list[Tensor]]]  # of each run: by name, one float32 tensor a record
    seconds: float = 0.0  # spent on recording, all attempts together

    @classmethod
    def empty(cls, models: int, device: torch.device) -> "Records":
        """Return the records before training."""
        return cls(torch.zeros(models, device=device), [{} for _ in range(models)])

    @property
    def count(self) -> int:
        """Records so far."""
        return max((len(rows) for rows in self.runs[0].values()), default=0)

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Append a record; values are (S, ..) each, and those of other records may be others."""
        for name, tensor in values.items():
            for run, row in zip(self.runs, tensor.float().cpu(), strict=True):
                run.setdefault(name, []).append(row.clone())

    def stacked(self, index: int) -> dict[str, Tensor]:
        """Return the records of a run, (records, ..) each."""
        return {name: torch.stack(rows) for name, rows in self.runs[index].items()}

    def saved(self, index: int) -> dict[str, Tensor]:
        """Return what a checkpoint keeps of a run."""
        tensors = {"clipped": self.clipped[index].cpu().clone(), **self.stacked(index)}
        return {_PREFIX + name: tensor for name, tensor in tensors.items()}

    def restore(self, index: int, saved: Mapping[str, Tensor]) -> None:
        """Bring a run to what `saved` returned; other tensors may stand beside it."""
        tensors = {
            name.removeprefix(_PREFIX): tensor
            for name, tensor in saved.items()
            if name.startswith(_PREFIX)
        }
        self.clipped[index] = tensors.pop("clipped")
        self.runs[index] = {name: list(stacked) for name, stacked in tensors.items()}
