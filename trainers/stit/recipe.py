"""What a STIT recipe may say. Defaults are those of the released trainings, on FFHQ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trainers.stit.generator import widths_of
from trainers.stit.irse import BLOCKS, WIDTHS
from trainers.stit.lpips import Choice
from trainers.system import Stage
from trainers.typed import at_least, decays, stage_names, within

GAN, E4E = "gan", "e4e"
STAGES = (GAN, E4E)
"""gan: StyleGAN2 with its critic. e4e: the encoder, through the generator that is there then."""


@dataclass(frozen=True)
class Data:
    """Where the pictures are. layout: "prepared" (of `marotte prepare`) or "pictures" (square ones, aligned already,
    in a folder and those below it, as FFHQ's images1024x1024 are). mode, crop: what a prepared folder has to be.
    held_back: of plain pictures, how many of the last ones are not trained on. size: side, a power of 2. flip:
    probability that a picture is mirrored. licence: of plain pictures, SPDX; a bundle has to state it."""

    folder: str = ""
    layout: Literal["prepared", "pictures"] = "prepared"
    held_back: int = 0
    licence: str = ""
    mode: Literal["static", "dynamic"] = "static"
    crop: str = "celeba-hq"
    size: int = 1024
    flip: float = 0.5

    def __post_init__(self) -> None:
        within(self, 0, 1, "flip")
        at_least(self, 0, "held_back")
        if self.size < 16 or self.size & (self.size - 1):
            raise ValueError(f"data.size is {self.size}, expected a power of 2 of 16 or more")


@dataclass(frozen=True)
class GeneratorShape:
    """channel_base, channel_max: as the official code states the widths of a resolution. latent: of z and w."""

    channel_base: int = 32768
    channel_max: int = 512
    latent: int = 512
    mapping_layers: int = 8

    def __post_init__(self) -> None:
        within(self, 1, 1 << 20, "channel_base", "channel_max", "latent")
        within(self, 1, 16, "mapping_layers")


@dataclass(frozen=True)
class EncoderShape:
    """size: of the pictures that it sees, at most those of the data. backbone: model_ir_se50.pth to start from, which
    needs the official widths; empty starts at random."""

    size: int = 256
    widths: tuple[int, ...] = WIDTHS
    blocks: tuple[int, ...] = BLOCKS
    critic_layers: int = 4
    backbone: str = ""

    def __post_init__(self) -> None:
        within(self, 1, 16, "critic_layers")
        if len(self.widths) != 4 or len(self.blocks) != 4:
            raise ValueError("encoder.widths and encoder.blocks: expected four numbers each")
        if self.size < 32 or self.size & (self.size - 1):
            raise ValueError(f"encoder.size is {self.size}, expected a power of 2 of 32 or more")


@dataclass(frozen=True)
class Adversarial:
    """StyleGAN2's objective, with lazy regularisation.

    r1: weight of the gradient penalty at real pictures, every `r1_every` steps. path: weight of the path length's,
    every `path_every` steps, on 1 / `path_share` of a batch, against a mean that follows by `path_decay`. mixing:
    probability that two codes make one picture. half_life: pictures after which the moving average has forgotten half;
    it is shorter at first, `ramp` times the pictures seen. clamp: bound on every layer's output, 0 for none.
    """

    rate: float = 0.002
    critic_rate: float = 0.002
    beta1: float = 0.0
    beta2: float = 0.99
    r1: float = 10.0
    r1_every: int = 16
    path: float = 2.0
    path_every: int = 4
    path_share: int = 2
    path_decay: float = 0.01
    mixing: float = 0.9
    half_life: float = 10_000.0
    ramp: float = 0.05
    group: int = 4
    clamp: float = 0.0

    def __post_init__(self) -> None:
        within(self, 0, 1, "rate", "critic_rate", "path_decay", "mixing")
        at_least(self, 0, "r1", "path", "ramp", "clamp")
        at_least(self, 1, "r1_every", "path_every", "path_share", "half_life", "group")
        decays(self, "beta1", "beta2")


@dataclass(frozen=True)
class Augmentation:
    """ADA: what the critic sees, real and made alike, is moved and coloured with a probability that is steered.

    target: the mean sign of the critic's scores of real pictures, above which the probability rises; 0 switches it off.
    pictures: after how many it may have gone from 0 to 1. start: the probability at first. most: at most.
    """

    target: float = 0.0
    pictures: float = 500_000.0
    start: float = 0.0
    most: float = 0.85

    def __post_init__(self) -> None:
        within(self, 0, 1, "target", "start", "most")
        at_least(self, 1, "pictures")


@dataclass(frozen=True)
class Inverting:
    """e4e's objective. perceptual: "lpips" (from lpips_files: alexnet-*.pth and alex.pth), or the stand-in "gradient",
    or "none". identity: ArcFace's, from identity_file (model_ir_se50.pth), or "none". adversarial: of the rows against
    the critic of codes. deltas: of the norms of what sets rows apart from the first.

    progressive_from: the step from which a second row may differ; every `progressive_every` steps one more.
    """

    rate: float = 1e-4
    critic_rate: float = 2e-5
    l2: float = 1.0
    perceptual: Choice = "lpips"
    perceptual_weight: float = 0.8
    lpips_files: tuple[str, ...] = ()
    identity: Literal["arcface", "none"] = "arcface"
    identity_weight: float = 0.1
    identity_file: str = ""
    adversarial: float = 0.1
    r1: float = 10.0
    r1_every: int = 16
    deltas: float = 2e-4
    progressive_from: int = 20_000
    progressive_every: int = 2_000

    def __post_init__(self) -> None:
        within(self, 0, 1, "rate", "critic_rate")
        at_least(self, 0, "l2", "perceptual_weight", "identity_weight", "adversarial", "r1", "deltas")
        at_least(self, 0, "progressive_from")
        at_least(self, 1, "progressive_every", "r1_every")


def _official_stages() -> tuple[Stage, ...]:
    return (Stage(GAN, steps=781_250, batch=32), Stage(E4E, steps=200_000, batch=8))


@dataclass(frozen=True)
class STITRecipe:
    """All of a recipe but `system` and `[run]`. resume_mean: the GAN stage starts from the moving average that
    `weights` of `[run]` brought (an imported ffhq.pkl, say), whose trained twin no file holds."""

    data: Data = field(default_factory=Data)
    generator: GeneratorShape = field(default_factory=GeneratorShape)
    encoder: EncoderShape = field(default_factory=EncoderShape)
    adversarial: Adversarial = field(default_factory=Adversarial)
    augmentation: Augmentation = field(default_factory=Augmentation)
    inverting: Inverting = field(default_factory=Inverting)
    resume_mean: bool = False
    stages: tuple[Stage, ...] = field(default_factory=_official_stages)

    def __post_init__(self) -> None:
        stage_names([stage.name for stage in self.stages], STAGES)
        if self.encoder.size > self.data.size:
            raise ValueError(
                f"encoder.size is {self.encoder.size}, expected at most data.size, {self.data.size}"
            )
        group = self.adversarial.group
        for stage in self.stages:
            if stage.name == GAN and stage.batch > group and stage.batch % group:
                raise ValueError(f"stage gan: batch is {stage.batch}, expected a multiple of {group}")

    def widths(self) -> tuple[int, ...]:
        """Channels at 4, 8, ... of generator and critic."""
        return widths_of(self.data.size, self.generator.channel_base, self.generator.channel_max)
