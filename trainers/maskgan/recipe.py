"""What a MaskGAN recipe may say. Defaults are the release's and the paper's, on CelebAMask-HQ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trainers.perceptual import Choice
from trainers.system import Stage
from trainers.typed import at_least, decays, side, stage_names, within

MAPPING, EDITING = "mapping", "editing"
STAGES = (MAPPING, EDITING)
"""mapping: the Dense Mapping Network alone, on the masks that belong to the pictures. editing: Editing Behaviour
Simulated Training, which in every step does the same and then blends the pictures of an inner and an outer mask."""

SMALLEST, MULTIPLE = 64, 32
"""Of the side: the label encoder halves it five times, and its last maps are padded by reflection."""


@dataclass(frozen=True)
class Data:
    """Where the pictures and their label maps are.

    layout: "prepared" (a folder of `marotte prepare`, whose maps are drawn from landmarks), "celebamask" (the official
    CelebAMask-HQ, whose part masks are merged) or "maskgan" (the official program's train_img, train_label and the two
    folders of interpolated masks). mode, crop: what a prepared folder has to be; "" takes any. expressions: share of
    the samples of a prepared folder whose style comes from another picture of the same person and base, so that the
    layout is the only thing that says the expression; officially the style is always the picture's own. closed: share
    of the samples whose picture is replaced by that of the same person and base which shows the least of its eyes: shut
    eyes are rare. recolour: how far the colours of a sample, its style's with them, and those of its hair once more
    stray, standard deviation in -1..1: a few people have few colours. flip: share that is mirrored, left and right
    classes with it; officially none of the four.
    """

    folder: str = ""
    layout: Literal["prepared", "celebamask", "maskgan"] = "celebamask"
    mode: Literal["", "static", "dynamic"] = ""
    crop: str = ""
    size: int = 512
    expressions: float = 0.0
    closed: float = 0.0
    recolour: float = 0.0
    flip: float = 0.0

    def __post_init__(self) -> None:
        within(self, 0, 1, "expressions", "closed", "recolour", "flip")


@dataclass(frozen=True)
class GeneratorShape:
    """width: channels at full resolution (official ngf)."""

    width: int = 64
    downsamples: int = 4
    blocks: int = 4

    def __post_init__(self) -> None:
        within(self, 1, 1024, "width")
        within(self, 1, 5, "downsamples")
        within(self, 1, 64, "blocks")


@dataclass(frozen=True)
class BlenderShape:
    """width: channels at full resolution (official ngf)."""

    width: int = 32
    downsamples: int = 3
    blocks: int = 3

    def __post_init__(self) -> None:
        within(self, 1, 1024, "width")
        within(self, 1, 5, "downsamples")
        within(self, 0, 64, "blocks")


@dataclass(frozen=True)
class CriticShape:
    """width: channels of the first layer (official ndf)."""

    width: int = 64
    layers: int = 3
    scales: int = 2

    def __post_init__(self) -> None:
        within(self, 1, 1024, "width")
        within(self, 1, 6, "layers")
        within(self, 1, 4, "scales")


@dataclass(frozen=True)
class Companions:
    """Checkpoints of networks that are trained by themselves and come along unchanged, into the checkpoints of this
    training, too. mask_vae: needed where masks are interpolated on the fly. parser: only comes along, for live use."""

    mask_vae: str = ""
    parser: str = ""


@dataclass(frozen=True)
class Interpolation:
    """Where the masks of the editing stage come from.

    source: "mask_vae" computes them in every step, between the picture's mask and another person's; "folders" reads the
    official precomputed ones, which only the layout "maskgan" has. strength: z_t plus or minus 1 / strength of the
    way to the other mask (lambda_inter and lambda_outer of the paper).
    """

    source: Literal["mask_vae", "folders"] = "mask_vae"
    strength: float = 2.5

    def __post_init__(self) -> None:
        at_least(self, 1.0, "strength")


@dataclass(frozen=True)
class Losses:
    """Weights. features, perceptual_weight: lambda_feat and lambda_percept. perceptual: which distance; vgg19: file of
    its weights. reconstruction: L1 to the picture where the mask is its own; officially none. parts: how many times
    more of it the pixels of eyes, brows, lips and mouth cost, in the layout or in that of the style: an eye that shuts
    is in the latter alone. colours: L1 between the mean colours of every part, which a sum over pixels hardly feels;
    officially none. critic: factor on the sum of the critic's real and fake terms; the release has no loop, pix2pixHD,
    from which it comes, takes half."""

    adversarial: float = 1.0
    features: float = 10.0
    perceptual: Choice = "vgg19"
    perceptual_weight: float = 10.0
    vgg19: str = ""
    reconstruction: float = 0.0
    parts: float = 0.0
    colours: float = 0.0
    critic: float = 0.5

    def __post_init__(self) -> None:
        weights = (
            "adversarial",
            "features",
            "perceptual_weight",
            "reconstruction",
            "parts",
            "colours",
            "critic",
        )
        at_least(self, 0.0, *weights)


@dataclass(frozen=True)
class Optimiser:
    """Adam for G, for D, and for G and B together. The rates stay for `constant` epochs of a stage and then fall
    linearly to nothing over `falling` epochs; 0 of both: a cosine over the stage.

    clip: of the joint norm of gradients, 0 never. average: decay of the generator's moving average, 0 keeps none.
    """

    rate: float = 5e-5
    critic_rate: float = 5e-5
    beta1: float = 0.5
    beta2: float = 0.999
    constant: float = 100.0
    falling: float = 100.0
    clip: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        within(self, 0, 1, "rate", "critic_rate")
        at_least(self, 0, "constant", "falling", "clip")
        decays(self, "beta1", "beta2", "average")


def _official_stages() -> tuple[Stage, ...]:
    return (Stage(EDITING, epochs=200, batch=8),)


@dataclass(frozen=True)
class MaskGANRecipe:
    """All of a recipe but `system` and `[run]`."""

    data: Data = field(default_factory=Data)
    generator: GeneratorShape = field(default_factory=GeneratorShape)
    blender: BlenderShape = field(default_factory=BlenderShape)
    critic: CriticShape = field(default_factory=CriticShape)
    companions: Companions = field(default_factory=Companions)
    interpolation: Interpolation = field(default_factory=Interpolation)
    losses: Losses = field(default_factory=Losses)
    optimiser: Optimiser = field(default_factory=Optimiser)
    stages: tuple[Stage, ...] = field(default_factory=_official_stages)

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        stage_names(names, STAGES)
        side("data.size", self.data.size, MULTIPLE)
        at_least(self.data, SMALLEST, "size")
        for share in ("expressions", "closed"):
            if self.data.layout != "prepared" and getattr(self.data, share):
                raise ValueError(
                    f'data.{share}: only a folder of layout "prepared" has several of one person'
                )
        if EDITING not in names:
            return
        if self.interpolation.source == "mask_vae" and not self.companions.mask_vae:
            raise ValueError(
                "the editing stage needs companions.mask_vae, a checkpoint of a MaskVAE; train one, or read "
                'precomputed masks by interpolation.source = "folders"'
            )
        if self.interpolation.source == "folders" and self.data.layout != "maskgan":
            raise ValueError('interpolation.source = "folders" needs data.layout = "maskgan"')
