"""A whole system of small size: a generator and a critic with their own optimisers, two stages, dropout, running
statistics, an average, a guard that adjusts. It learns to brighten pictures that it draws itself.

`python tests/trainers/tiny.py RECIPE --out DIR ...` is `marotte train` that knows it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from trainers.errors import PictureError
from trainers.system import Adjusted, CarryOn, Draw, Stage, Stop, System
from trainers.systems import SYSTEMS

SYSTEMS["tiny"] = "tests.trainers.tiny:Tiny"


@dataclass(frozen=True)
class Data:
    count: int = 10
    broken: tuple[int, ...] = ()


@dataclass(frozen=True)
class Losses:
    cycle: float = 1.0
    mask: float | None = None


@dataclass(frozen=True)
class TinyRecipe:
    data: Data = field(default_factory=Data)
    losses: Losses = field(default_factory=Losses)
    width: int = 4
    critic_ratio: int = 2
    stop_at: int = -1
    lost_at: int = -1
    kill_at: int = -1
    pause: float = 0.0
    still: bool = False
    stages: tuple[Stage, ...] = (Stage("warm", steps=4, batch=4), Stage("adversarial", epochs=3.2, batch=4))


class TinyPictures:
    def __init__(self, count: int, broken: tuple[int, ...] = ()) -> None:
        self.count, self.broken = count, broken

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, draw: Draw) -> Mapping[str, Any]:
        if draw.index in self.broken:
            raise PictureError(f"picture {draw.index}: cannot be read")
        picture = np.random.default_rng(draw.index).random((3, 8, 8), np.float32)
        shift = draw.numbers().random(dtype=np.float32)
        return {"index": draw.index, "picture": picture, "target": np.float32(shift)}


class TinyGenerator(nn.Module):
    def __init__(self, width: int, still: bool = False) -> None:
        super().__init__()
        norm = nn.Identity() if still else nn.BatchNorm2d(width)
        self.body = nn.Sequential(nn.Conv2d(4, width, 3, padding=1), norm, nn.ReLU())
        self.drop, self.head = nn.Dropout(0.0 if still else 0.2), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, picture: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        plane = target[:, None, None, None].expand(-1, 1, *picture.shape[2:])
        return self.head(self.drop(self.body(torch.cat([picture, plane], 1))))


class Tiny(System):
    name: ClassVar[str] = "tiny"
    Recipe: ClassVar[type] = TinyRecipe

    def __init__(self, recipe: TinyRecipe) -> None:
        self.recipe = recipe
        self.generator = TinyGenerator(recipe.width, recipe.still)
        self.critic = nn.Sequential(
            nn.Conv2d(3, recipe.width, 4, 2), nn.LeakyReLU(), nn.Conv2d(recipe.width, 1, 3)
        )
        self.networks = {"generator": self.generator, "critic": self.critic}
        self.arguments = {"generator": {"width": recipe.width}, "critic": {"width": recipe.width}}
        self.weight, self.entered = 1.0, []

    def stages(self):
        return self.recipe.stages

    def pictures(self, split, stage):
        data = self.recipe.data
        return TinyPictures(data.count, data.broken) if split == "train" else TinyPictures(5)

    def optimisers(self):
        return {
            "warm": torch.optim.Adam(self.generator.parameters(), lr=1e-2),
            "generator": torch.optim.Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
            "critic": torch.optim.RMSprop(self.critic.parameters(), lr=1e-3, momentum=0.5),
        }

    def rate(self, optimiser, turn):
        return 1.0 - 0.5 * turn.stage_step / turn.stage_steps

    def averages(self):
        return {"generator": 0.9}

    def enter(self, stage):
        self.entered.append(stage)

    def step(self, batch, turn):
        time.sleep(self.recipe.pause)
        if turn.step == self.recipe.kill_at:
            os.kill(os.getpid(), signal.SIGTERM)
        picture, target = batch["picture"], batch["target"]
        noise = torch.rand(picture.shape, device=turn.device, generator=turn.generator)
        with turn.autocast():
            fake = self.generator(picture + (0.0 if self.recipe.still else 0.01) * noise, target).float()
        wanted = (picture + target[:, None, None, None]).clamp(max=1.0)
        content = nn.functional.l1_loss(fake, wanted) * self.weight
        if turn.step == self.recipe.lost_at:
            content = content * float("nan")
        if turn.stage == "warm":
            turn.descend(content, "warm")
            return {"content": content.detach()}
        critic = (self.critic(fake.detach()) ** 2).mean() + ((self.critic(wanted) - 1) ** 2).mean()
        turn.descend(critic, "critic", clip=1.0)
        scalars = {"critic": critic.detach()}
        if turn.stage_step % self.recipe.critic_ratio == 0:
            total = content + ((self.critic(fake) - 1) ** 2).mean()
            turn.descend(total, "generator")
            scalars["content"] = content.detach()
        return scalars

    def sample(self, networks, batch, turn):
        fake = networks["generator"](batch["picture"], batch["target"])
        pairs = torch.stack([batch["picture"], fake], 1).clamp(0, 1)
        return (pairs * 255).to(torch.uint8).permute(0, 1, 3, 4, 2).cpu().numpy()

    def validate(self, networks, batch, turn):
        fake = networks["generator"](batch["picture"], batch["target"])
        return {"distance": (fake - batch["picture"]).abs().mean()}

    def watch(self, scalars, turn):
        if turn.step == self.recipe.stop_at:
            return Stop("the mask is saturated; raise losses.mask")
        if turn.step % 5 == 4:
            self.weight *= 1.25
            return Adjusted(f"the weight is {self.weight:g}")
        return CarryOn()

    def state(self):
        return {"weight": self.weight}

    def restore(self, state):
        self.weight = state["weight"]

    def about_data(self):
        return {"extractor": "none", "size": 8}

    def facts(self, turn):
        return {"epoch": turn.epoch, "stage_step": turn.stage_step}


def write_recipe(path: Path, text: str = "") -> Path:
    """A recipe file of the tiny system that saves every 3 steps, with further lines."""
    run = "seed = 7\nthreads = 1\nsave_every = 3\nkeep = 2\nlog_every = 2\nsample_every = 5\nvalidate_every = 6\n"
    path.write_text(
        f'system = "tiny"\n{text}\n[run]\ndevice = "cpu"\ntensorboard = false\n{run}', encoding="utf-8"
    )
    return path


if __name__ == "__main__":
    import marotte

    sys.exit(marotte.main(["train", *sys.argv[1:]]))
