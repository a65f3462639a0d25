"""The training loop, the same for every system.

Each step: the learning rates, a batch, the random numbers, the system's own step, the guards, the averages; then
what is due: a row of scalars, a validation, a sheet of samples, a checkpoint. All that a step depends on is in the
checkpoint or follows from the recipe and the step's number: so a resumed training equals an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainers import checkpoint
from trainers.alone import Alone
from trainers.average import Averages
from trainers.checkpoint import AVERAGED, Checkpoint, Training
from trainers.config import Recipe, differences, to_toml
from trainers.devices import Devices
from trainers.errors import DivergedError, RecipeError, StorageError, TrainerError
from trainers.guard import check_scalars, check_weights
from trainers.keep import Keeper
from trainers.looks import Looks
from trainers.moments import Names
from trainers.order import Batches, Order, checked, loader, seed_of
from trainers.plan import Place, Planned, planned, resumed
from trainers.progress import Progress
from trainers.records import Records
from trainers.scalars import Window
from trainers.stopping import Stopping
from trainers.system import Adjusted, Stop, System, Turn
from trainers.systems import find_system

Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Outcome:
    """How a training ended. interrupted: the signal's name, or empty where all `steps` were made."""

    step: int
    steps: int
    checkpoint: Path | None
    interrupted: str = ""


def train(recipe: Recipe, out: Path, *, resume: bool = False, tell: Told | None = None) -> Outcome:
    """Train into the folder `out` until the recipe's stages are done, or a signal asks to stop.

    resume: go on from the latest checkpoint in `out`, or begin where there is none. tell: told of every step, how many
    are made of how many at most, in the place of the bar. Raises TrainerError: bad data or recipe before anything is
    written, DivergedError where a guard stops it, StorageError where the end cannot be kept.
    """
    latest = out / "latest.json"
    if latest.exists() and not resume:
        raise RecipeError(f"{out}: holds a training already; add --resume to go on, or name another folder")
    devices = Devices(recipe.run)
    try:
        with closing(Loop(recipe, out, devices, tell)) as loop:
            loop.begin(checkpoint.read(out) if latest.exists() else None)
            with Stopping() as stopping:
                return loop.run(stopping)
    except torch.OutOfMemoryError as error:
        raise TrainerError("the GPU's memory is full: take smaller batches by --set") from error
    except RuntimeError as error:
        if "allocate memory" in str(error):
            raise TrainerError("there is not enough memory: take smaller batches by --set") from error
        if "DataLoader worker" not in str(error):
            raise
        raise TrainerError(f"a process that reads pictures was ended from outside ({error})") from error
    finally:
        devices.close()


class Loop:
    """One training: see `train`."""

    def __init__(self, recipe: Recipe, out: Path, devices: Devices, tell: Told | None = None) -> None:
        self.recipe, self.out, self.devices, self._told = recipe, out, devices, tell
        self.options = recipe.run
        torch.manual_seed(seed_of(self.options.seed, "weights"))
        self.system: System = find_system(recipe.system)(recipe.options)
        for module in (*self.system.networks.values(), *self.system.frozen()):
            module.to(devices.device)
        self.stages = planned(self.system, devices.processes)
        self.steps = sum(stage.steps for stage in self.stages)
        self.optimisers = dict(self.system.optimisers())
        self.rates = {
            name: [float(group["lr"]) for group in optimiser.param_groups]
            for name, optimiser in self.optimisers.items()
        }
        self.names = Names(self.system.networks, self.optimisers)
        self.averages = Averages(self.system.networks, self.system.averages())
        self.generator = torch.Generator(device=devices.device)
        self.place = Place()
        self.window = Window()
        self.seconds = 0.0
        self._looks = Looks(self.system, self.averages, self.options, devices, self._turn)
        self._progress: Progress | None = None
        self._records: Records | None = None
        self._alone: Alone | None = None

    # --- beginning and end -------------------------------------------------------------------------

    def begin(self, found: Checkpoint | None) -> None:
        """Take up a checkpoint, or the weights that the recipe starts from; open the folder's files."""
        notes: list[str] = []
        if found is not None:
            notes = self._resume(found)
        elif self.options.weights:
            notes = self._start_from(checkpoint.read(self.options.weights))
        if self.devices.first:  # before the Keeper, which clears away what was cut off
            self._hold()
        self.keeper = Keeper(self.out, self.options.keep, self._is_milestone)
        self.keeper.last = found.folder if found is not None else None
        quiet = self._told is not None or not self.devices.first
        self._progress = Progress(self.steps, self.place.step, quiet=quiet)
        if self.devices.first:
            try:
                checkpoint.write_text(self.out / "recipe.toml", to_toml(self.recipe.table()))
                self._records = Records(
                    self.out, self.place.step, tensorboard=self.options.tensorboard, tell=self._progress.tell
                )
            except OSError as error:
                raise StorageError(f"{self.out}: cannot be written ({error.strerror})") from error
        for note in notes:
            self._tell(note)
        self.devices.wait()

    def close(self) -> None:
        """Let go of the files and the bar."""
        if self._records is not None:
            self._records.close()
        if self._progress is not None:
            self._progress.close()
        if self._alone is not None:
            self._alone.close()

    def _hold(self) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self._alone = Alone(self.out)
        except OSError as error:
            raise StorageError(f"{self.out}: cannot be written ({error.strerror})") from error

    def _resume(self, found: Checkpoint) -> list[str]:
        found.of_system(self.recipe.system)
        self._fit(found, self.system.networks)
        kept = found.training()
        try:
            state = kept.state
            self.place = resumed(state["place"], self.stages)
            self.names.unpack(kept.tensors, state["numbers"])
            self.window, self.seconds = Window(state["window"]), float(state["seconds"])
            self.averages.updates |= {
                name: int(count) for name, count in state["averages"].items() if name in self.averages.updates
            }
            self.system.restore(state["system"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise checkpoint.damaged(found, error) from error
        changed = differences(found.recipe, self.recipe.table())
        notes = [f"{name} is {new!r} from here on, it was {old!r}" for name, (old, new) in changed.items()]
        return [f"goes on from {found.folder}", *notes]

    def _start_from(self, found: Checkpoint) -> list[str]:
        found.of_system(self.recipe.system)
        held = {name.removesuffix(AVERAGED) for name in found.networks()}
        names = {name: module for name, module in self.system.networks.items() if name in held}
        kept = set(found.networks())
        averaged = {name for name in self.system.starts_averaged() if name + AVERAGED in kept}
        self._fit(found, names, averaged)
        own = ", ".join(sorted(self.system.networks.keys() - names.keys()))
        note = f"starts from the weights of {found.folder}" + (f", but for {own}" if own else "")
        return [note + "".join(f"; {name} from its moving average" for name in sorted(averaged))]

    def _fit(
        self, found: Checkpoint, networks: Mapping[str, nn.Module], averaged: Collection[str] = ()
    ) -> None:
        """averaged: networks that take the moving average, which is there."""
        held = found.networks()
        for name, module in networks.items():
            asked, given = self.system.arguments.get(name), found.arguments.get(name)
            if asked is not None and given is not None and checkpoint.as_json(asked) != given:
                raise checkpoint.other_arguments(found, name, given, checkpoint.as_json(asked))
            smooth = name + AVERAGED
            found.load(name if name in held and name not in averaged else smooth, module)
            if name in self.averages.networks:
                found.load(smooth if smooth in held else name, self.averages.networks[name])

    # --- running -----------------------------------------------------------------------------------

    def run(self, stopping: Stopping) -> Outcome:
        """Every stage that is left. The last checkpoint is written at its end, also when it is interrupted."""
        try:
            done = all(
                self._run_stage(index, stopping) for index in range(self.place.stage, len(self.stages))
            )
            if self.place.step:
                self._save(must=True)
        except DivergedError as error:
            kept = self.keeper.last
            advice = (
                f"the last good checkpoint is {kept}; go on from it with --resume and a --set that helps"
                if kept
                else "no checkpoint was written yet; begin again with a --set that helps"
            )
            self._note(str(error))
            raise DivergedError(f"{error}; {advice}, such as a lower learning rate") from error
        asked = stopping.asked or "a signal"  # which another process may have got
        return Outcome(self.place.step, self.steps, self.keeper.last, "" if done else asked)

    def _run_stage(self, index: int, stopping: Stopping) -> bool:
        """The rest of one stage. Whether to go on with the next one."""
        stage = self.stages[index]
        if index != self.place.stage:
            self.place = Place(self.place.step, index)
        if self.place.stage_step == 0:
            self.system.enter(stage.name)
        for network in self.system.networks.values():
            network.train()
        start = time.monotonic()
        for batch in self._batches(stage):
            if self.system.finished(self._turn(stage, "step", self.place.step, self.devices.rank)):
                self._note(f"stage {stage.name} ends after {self.place.stage_step} of {stage.steps} steps")
                break
            self._step(stage, batch)
            now = time.monotonic()
            self.seconds, start = self.seconds + now - start, now
            self._due(stage)
            if self.devices.any(bool(stopping.asked)):
                return stage is self.stages[-1] and self.place.stage_step >= stage.steps
        return True

    def _batches(self, stage: Planned) -> Iterator[dict[str, Any]]:
        order = Order(len(stage.pictures), self.options.seed, stage.name)
        devices = self.devices
        left = max(0, stage.steps - self.place.stage_step)
        draws = Batches(order, self.place.position, stage.stage.batch, left, devices.rank, devices.processes)
        pin = devices.device.type == "cuda"
        for batch, passed in loader(stage.pictures, draws, workers=self.options.workers, pin=pin):
            checked(batch, passed)
            for text in passed:
                self._tell(f"{text}; another picture is taken in its place")
            yield devices.move(batch)

    def _step(self, stage: Planned, batch: dict[str, Any]) -> None:
        turn = self._turn(stage, "step", self.place.step, self.devices.rank)
        for name, optimiser in self.optimisers.items():
            factor = self.system.rate(name, turn)
            for group, rate in zip(optimiser.param_groups, self.rates[name]):
                group["lr"] = rate * factor
        torch.manual_seed(self.generator.initial_seed())
        scalars = self.system.step(batch, turn)
        stepped = {f"norm/{name}": norm for name, norm in turn.norms.items()}
        values = self.devices.means({**scalars, **stepped})
        check_scalars(values, self.place.step)
        verdict = self.system.watch(values, turn)
        if isinstance(verdict, Stop):
            raise DivergedError(f"step {self.place.step}: {verdict.text}")
        if isinstance(verdict, Adjusted):
            self._tell(verdict.text)
        self.averages.update(
            self.system.networks, dict.fromkeys(n for name in turn.norms for n in self.names.networks(name))
        )
        rates = {f"rate/{name}": self.optimisers[name].param_groups[0]["lr"] for name in turn.norms}
        self.window.add({**values, **rates})
        self.place = self.place.after(stage.stage.batch)
        if self._progress is not None:
            self._progress.step(self.place.step, values)
        if self._told is not None:
            self._told(self.place.step, self.steps)

    def _turn(self, stage: Planned, *seeds: int | str, place: Place | None = None) -> Turn:
        at = self.place if place is None else place
        self.generator.manual_seed(seed_of(self.options.seed, *seeds))
        return Turn(
            stage=stage.name,
            optimisers=self.optimisers,
            step=at.step,
            stage_step=at.stage_step,
            stage_steps=stage.steps,
            epoch=at.position / len(stage.pictures),
            device=self.devices.device,
            generator=self.generator,
            autocast=self.devices.autocast,
            average=self.devices.average,
        )

    # --- what is due now and then ------------------------------------------------------------------

    def _due(self, stage: Planned) -> None:
        step, options = self.place.step, self.options
        last = self.place.stage_step >= stage.steps
        extra = self._looks.figures(stage) if _is_due(step, options.validate_every, last) else {}
        if self._records is not None and (step % options.log_every == 0 or extra or last):
            self._records.row(step, stage.name, self.seconds, {**self.window.means(), **extra})
        if _is_due(step, options.sample_every, last) and self._records is not None:
            self._records.samples(step, self._looks.samples(stage))
        if step % options.save_every == 0 or self._is_milestone(step):
            self._save(must=False)

    def _is_milestone(self, step: int) -> bool:
        ends, end = set(), 0
        for stage in self.stages:
            end += stage.steps
            ends.add(end)
        every = self.options.milestone_every
        return step in ends or bool(every and step % every == 0)

    def _save(self, *, must: bool) -> None:
        """Write a checkpoint; a disk that is full is told, and ends the training only where it `must` be kept."""
        step, stage = self.place.step, self.stages[self.place.stage]
        if self.keeper.last is not None and self.keeper.last.name == checkpoint.step_name(step):
            return
        self.devices.average_buffers(self.system.networks)
        check_weights({**self.system.networks, **self.averages.networks}, step)
        if not self.devices.first:
            return
        try:
            self.keeper.save(self._about(stage), self._weights(), self._training())
        except StorageError as error:
            if must:
                raise
            kept = self.keeper.last or "none"
            self._tell(f"{error}; the training goes on, the last whole checkpoint is {kept}")

    def _about(self, stage: Planned) -> Checkpoint:
        last = Place(
            self.place.step - 1,
            self.place.stage,
            self.place.stage_step - 1,
            self.place.position - stage.stage.batch,
        )
        return Checkpoint(
            system=self.recipe.system,
            arguments={name: checkpoint.as_json(value) for name, value in self.system.arguments.items()},
            recipe=self.recipe.table(),
            step=self.place.step,
            data=self.system.about_data(),
            facts=self.system.facts(self._turn(stage, "facts", place=last)),
        )

    def _weights(self) -> dict[str, dict[str, Tensor]]:
        averaged = {name + AVERAGED: module for name, module in self.averages.networks.items()}
        networks = {**self.system.networks, **averaged}
        return {name: dict(module.state_dict()) for name, module in networks.items()}

    def _training(self) -> Training:
        tensors, numbers = self.names.pack()
        state = {
            "place": self.place.state(self.stages),
            "numbers": numbers,
            "window": self.window.state(),
            "seconds": self.seconds,
            "averages": self.averages.updates,
            "system": dict(self.system.state()),
        }
        return Training(state, tensors)

    def _tell(self, text: str) -> None:
        if self.devices.first and self._progress is not None:
            self._progress.tell(f"step {self.place.step}: {text}")
        self._note(text)

    def _note(self, text: str) -> None:
        if self._records is not None:
            self._records.note(f"step {self.place.step}: {text}")


def _is_due(step: int, every: int, last: bool) -> bool:
    return bool(every) and (last or step % every == 0)
