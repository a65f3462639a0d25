"""GANimation as the loop trains it: networks, stages, steps, the watch on the mask."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainers.errors import RecipeError
from trainers.ganimation import adversarial, recipe
from trainers.ganimation.adversarial import CRITIC, GENERATOR, Real
from trainers.ganimation.copying import start_copying
from trainers.ganimation.data import Opened, open_data
from trainers.ganimation.losses import Weights
from trainers.ganimation.networks import Discriminator, Generator, initialise
from trainers.ganimation.panels import Edit, edit, grey_levels, mask_levels, panels
from trainers.ganimation.pictures import Augment, PairPictures, SinglePictures, as_input
from trainers.ganimation.recipe import ADVERSARIAL, MIXED, PAIRS
from trainers.ganimation.supervision import pair_losses, target_of
from trainers.ganimation.watch import MaskWatch
from trainers.system import Batch, CarryOn, Pictures, Scalars, Split, Stage, System, Turn, Verdict

AUS = 17
ATTENTION = "attention"
"""Scalar: mean attention over the face, of the steps that move the generator."""


class GANimation(System):
    """Stages by name: `pairs` (supervised), `adversarial` (the paper's), `mixed` (both losses in one step)."""

    name: ClassVar[str] = "ganimation"
    Recipe: ClassVar[type] = recipe.Recipe

    def __init__(self, options: recipe.Recipe, /) -> None:
        self._recipe = options
        self.arguments = _arguments(options)
        try:
            self.generator = Generator(**self.arguments[GENERATOR])
            self.networks: Mapping[str, nn.Module] = {GENERATOR: self.generator}
            if CRITIC in self.arguments:
                self.critic = Discriminator(**self.arguments[CRITIC])
                self.networks = {GENERATOR: self.generator, CRITIC: self.critic}
        except ValueError as error:
            raise RecipeError(f"networks: {error}") from error
        for network in self.networks.values():
            initialise(network)
        if options.networks.start == "copy":
            _copying(self.generator)
        for network in self.networks.values():
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self._augment = Augment(options.data, options.pairs)
        self._watch = MaskWatch(options.guard)
        self._opened: Opened | None = None

    # --- what is trained on what -------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        return self._recipe.stages

    def pictures(self, split: Split, stage: str) -> Pictures:
        if self._opened is None:
            self._opened = open_data(self._recipe.data)
        side = self._opened.sides[split]
        if stage == ADVERSARIAL:
            return SinglePictures(side, self._recipe.data)
        return PairPictures(side, self._recipe.pairs, self._recipe.networks.units)

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        adams = {GENERATOR: self._recipe.optimiser, CRITIC: self._recipe.critic_optimiser}
        return {
            name: torch.optim.Adam(network.parameters(), lr=adams[name].lr, betas=adams[name].betas)
            for name, network in self.networks.items()
        }

    def rate(self, optimiser: str, turn: Turn) -> float:
        if self._recipe.schedule.by == "epochs":
            return rate_by_epochs(self._recipe.schedule, turn.epoch)
        if optimiser == CRITIC:
            return 1.0
        steps = sum(stage.steps for stage in self._recipe.stages)
        return rate_by_steps(self._recipe.schedule, (turn.step + 1) / steps)

    def averages(self) -> Mapping[str, float]:
        return {GENERATOR: self._recipe.average} if self._recipe.average else {}

    # --- steps -------------------------------------------------------------------------------------

    def step(self, batch: Batch, turn: Turn) -> Scalars:
        if turn.stage == ADVERSARIAL:
            return self._adversarial(batch, turn)
        return self._mixed(batch, turn) if turn.stage == MIXED else self._pairs(batch, turn)

    def _pairs(self, batch: Batch, turn: Turn) -> Scalars:
        source, target, face = self._pair(batch, turn)
        with turn.autocast():
            made = _float(edit(self.generator.quick, source, batch["given"], saturated=self._saturated))
        found = self._pair_losses(made, source, target)
        turn.descend(_total(found), GENERATOR, clip=self._recipe.optimiser.clip)
        return {**_detached(found), ATTENTION: over_face(made.attention, face)}

    def _mixed(self, batch: Batch, turn: Turn) -> Scalars:
        """The critic sees targets and composites; the generator has the losses of pairs and, against the critic, those
        of adversarial training but for the way back, which the pairs stand for."""
        source, target, face = self._pair(batch, turn)
        wanted, weights = batch["wanted"], self._recipe.losses
        with turn.autocast():
            made = _float(edit(self.generator.quick, source, batch["given"], saturated=self._saturated))
        real = Real(target, wanted, wanted)
        scalars = adversarial.critic_on(self.critic, real, made.composed.detach(), weights, turn)
        if turn.stage_step % self._recipe.penalty_every == 0:
            alpha = adversarial.blend_shares(len(target), turn)
            scalars |= adversarial.penalty_step(
                self.critic, target, made.composed.detach(), alpha, weights, turn
            )
        found = self._pair_losses(made, source, target)
        with turn.autocast():
            found |= adversarial.judged(self.critic, made.composed, wanted, weights)
        turn.descend(_total(found), GENERATOR, clip=self._recipe.optimiser.clip)
        return {**scalars, **_detached(found), ATTENTION: over_face(made.attention, face)}

    def _adversarial(self, batch: Batch, turn: Turn) -> Scalars:
        shown = [batch["source"], *([batch["face"]] if "face" in batch else [])]
        source, *face = self._augment.mirrored(shown, turn.generator)
        real = self._real(as_input(source), batch)
        weights = self._weights()
        fake, scalars = adversarial.critic_step(self.generator, self.critic, real, weights, turn)
        alpha = adversarial.blend_shares(len(fake), turn)
        scalars |= adversarial.penalty_step(self.critic, real.pictures, fake, alpha, weights, turn)
        if (turn.stage_step + 1) % self._recipe.critic_steps == 0:
            there, found = adversarial.generator_step(self.generator, self.critic, real, weights, turn)
            scalars |= {**found, ATTENTION: over_face(there.attention.detach(), face[0] if face else None)}
        return scalars

    def _real(self, source: Tensor, batch: Batch) -> Real:
        return Real(source, batch["own"], batch["wanted"], self._recipe.networks.units)

    def _pair(self, batch: Batch, turn: Turn) -> tuple[Tensor, Tensor, Tensor | None]:
        shown = [batch["source"], batch["target"], *([batch["face"]] if "face" in batch else [])]
        source, target, *face = self._augment.moved(shown, turn.generator)
        source, target = self._augment.lit((source, target), turn.generator)
        return as_input(source), as_input(target), face[0] if face else None

    def _pair_losses(self, made: Edit, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        pairs = self._recipe.pairs
        return pair_losses(made, target_of(source, target, pairs.full_change), pairs, self._watch.factor)

    def _weights(self) -> Weights:
        """The recipe's, with the mask's as the watch has set it."""
        weights = self._recipe.losses
        return replace(weights, mask=weights.mask * self._watch.factor)

    @property
    def _saturated(self) -> bool:
        return self._recipe.losses.saturate_mask

    # --- looking at it -----------------------------------------------------------------------------

    def sample(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> npt.NDArray[np.uint8]:
        source, *target = map(as_input, self._augment.plain(_shown(batch)))
        if not target:
            real = self._real(source, batch)
            _, shown = panels(networks[GENERATOR], source, real.back, real.there, saturated=self._saturated)
            return shown
        made = edit(networks[GENERATOR], source, batch["given"], saturated=self._saturated)
        rows = (source, made.composed, target[0], made.colour)
        return np.stack([*map(grey_levels, rows), mask_levels(made.attention)], axis=1)

    def validate(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> Scalars:
        source, *target = map(as_input, self._augment.plain(_shown(batch)))
        given = batch["given"] if target else self._real(source, batch).there
        made = edit(networks[GENERATOR], source, given, saturated=self._saturated)
        face = self._augment.plain([batch["face"]])[0] if "face" in batch else None
        scalars = {ATTENTION: over_face(made.attention, face)}
        if target:
            aim = target_of(source, target[0], self._recipe.pairs.full_change)
            off = (made.composed - aim.picture).abs() / 2.0
            unchanged = (source - aim.picture).abs() / 2.0
            scalars |= {
                "error": off.mean(),
                "error_where_changed": _weighted(off, aim.change),
                "unchanged_where_changed": _weighted(unchanged, aim.change),
            }
        return scalars

    def watch(self, scalars: Mapping[str, float], turn: Turn) -> Verdict:
        return self._watch.see(scalars[ATTENTION]) if ATTENTION in scalars else CarryOn()

    def state(self) -> Mapping[str, Any]:
        return {"mask": self._watch.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._watch.restore(state["mask"])

    def about_data(self) -> Mapping[str, Any]:
        about = {} if self._opened is None else self._opened.about
        return {**about, "size": self._recipe.data.size}

    def facts(self, turn: Turn) -> Mapping[str, Any]:
        return {**_kinds(self._recipe.networks), "saturate_mask": self._saturated}


def _kinds(networks: recipe.Networks) -> dict[str, str]:
    return {"norm": networks.norm, "planes": networks.planes, "units": networks.units}


def _copying(generator: Generator) -> None:
    try:
        start_copying(generator)
    except ValueError as error:
        raise RecipeError(f"networks.start: {error}") from error


def rate_by_epochs(schedule: recipe.Schedule, epoch: float) -> float:
    """The learning rate's factor in the 0-based epoch: 1, then .9, .8 ... .1 from epoch `constant` + 1 on."""
    return max(0.0, 1.0 - max(0, int(epoch) - schedule.constant) / schedule.decay)


def rate_by_steps(schedule: recipe.Schedule, done: float) -> float:
    """The learning rate's factor when the share `done` of the training is made: a ramp, a plateau, a cosine."""
    if done < schedule.warm:
        return done / schedule.warm
    if done <= schedule.hold:
        return 1.0
    share = min(1.0, (done - schedule.hold) / (1.0 - schedule.hold))
    return schedule.least + (1.0 - schedule.least) * 0.5 * (1.0 + math.cos(math.pi * share))


def over_face(attention: Tensor, face: Tensor | None) -> Tensor:
    """Mean attention, over the face where its oval (B, 1, S, S) in 0..1 is known."""
    return attention.detach().mean() if face is None else _weighted(attention.detach(), face)


def _weighted(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / (weights.sum() * values.shape[1]).clamp_min(1e-6)


def _shown(batch: Batch) -> list[Tensor]:
    return [batch[name] for name in ("source", "target") if name in batch]


def _float(made: Edit) -> Edit:
    return Edit(made.colour.float(), made.attention.float(), made.composed.float())


def _total(found: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(found.values())).sum()


def _detached(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in found.items()}


def _arguments(options: recipe.Recipe) -> dict[str, dict[str, Any]]:
    widths = options.networks
    generator = {
        "conv_dim": widths.conv_dim,
        "c_dim": AUS,
        "repeat_num": widths.repeat_num,
        "norm": widths.norm,
        "planes": widths.planes,
    }
    if {stage.name for stage in options.stages} == {PAIRS}:
        return {GENERATOR: generator}
    critic = {
        "image_size": options.data.size,
        "conv_dim": widths.critic_conv_dim,
        "c_dim": AUS,
        "repeat_num": widths.critic_repeat_num,
    }
    return {GENERATOR: generator, CRITIC: critic}
