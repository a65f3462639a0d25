"""What a Liquid Warping recipe may say. Defaults are the official full training's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trainers.liquid_warping.discriminators import PARTS
from trainers.liquid_warping.warping import BLOCKS
from trainers.perceptual import Choice
from trainers.system import Stage
from trainers.typed import at_least, decays, side, stage_names, within

TRAINING, PERSONALISING = "training", "personalising"
STAGES = (TRAINING, PERSONALISING)
"""training: on many persons, with critics of the recipe's parts. personalising: on one person, from weights that exist
(run.weights), with a critic of the whole picture that begins anew."""

MOST_SOURCES = 8
_LEAST_MAP = 3
"""A critic's last norm needs more than one pixel of what is left after its halvings."""
Adapted = Literal["all", "blocks", "spade", "low_rank"]
"""What is tuned to a person: all weights, as officially; the warping blocks, both heads and the background; of the
blocks the SPADE layers alone, with these; or two narrow factors beside every convolution's weight, W + up down, which
the result holds multiplied out."""


@dataclass(frozen=True)
class Data:
    """Which prepared clips, and how samples are drawn from them.

    folder: of `marotte prepare --mesh`. lists: a folder with train.txt and val.txt, which name the clips of either
    side, as iPER's; "" takes the sides of the folder. person: whose clips alone; "" takes everybody, or in the
    personalising stage the only one. sources: source frames of a sample. time_step: target frames, neighbours in time.
    frontal: the sources come from so many most frontal frames of the clip, the first one the most frontal; 0 takes any
    frames, turned ones too. scenes: folder of pictures without people (Places), which then teach the background network
    in place of each clip's own background. background_erosion: side in pixels of the box by which the known background
    is made smaller; officially 11 at 512 px. held: share of a person's frames that the personalising stage holds back;
    0 none. held_frames, source_frames: numbers of the frames that are held back, and of those that are sources there,
    the one whose background is known first; without them both are chosen by yaw.
    """

    folder: str = ""
    lists: str = ""
    person: str = ""
    size: int = 512
    sources: int = 4
    time_step: int = 2
    frontal: int = 25
    scenes: str = ""
    background_erosion: int = 11
    held: float = 0.15
    held_frames: tuple[int, ...] = ()
    source_frames: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        within(self, 1, MOST_SOURCES, "sources")
        within(self, 1, 8, "time_step")
        within(self, 0, 0.5, "held")
        at_least(self, 0, "frontal")
        within(self, 1, 255, "background_erosion")
        if self.background_erosion % 2 == 0:
            raise ValueError(f"background_erosion is {self.background_erosion}, expected an odd number")
        if both := sorted(set(self.held_frames) & set(self.source_frames)):
            raise ValueError(f"source_frames: frame {both[0]} is held back, expected others")


@dataclass(frozen=True)
class GeneratorShape:
    """block: how sources meet the target. widths, residual_blocks: of source and transfer stream. background_widths,
    background_blocks: of the background network. temporal: whether each target frame sees the one before as one more
    source; it adds no weights. checkpointed: compute what the blocks need for the backward pass twice, for less memory.
    """

    block: str = "attention_spade"
    widths: tuple[int, ...] = (64, 128, 256)
    residual_blocks: int = 6
    background_widths: tuple[int, ...] = (64, 128, 128, 256)
    background_blocks: int = 6
    temporal: bool = True
    checkpointed: bool = False

    def __post_init__(self) -> None:
        if self.block not in BLOCKS:
            raise ValueError(f"block is {self.block!r}, expected one of {', '.join(BLOCKS)}")
        within(self, 1, 64, "residual_blocks", "background_blocks")
        for name, most in (("widths", 5), ("background_widths", 6)):
            given = getattr(self, name)
            if not 1 <= len(given) <= most or not all(1 <= width <= 1024 for width in given):
                raise ValueError(f"{name} are {given}, expected 1 to {most} numbers in 1 .. 1024")

    @property
    def multiple(self) -> int:
        """What pictures' sides have to be a multiple of."""
        return int(2 ** max(len(self.widths), len(self.background_widths) - 1))


@dataclass(frozen=True)
class CriticShape:
    """parts: what is judged beside the whole picture, of body and head. background: whether scenes are judged as well.
    width: channels of the first layer (ndf). widest: largest factor on it."""

    parts: tuple[str, ...] = ("body", "head")
    background: bool = True
    width: int = 64
    layers: int = 4
    widest: int = 8

    def __post_init__(self) -> None:
        for part in self.parts:
            if part == "global" or part not in PARTS:
                known = ", ".join(name for name in PARTS if name != "global")
                raise ValueError(f"parts: got {part!r}, expected of {known}")
        within(self, 1, 1024, "width")
        within(self, 1, 6, "layers")
        within(self, 1, 16, "widest")


@dataclass(frozen=True)
class Losses:
    """Factors; 0 leaves a loss out. reconstruction: L1 of the sources made again, and of the background, half of each.
    perceptual: which distance of the targets; vgg19: file of its weights. face: of the targets' heads by SphereFace-20;
    sphereface: file of its weights. mask: cross entropy of all masks. smoothness: total variation of all masks. direct:
    L1 of the targets; officially none."""

    reconstruction: float = 10.0
    perceptual: Choice = "vgg19"
    perceptual_weight: float = 10.0
    vgg19: str = ""
    face: float = 5.0
    sphereface: str = ""
    mask: float = 5.0
    smoothness: float = 1.0
    adversarial: float = 1.0
    direct: float = 0.0

    def __post_init__(self) -> None:
        names = ("reconstruction", "perceptual_weight", "face", "mask", "smoothness", "adversarial", "direct")
        at_least(self, 0.0, *names)


@dataclass(frozen=True)
class Personalising:
    """adapted: which weights. rank: of low_rank's factors. check_every: steps between two looks at the held-back views.
    patience: looks without a better one after which the stage ends; 0 never. The weights of the best look are kept.
    """

    adapted: Adapted = "all"
    rank: int = 8
    check_every: int = 10
    patience: int = 0

    def __post_init__(self) -> None:
        at_least(self, 1, "check_every", "rank")
        at_least(self, 0, "patience")


@dataclass(frozen=True)
class Optimiser:
    """Adam for the generator and for the critic, at constant rates. falling: the last share of a stage, over which the
    rates fall to nothing; officially 0. clip: of the joint norm of gradients, 0 never. average: decay of the
    generator's moving average, 0 keeps none."""

    rate: float = 1e-4
    critic_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    falling: float = 0.0
    clip: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        within(self, 0, 1, "rate", "critic_rate", "falling")
        at_least(self, 0, "clip")
        decays(self, "beta1", "beta2", "average")


def _official_stages() -> tuple[Stage, ...]:
    return (Stage(TRAINING, steps=100_000, batch=4),)


@dataclass(frozen=True)
class LiquidWarpingRecipe:
    """All of a recipe but `system` and `[run]`."""

    data: Data = field(default_factory=Data)
    generator: GeneratorShape = field(default_factory=GeneratorShape)
    critic: CriticShape = field(default_factory=CriticShape)
    losses: Losses = field(default_factory=Losses)
    personalising: Personalising = field(default_factory=Personalising)
    optimiser: Optimiser = field(default_factory=Optimiser)
    stages: tuple[Stage, ...] = field(default_factory=_official_stages)

    def __post_init__(self) -> None:
        stage_names([stage.name for stage in self.stages], STAGES)
        if len(self.stages) != 1:
            raise ValueError(
                "stages: expected one; a person is tuned in a training of its own, which starts from run.weights"
            )
        side("data.size", self.data.size, self.generator.multiple)
        smallest = self.data.size // max((PARTS[part] for part in self.critic.parts), default=1)
        if smallest >> self.critic.layers < _LEAST_MAP:
            raise ValueError(
                f"critic.layers is {self.critic.layers}, which leaves nothing of a part of {smallest} pixels; take "
                "fewer layers or larger pictures"
            )

    @property
    def personal(self) -> bool:
        """Whether this is one person's."""
        return self.stages[0].name == PERSONALISING
