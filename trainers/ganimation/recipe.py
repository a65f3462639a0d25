"""What a recipe of GANimation may say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trainers.ganimation.losses import Weights
from trainers.ganimation.networks import Norm, Planes, Units
from trainers.system import Stage
from trainers.typed import at_least, decays, side, stage_names, within

PAIRS, ADVERSARIAL, MIXED = "pairs", "adversarial", "mixed"
STAGES = (PAIRS, ADVERSARIAL, MIXED)


@dataclass(frozen=True)
class Data:
    """Which pictures. size: side that the networks see."""

    folder: Path
    layout: Literal["prepared", "official"] = "prepared"
    """official: the folder of the authors' code (imgs/, aus_openface.pkl, train_ids.csv, test_ids.csv)."""
    size: int = 128
    read_size: int = 0
    """Side at which pictures are read, where they are moved about before they are brought to size; 0: size."""
    extractor: str = ""
    mode: str = ""
    crop: str = ""
    """What the folder has to say of itself; nothing is asked where it is empty. Another one is refused."""
    labels: Literal["measured", "asked"] = "measured"
    """Action units of the adversarial stage: as measured on each picture, or for synthesised ones what was asked."""
    flip: bool = True
    """Mirror every other picture; action units are of both sides, so they stay."""
    wanted_noise: float = 0.1
    """Added to every wanted action unit of the adversarial training: uniform, plus or minus this, not cut to 0..1."""


@dataclass(frozen=True)
class Networks:
    """Widths. The official ones are 64 and 6, both for both."""

    conv_dim: int = 64
    repeat_num: int = 6
    norm: Norm = "instance"
    planes: Planes = "constant"
    units: Units = "absolute"
    start: Literal["official", "copy"] = "official"
    """copy: weights from which the colour mask is the source's picture, for norm 'none' alone; copying.py says why."""
    critic_conv_dim: int = 64
    critic_repeat_num: int = 6

    def __post_init__(self) -> None:
        within(self, 1, 1024, "conv_dim", "critic_conv_dim")
        within(self, 1, 64, "repeat_num", "critic_repeat_num")


@dataclass(frozen=True)
class Optimiser:
    """Adam, of one network."""

    lr: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    clip: float | None = None
    """Largest norm of the generator's gradient in the stages with pairs; it is not cut where absent."""

    def __post_init__(self) -> None:
        within(self, 0, 1, "lr")
        decays(self, "betas")
        if self.clip is not None and self.clip <= 0.0:
            raise ValueError(f"clip is {self.clip}, expected more than 0; leave it out to cut nothing")


@dataclass(frozen=True)
class Schedule:
    """The learning rate.

    epochs (official): both networks' constant for `constant` epochs of a stage, then 1 / `decay` of the start less
    after each, the first time after epoch `constant` + 1, so that epoch `constant` + `decay` still learns. steps: the
    generator's up over the share `warm` of the whole training, constant, and from the share `hold` on down to `least`
    along a cosine; the critic's constant.
    """

    by: Literal["epochs", "steps"] = "epochs"
    constant: int = 20
    decay: int = 10
    warm: float = 0.0
    hold: float = 1.0
    least: float = 0.02

    def __post_init__(self) -> None:
        within(self, 0, 1_000_000, "constant")
        within(self, 1, 1_000_000, "decay")
        within(self, 0, 1, "warm", "hold", "least")


@dataclass(frozen=True)
class Pairs:
    """Supervision by pictures of one person with two expressions, which synthesis gives. Not in the paper.

    Weights of the mean absolute difference of the composite (picture), of its slopes (edges) and of the colour mask
    alone (colour); of the attention's cross entropy where nothing changes between the two (keep: towards 1) and where
    something does (give: towards 0), and of its squared slopes (smooth). changed: how much more a pixel counts that
    changes fully.
    """

    picture: float = 1.0
    edges: float = 0.5
    colour: float = 1.0
    keep: float = 0.1
    give: float = 0.1
    smooth: float = 0.1
    even: float = 0.0
    """How much more a pair counts in `picture`, `edges` and `colour` whose pictures differ less: 0 alike, 1 by the
    inverse of their difference. Without it what is learnt is what moves most pixels: the jaw, long before the brows."""
    changed: float = 6.0
    elsewhere: float = 0.1
    """How much a pixel that does not change counts for the colour mask: there the attention keeps the source."""
    full_change: float = 0.06
    """The change, of the way from black to white, that counts as full."""
    same: float = 0.1
    """Share of pairs of a picture with itself, whose action units are its own."""
    to_base: float = 0.15
    """Share of the others that go the way back, from the synthesised picture to the real one."""
    from_base: float = 0.5
    """Share of the rest that start at the real picture, and not at another synthesised one."""
    asked: float = 0.8
    """Share of pairs whose wanted action units are what was asked of the synthesis, added to the base's own, and not
    what was measured on its result."""
    shift: float = 0.02
    zoom: float = 0.04
    turn: float = 3.0
    """Largest shift (of the side), zoom and turn (degrees) of both pictures, alike."""
    light: float = 0.15
    """Largest change of brightness, contrast and of each colour, of both pictures, alike."""


@dataclass(frozen=True)
class Guard:
    """The watch on the mean attention over the face. Outside low .. high the mask's weight is changed by `factor`."""

    low: float = 0.3
    high: float = 0.95
    patience: int = 200
    """Steps of the generator between two looks."""
    factor: float = 1.5
    most: int = 8
    """So many adjustments in one direction, then the training stops."""


@dataclass(frozen=True)
class Recipe:
    """A training: data, networks, losses and stages named `pairs`, `adversarial` or `mixed`, in any order."""

    data: Data
    stages: tuple[Stage, ...]
    networks: Networks = field(default_factory=Networks)
    losses: Weights = field(default_factory=Weights)
    pairs: Pairs = field(default_factory=Pairs)
    optimiser: Optimiser = field(default_factory=Optimiser)
    critic_optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    guard: Guard = field(default_factory=Guard)
    critic_steps: int = 5
    """Batches per step of the generator in the adversarial stage."""
    penalty_every: int = 1
    """Batches per step of the gradient penalty in the mixed stage."""
    average: float = 0.0
    """Decay of the generator's moving average; 0 keeps none, as officially."""

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        stage_names(names, STAGES)
        if len(set(names)) != len(names):
            raise ValueError("stages: each name once")
        if self.data.layout == "official" and set(names) != {ADVERSARIAL}:
            raise ValueError("layout 'official' has no pairs: expected the stage 'adversarial' alone")
        side("data.size", self.data.size, 4)
        within(self.data, 0, 4096, "read_size")
        within(self, 1, 1_000_000, "penalty_every")
        if self.schedule.by == "steps" and not all(stage.steps for stage in self.stages):
            raise ValueError("schedule.by is 'steps': expected stages with a number of steps, not of epochs")
        if self.networks.planes == "regional" and self.data.crop != "face":
            raise ValueError(
                f"networks.planes is 'regional': expected data.crop 'face', got {self.data.crop!r}"
            )
        if self.networks.units == "relative" and self.data.layout == "official":
            raise ValueError("networks.units is 'relative': expected data.layout 'prepared'")
        at_least(self, 1, "critic_steps")
        decays(self, "average")
        if not 0.0 <= self.guard.low < self.guard.high <= 1.0 or self.guard.factor <= 1.0:
            raise ValueError("guard: expected 0 <= low < high <= 1 and a factor above 1")
