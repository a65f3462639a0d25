"""What a GeoGAN recipe may say. Defaults are the published command's, on CelebA."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trainers.faces import AU_NAMES
from trainers.geogan.blocks import NORMS
from trainers.system import Stage
from trainers.typed import at_least, decays, side, stage_names, within

SUPERVISED, REMOVAL, MIXED, ADVERSARIAL = "supervised", "removal", "mixed", "adversarial"
STAGES = (SUPERVISED, REMOVAL, MIXED, ADVERSARIAL)
"""supervised: a warm start on pairs that have a wanted picture, without critic and cycle. removal: the same of the
removal network alone. mixed: both objectives in one step, on pairs of both kinds. adversarial: the paper's objective on
unpaired pictures."""
WITH_CRITIC = (MIXED, ADVERSARIAL)


@dataclass(frozen=True)
class Data:
    """Where the pictures are, and how they meet.

    layout: "prepared" (features.csv of `marotte prepare`), "celeba" or "celeba-hq" (the official folders). mode, crop:
    what a prepared folder has to be; labels: its AUs as measured, or as asked for. size: side of the pictures.
    target_lacks: a target lacks the attribute that is drawn, or every attribute of the recipe. pairing: "random" draws
    the target anew each time; "fixed" is the official one, the i-th picture with the attribute and the i-th without it,
    for the whole training.
    """

    folder: str = ""
    layout: Literal["prepared", "celeba", "celeba-hq"] = "prepared"
    mode: Literal["static", "dynamic"] = "static"
    crop: str = "face"
    labels: Literal["measured", "asked"] = "measured"
    size: int = 128
    target_lacks: Literal["drawn", "every"] = "drawn"
    pairing: Literal["random", "fixed"] = "random"


@dataclass(frozen=True)
class Attribute:
    """One attribute: a column of CelebA by its name there, or AUs of a prepared folder.

    aus: their largest value is looked at. A picture with `present` or more has the attribute, one with `absent` or less
    lacks it, one in between is not used for it. For CelebA both thresholds are left alone.
    """

    name: str
    aus: tuple[str, ...] = ()
    present: float = 0.5
    absent: float = 0.2

    def __post_init__(self) -> None:
        for au in self.aus:
            if au not in AU_NAMES:
                raise ValueError(f"attribute {self.name!r}: {au!r} is no AU, expected names such as AU12")
        if not 0.0 <= self.absent < self.present <= 1.0:
            raise ValueError(
                f"attribute {self.name!r}: absent is {self.absent} and present {self.present}, expected "
                "0 <= absent < present <= 1"
            )


@dataclass(frozen=True)
class Shares:
    """How supervised pairs are drawn. own: the donor is the wanted picture itself (which augmentation then moves and
    colours), else another person's with a similar lower face. any_target: the target is any other expression of the
    person, not one that lacks the attributes. unpaired: in the mixed stage, pairs without a wanted picture."""

    own: float = 0.35
    any_target: float = 0.3
    unpaired: float = 0.5


@dataclass(frozen=True)
class GeneratorShape:
    """width: channels at full resolution (official ngf). blocks: residual blocks at the bottleneck."""

    width: int = 16
    downsamples: int = 3
    blocks: int = 3
    norm: Literal["instance", "batch", "layer"] = "instance"
    only_residual: bool = False

    def __post_init__(self) -> None:
        within(self, 1, 1024, "width")
        within(self, 1, 8, "downsamples")
        within(self, 0, 64, "blocks")


@dataclass(frozen=True)
class CriticShape:
    """width: channels of the first layer (official ndf)."""

    width: int = 64
    layers: int = 3
    scales: int = 3
    norm: Literal["instance", "batch", "layer"] = "instance"

    def __post_init__(self) -> None:
        within(self, 1, 1024, "width")
        within(self, 1, 8, "layers", "scales")


@dataclass(frozen=True)
class Refinement:
    """The weight w of refinement. "official": min(weight, 0.1 * max(epoch - 10, 0)); "constant": weight always."""

    weight: float = 0.1
    schedule: Literal["official", "constant"] = "official"


@dataclass(frozen=True)
class Start:
    """Biases that the decoders start from. mask: of the sigmoid's input (0: half donor everywhere; -2: 12 %).
    flow, residual: spread of the last weights of the flow's decoder and of those of refinement and removal; 0 starts
    from the identity, from no change; None: as all other weights."""

    mask: float = 0.0
    flow: float | None = None
    residual: float | None = None


@dataclass(frozen=True)
class Losses:
    """Weights, and the named choices where ours differs from the official code.

    mask_of: "warped_back" (official: the masks sampled at identity - flow) or "blending" (the masks themselves).
    landmark_scale: "official" (256 at any size) or "size" (the side of the pictures; the same at 256).
    landmark_goal: where the flow shall look for the target's landmarks.
        "donor": at the donor's own landmarks, as in the paper. Right for what has no shape of its own (a beard, a
        colour); of a smile or an open mouth it wants the opposite of the attribute, because it pulls the donor's mouth
        back into the shape of the target's.
        "outside": the same, but landmarks of the attributes' own region (mouth and jaw) are left out.
        "wanted": landmarks of the region stand where the wanted result has them: as in the wanted picture where there
        is one, else the donor's, brought to the target by the similarity that fits brows, eyes and nose.
    supervised: L1 to the wanted picture, for pairs that have one, and of removal to the target without the attribute.
    supervised_change: additional L1 where wanted and target differ, as a mean over those pixels alone.
    mask_goal: binary cross entropy of the mask to a goal, for pairs that have a wanted picture.
    mask_goal_of: "changed" (where wanted and target differ) or "mouth" (the ellipse of `regions.removal_mask` around
        the wanted mouth: all of the attribute's region is taken from the donor, so that no second mouth shows through).
    """

    adversarial: float = 1.0
    attribute: float = 0.2
    reconstruction: float = 5.0
    mask: float = 0.1
    mask_of: Literal["warped_back", "blending"] = "warped_back"
    flow: float = 1.0
    landmark: float = 10.0
    landmark_scale: Literal["official", "size"] = "official"
    landmark_goal: Literal["donor", "outside", "wanted"] = "donor"
    supervised: float = 0.0
    supervised_change: float = 0.0
    mask_goal: float = 0.0
    mask_goal_of: Literal["changed", "mouth"] = "changed"


@dataclass(frozen=True)
class Augmentation:
    """Of every pair, drawn per step. flip: probability, target and donor alike. The donor alone is turned by up to
    `turn` degrees, scaled by up to `zoom`, moved by up to `shift` of its side, and its colours are scaled by up to
    `colour`; target (and wanted) together by `target` times as much turn, zoom and shift. Officially none."""

    flip: float = 0.0
    turn: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    colour: float = 0.0
    target: float = 0.0


@dataclass(frozen=True)
class Optimiser:
    """Adam for both. Every `decay_epochs` the rates are multiplied by these factors; 0: a cosine over the stage.

    output: factor on the rate of the decoders' last convolutions. They sum over 49 * (2 or 3) * width inputs, so one
    step of Adam may move their result by rate * that number: at rates above the official one it drowns the flow.
    with_critic: factor on the generator's rate in stages that have a critic, after a warm start.
    clip: of the joint norm of gradients, 0 never. average: decay of the generator's moving average, 0 keeps none.
    """

    rate: float = 1e-4
    critic_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    decay_epochs: int = 20
    generator_decay: float = 0.4
    critic_decay: float = 0.2
    output: float = 1.0
    with_critic: float = 1.0
    clip: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        within(self, 0, 1, "rate", "critic_rate")
        within(self, 0, 1_000_000, "decay_epochs")
        at_least(self, 0, "clip")
        decays(self, "beta1", "beta2", "average")


def _official_stages() -> tuple[Stage, ...]:
    return (Stage(ADVERSARIAL, epochs=100, batch=24),)


@dataclass(frozen=True)
class GeoGANRecipe:
    """All of a recipe but `system` and `[run]`. removal_every: in the supervised stage the removal network, which needs
    fewer steps than flow and mask, is trained in one step of so many."""

    attributes: tuple[Attribute, ...]
    data: Data = field(default_factory=Data)
    shares: Shares = field(default_factory=Shares)
    generator: GeneratorShape = field(default_factory=GeneratorShape)
    critic: CriticShape = field(default_factory=CriticShape)
    refinement: Refinement = field(default_factory=Refinement)
    start: Start = field(default_factory=Start)
    losses: Losses = field(default_factory=Losses)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimiser: Optimiser = field(default_factory=Optimiser)
    removal_every: int = 1
    stages: tuple[Stage, ...] = field(default_factory=_official_stages)

    def __post_init__(self) -> None:
        if not self.attributes:
            raise ValueError("attributes: none are named, expected one or more [[attributes]]")
        at_least(self, 1, "removal_every")
        names = [attribute.name for attribute in self.attributes]
        if len(set(names)) != len(names):
            raise ValueError(f"attributes: a name stands twice in {', '.join(names)}")
        stage_names([stage.name for stage in self.stages], STAGES)
        if any(norm not in NORMS for norm in (self.generator.norm, self.critic.norm)):
            raise ValueError(f"norm: expected one of {', '.join(NORMS)}")
        side("data.size", self.data.size, 2**self.generator.downsamples)
        if self.data.layout == "prepared" and not all(attribute.aus for attribute in self.attributes):
            raise ValueError("attributes: each needs its aus where the data is a prepared folder")
        if self.losses.supervised == 0 and any(stage.name != ADVERSARIAL for stage in self.stages):
            raise ValueError("losses.supervised is 0, but a stage needs it; expected a weight above 0")
