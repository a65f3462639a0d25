"""What the recipes of MaskVAE and of the parsing U-Net may say. Defaults are the paper's and the release's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trainers.maskgan.masks import Layout
from trainers.system import Stage
from trainers.typed import at_least, decays, side, stage_names, within

MASKS = "masks"
"""The one stage of both."""


@dataclass(frozen=True)
class MaskData:
    """Where pictures and label maps are, and how they are moved; officially not at all.

    layout, mode, crop: as `open_masks` takes them; mode and crop of a prepared folder, "" takes any. size: side of the
    maps. flip: share that is mirrored, classes with it. Each is turned by up to `turn` degrees, scaled by up to `zoom`
    and moved by up to `shift` of its side; what comes in repeats the border. The parser's pictures are scaled in
    brightness and each colour by up to `colour`.
    """

    folder: str = ""
    layout: Layout = "celebamask"
    mode: Literal["", "static", "dynamic"] = ""
    crop: str = ""
    size: int = 512
    flip: float = 0.0
    turn: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        within(self, 0, 1, "flip")
        within(self, 0, 0.5, "zoom", "shift", "colour")
        within(self, 0, 180, "turn")


@dataclass(frozen=True)
class Adam:
    """schedule: "constant" as published, or "cosine" from the rate to a fiftieth of it over the stage. clip: of the
    gradients' norm, 0 never. average: decay of the network's moving average, 0 keeps none."""

    rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    schedule: Literal["constant", "cosine"] = "constant"
    clip: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        within(self, 0, 1, "rate")
        at_least(self, 0, "clip")
        decays(self, "beta1", "beta2", "average")


@dataclass(frozen=True)
class VAEShape:
    """width: channels after the first halving (official ndf and ngf). latent: numbers of a mask's vector."""

    width: int = 32
    latent: int = 1024

    def __post_init__(self) -> None:
        within(self, 1, 1024, "width")
        within(self, 1, 1 << 16, "latent")


@dataclass(frozen=True)
class VAELosses:
    """divergence: lambda_kl. reduction: of the divergence over the vector's numbers, "sum" or "mean".

    The paper leaves the reduction open, and the release has no training. "sum" is the variational bound's own, and at
    1e-5 it leaves the vector in use, as the entropy is a mean over pixels.
    balance: the entropy weighs a class by its share of all pixels to the power of minus this; officially 0.
    """

    divergence: float = 1e-5
    reduction: Literal["sum", "mean"] = "sum"
    balance: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 0, "divergence")
        within(self, 0, 1, "balance")


@dataclass(frozen=True)
class MaskVAERecipe:
    """All of a MaskVAE's recipe but `system` and `[run]`. Length, batch and rate are not published for it: they are
    those of the published parser's training."""

    data: MaskData = field(default_factory=MaskData)
    mask_vae: VAEShape = field(default_factory=VAEShape)
    losses: VAELosses = field(default_factory=VAELosses)
    optimiser: Adam = field(default_factory=Adam)
    stages: tuple[Stage, ...] = field(default_factory=lambda: (Stage(MASKS, epochs=200, batch=8),))

    def __post_init__(self) -> None:
        stage_names([stage.name for stage in self.stages], (MASKS,))
        size = self.data.size
        if size < 16 or size & (size - 1):
            raise ValueError(f"data.size is {size}, expected a power of two, 16 or more")


@dataclass(frozen=True)
class ParserShape:
    """width: channels at full resolution, 64 / feature_scale."""

    width: int = 16
    norm: bool = True

    def __post_init__(self) -> None:
        within(self, 1, 1024, "width")


@dataclass(frozen=True)
class ParserRecipe:
    """All of a parser's recipe but `system` and `[run]`."""

    data: MaskData = field(default_factory=MaskData)
    parser: ParserShape = field(default_factory=ParserShape)
    optimiser: Adam = field(default_factory=Adam)
    stages: tuple[Stage, ...] = field(default_factory=lambda: (Stage(MASKS, epochs=200, batch=8),))

    def __post_init__(self) -> None:
        stage_names([stage.name for stage in self.stages], (MASKS,))
        side("data.size", self.data.size, 16)
