"""The stages of a training with their data and lengths, and the place in them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainers.errors import CheckpointError, DataError, RecipeError
from trainers.system import Pictures, Stage, System


@dataclass(frozen=True)
class Planned:
    """One stage: its data, and its length in steps."""

    stage: Stage
    pictures: Pictures
    validation: Pictures
    steps: int

    @property
    def name(self) -> str:
        return self.stage.name


@dataclass(frozen=True)
class Place:
    """How far a training is. step: steps made in all; stage_step: in this stage; position: samples drawn in it."""

    step: int = 0
    stage: int = 0
    stage_step: int = 0
    position: int = 0

    def after(self, batch: int) -> Place:
        """One step further in the same stage."""
        return Place(self.step + 1, self.stage, self.stage_step + 1, self.position + batch)

    def state(self, stages: tuple[Planned, ...]) -> dict[str, Any]:
        """As JSON; the stage by its name, with the size of its data."""
        planned = stages[self.stage]
        return {
            **dataclasses.asdict(self),
            "stage": planned.name,
            "pictures": len(planned.pictures),
        }


def planned(system: System, processes: int) -> tuple[Planned, ...]:
    """The stages with their data. Raises RecipeError or DataError."""
    stages = tuple(system.stages())
    names = [stage.name for stage in stages]
    if not stages or len(set(names)) != len(names):
        raise RecipeError(
            f"stages: got {', '.join(names) or 'none'}, expected one or more with different names"
        )
    return tuple(_planned(system, stage, processes) for stage in stages)


def _planned(system: System, stage: Stage, processes: int) -> Planned:
    if stage.batch % processes:
        raise RecipeError(
            f"stage {stage.name!r}: a batch of {stage.batch} does not divide among {processes} processes"
        )
    pictures = system.pictures("train", stage.name)
    length = len(pictures)
    if length == 0:
        raise DataError(f"stage {stage.name!r}: the data holds no picture to train on")
    steps = stage.steps or max(1, math.ceil(stage.epochs * length / stage.batch))
    return Planned(stage, pictures, system.pictures("validation", stage.name), steps)


def resumed(state: Mapping[str, Any], stages: tuple[Planned, ...]) -> Place:
    """The place that a checkpoint stands at. Raises CheckpointError where the recipe or the data does not fit it."""
    names = [planned.name for planned in stages]
    if state["stage"] not in names:
        raise CheckpointError(
            f"the checkpoint stands in stage {state['stage']!r}, the recipe has {', '.join(names)}; "
            "resume with the recipe that it was made with"
        )
    index = names.index(state["stage"])
    length = len(stages[index].pictures)
    if state["pictures"] != length:
        raise CheckpointError(
            f"the checkpoint was made with {state['pictures']} pictures in stage {state['stage']!r}, the data now has "
            f"{length}: bring the data back, or start a new training from the weights by --set run.weights=FOLDER"
        )
    return Place(int(state["step"]), index, int(state["stage_step"]), int(state["position"]))
