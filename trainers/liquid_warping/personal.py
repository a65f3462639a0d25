"""Tuning to one person: which weights move, and which of all their states is kept.

Now and then the held-back views are made and compared; the weights that made them best are kept apart, and are the
result, whether the stage ends by itself or for want of anything better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from trainers.liquid_warping.generator import LiquidWarpingGenerator, Made
from trainers.liquid_warping.low_rank import LowRank
from trainers.liquid_warping.recipe import Adapted, Personalising
from trainers.liquid_warping.samples import One, of_batch
from trainers.liquid_warping.step import Sample, Shown, show, shown_of
from trainers.system import Turn

_ENDS = ("bg_net.", "tsf_img_reg.", "tsf_att_reg.")
_BLOCKS = ("enc_attlwbs.", "res_attlwbs.")
MOST_VIEWS = 8
"""Held-back views of one look; of more, evenly chosen ones."""


def adapted(generator: LiquidWarpingGenerator, what: Adapted) -> list[nn.Parameter]:
    """The generator's weights that a person's tuning moves, see recipe.Adapted; none where factors move beside them."""
    if what == "low_rank":
        return []
    return [one for name, one in generator.named_parameters() if what == "all" or _moves(name, what)]


def _moves(name: str, what: Adapted) -> bool:
    if name.startswith(_ENDS):
        return True
    return name.startswith(_BLOCKS) and (what == "blocks" or ".spade." in name)


@dataclass
class Looks:
    """What was seen so far. before: mean PSNR in dB of the held-back views before the first step, best: of the best
    look, at the weights after `step` steps. behind: looks since then. done: nothing is left to do."""

    before: float = -math.inf
    best: float = -math.inf
    step: int = 0
    behind: int = 0
    done: bool = False

    def table(self) -> dict[str, Any]:
        """As JSON, which knows no infinity."""
        return {name: None if value == -math.inf else value for name, value in asdict(self).items()}

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Looks:
        """From `table`."""
        before, best = (-math.inf if table[name] is None else table[name] for name in ("before", "best"))
        return cls(float(before), float(best), int(table["step"]), int(table["behind"]), bool(table["done"]))


class Tuning:
    """The looks of one person's training. chosen: the network that holds the best weights so far. factors: what moves
    in place of the generator's weights, which then stay the shared ones up to the end."""

    def __init__(
        self,
        how: Personalising,
        generator: LiquidWarpingGenerator,
        chosen: LiquidWarpingGenerator,
        factors: LowRank | None = None,
    ) -> None:
        self.how, self.generator, self.chosen, self.factors = how, generator, chosen, factors
        self.looks = Looks()

    def show(self, sample: Sample) -> Shown:
        """As step.show, by the weights as they are now."""
        if self.factors is None:
            return show(self.generator, sample)
        given = (sample.backgrounds, sample.sources, sample.targets, sample.flow, sample.flow_back)
        made = functional_call(self.generator, self.factors.merged(self.generator), given)
        return shown_of(Made(*(one.float() for one in made)))

    def begin(self, views: One | None, device: torch.device) -> None:
        """Before the first step."""
        self.chosen.load_state_dict(self.generator.state_dict())
        if views is not None and len(views):
            self.looks.before = self.looks.best = self.psnr_of(views, device)

    def after(self, turn: Turn, views: One | None) -> dict[str, float]:
        """After a step: look where it is time, and where all is done take the best weights. What to record."""
        made, last = turn.stage_step + 1, turn.stage_step + 1 >= turn.stage_steps
        if views is None or not len(views):
            self.looks.step = made
            if last:
                self._choose()
                self._end()
            return {}
        if made % self.how.check_every and not last:
            return {}
        found = self.psnr_of(views, turn.device)
        looks = self.looks
        if found > looks.best:
            looks.best, looks.step, looks.behind = found, made, 0
            self._choose()
        else:
            looks.behind += 1
        if last or (self.how.patience and looks.behind >= self.how.patience):
            looks.done = True
            self._end()
        return {"held/psnr": found, "held/best": looks.best}

    def _choose(self) -> None:
        added = {} if self.factors is None else self.factors.merged(self.generator)
        self.chosen.load_state_dict({**self.generator.state_dict(), **added})

    def _end(self) -> None:
        self.generator.load_state_dict(self.chosen.state_dict())
        if self.factors is not None:
            self.factors.forget()

    @torch.no_grad()
    def psnr_of(self, views: One, device: torch.device) -> float:
        """Mean PSNR in dB of held-back views, over the whole picture, of colours in 0..255."""
        targets = views.held
        step = max(1, math.ceil(len(targets) / MOST_VIEWS))
        found = []
        self.generator.eval()
        for target in targets[::step]:
            batch = {name: value.unsqueeze(0).to(device) for name, value in views.at(target).items()}
            sample = of_batch(batch, temporal=False)
            apart = (self.show(sample).targets.clamp(-1, 1) - sample.real_targets).square().mean()
            found.append(10 * math.log10(4.0 / max(float(apart), 1e-12)))
        self.generator.train()
        return sum(found) / len(found)
