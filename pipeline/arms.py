"""The arms of a phase: what it trains at each of its seeds, with configs that the trainer accepts.

An arm is a condition, or in a sweep one cell of a condition.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.cells import Cell, CellError, arm_name, cell_name, grid_cells, with_cell
from pipeline.errors import PipelineError
from pipeline.study_file import ConditionsPhase, ConfirmPhase, Overrides, StudyFile, SweepPhase
from pipeline.trainer import Trainer
from pipeline.validation import input_error
from pipeline.words import one_line


@dataclass(frozen=True)
class Arm:
    """A condition, or one cell of it, resolved."""

    condition: str
    settings: BaseModel
    """Its config as the trainer's own model."""
    cell: Cell = field(default_factory=dict)
    of_reference: bool = False
    """Of the condition that the others of the phase are set against."""

    @property
    def name(self) -> str:
        """Unique in the phase."""
        return arm_name(self.condition, cell_name(self.cell))

    @property
    def config(self) -> dict[str, Any]:
        """Resolved config as JSON values, defaults included."""
        return self.settings.model_dump(mode="json")


class ArmResolver:
    """Resolves conditions and cells of one study; what is wrong is named by its key path."""

    def __init__(self, file: StudyFile, trainer: Trainer, source: str) -> None:
        self._file, self._trainer, self._source = file, trainer, source

    def condition(self, name: str) -> BaseModel:
        """The config of a condition as declared.

        Raises:
            PipelineError: the trainer's model refuses it.
        """
        return self._condition(name, {}, "")

    def phase(self, name: str) -> tuple[Arm, ...]:
        """All arms that a phase may run; a confirmation may run every cell of its sweep.

        Raises:
            PipelineError: the trainer's model refuses a config, or two arms are the same.
        """
        phase = self._file.phases[name]
        for key in ("config", "grid", "lists", "baseline_grid"):
            refuse_no_json(getattr(phase, key, None), f"{self._source}: phases.{name}.{key}")
        if isinstance(phase, ConditionsPhase):
            chosen = phase.conditions or self._file.conditions
            named = [condition for condition in self._file.conditions if condition in chosen]
            arms = [
                Arm(
                    key,
                    self._condition(key, phase.config, name),
                    of_reference=key == self._file.reference,
                )
                for key in named
            ]
        elif isinstance(phase, SweepPhase):
            arms = self._cells(name, phase, name, phase.config)
        else:
            assert isinstance(phase, ConfirmPhase)
            sweep = self._file.phases[phase.of]
            assert isinstance(sweep, SweepPhase)
            arms = self._cells(phase.of, sweep, name, phase.config)
        refuse_equal([(arm.name, arm.settings) for arm in arms], f"{self._source}: phases.{name}")
        return tuple(arms)

    def _cells(
        self, sweep_name: str, sweep: SweepPhase, name: str, overrides: Overrides
    ) -> list[Arm]:
        """The reference and its cells, then the swept condition's, under a phase's own config."""
        own = self._file.reference
        reference = Arm(own, self._condition(own, overrides, name), of_reference=True)
        swept = self._condition(sweep.condition, overrides, name)
        arms = [reference]
        places: list[tuple[Arm, Iterator[Cell], Sequence[str]]] = [
            (reference, grid_cells(sweep.baseline_grid), ("baseline_grid",)),
            (Arm(sweep.condition, swept), grid_cells(sweep.grid), ("grid",)),
            *(
                (Arm(sweep.condition, swept), iter([cell]), ("lists", str(index)))
                for index, cell in enumerate(sweep.lists)
            ),
        ]
        for base, cells, key in places:
            for cell in cells:
                settings = self._cell(base, cell, ("phases", sweep_name, *key))
                # The reference's own setting usually stands among those that it is tried in.
                if key != ("baseline_grid",) or settings != reference.settings:
                    arms.append(replace(base, settings=settings, cell=cell))
        return arms

    def _condition(self, condition: str, overrides: Overrides, phase: str) -> BaseModel:
        own = self._file.conditions[condition].config

        def table(key: str) -> Sequence[str]:
            if key in overrides:
                return ("phases", phase, "config")
            return ("conditions", condition, "config") if key in own else ("config",)

        try:
            config = {**self._file.config, **own, **overrides}
            return self._trainer.config_type.model_validate(config)
        except ValidationError as error:
            raise input_error(error, self._source, self._trainer.config_type, table) from None

    def _cell(self, base: Arm, cell: Cell, where: Sequence[str]) -> BaseModel:
        try:
            config = with_cell(base.config, cell)
            return self._trainer.config_type.model_validate_json(json.dumps(config))
        except CellError as error:
            raise PipelineError(f"{self._source}: {'.'.join(where)}.{error}") from None
        except ValidationError as error:
            kind = self._trainer.config_type
            raise input_error(error, self._source, kind, lambda _: where) from None


def refuse_no_json(value: object, where: str) -> None:
    """A config has to come back from JSON as it was: TOML also has dates, nan and infinities.

    nan equals nothing, not even itself: no run could be told by such a config.

    Raises:
        PipelineError: naming the key.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise PipelineError(f"{where} = {value}: a config holds finite numbers only")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise PipelineError(f"{where}: a whole number has 64 bits at most")
    if isinstance(value, date | time):
        raise PipelineError(f"{where} = {value}: a config holds no dates; put it in quotes")
    items = value.items() if isinstance(value, dict) else ()
    for key, item in [*items, *(enumerate(value) if isinstance(value, list) else ())]:
        refuse_no_json(item, f"{where}.{one_line(str(key))}")


def refuse_equal(configs: Iterable[tuple[str, BaseModel]], where: str) -> None:
    """Two names for one config would be a comparison of a thing with itself.

    Raises:
        PipelineError: naming both.
    """
    seen: dict[str, str] = {}
    for name, settings in configs:
        text = settings.model_dump_json()
        if text in seen:
            raise PipelineError(
                f"{where}: {seen[text]} and {name} resolve to the same config; "
                "comparing them would measure nothing: change one or remove it"
            )
        seen[text] = name
