"""MaskGAN's generator, the Dense Mapping Network: a picture from a layout, in the style of a reference."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainers.maskgan.blocks import WIDENING, AdaptiveResidualBlock, ConvBlock, falling, rising
from trainers.maskgan.labels import CLASSES

STYLE_WIDTH = 64
"""Channels of the label encoder's maps, which condition the style encoder."""

_START = 0.02


class Style(NamedTuple):
    """What a reference gives to the backbone: factor and offset of every AdaIN layer, (B, layers, C) each."""

    gamma: Tensor
    beta: Tensor


class SpatialFeatureTransform(nn.Module):
    """x * scale + shift, both of them two 1x1 convolutions of a condition of the same size (not x * (1 + scale))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for role in ("scale", "shift"):
            for k in (1, 2):
                self.add_module(f"SFT_{role}_conv{k}", nn.Conv2d(width, width, 1))
        self.leaky = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return x * self._of(condition, "scale") + self._of(condition, "shift")

    def _of(self, condition: Tensor, role: str) -> Tensor:
        first, second = (self.get_submodule(f"SFT_{role}_conv{k}") for k in (1, 2))
        found: Tensor = second(self.leaky(first(condition)))
        return found


def _opening(inputs: int, *, active: bool) -> nn.Sequential:
    """From full resolution to a quarter of it. active: whether a ReLU ends it."""
    width = STYLE_WIDTH
    return nn.Sequential(
        ConvBlock(inputs, width // 4, 7, padding=3),
        ConvBlock(width // 4, width // 2, 4, stride=2),
        ConvBlock(width // 2, width, 4, stride=2, active=active),
    )


def _halvings(count: int) -> list[nn.Module]:
    return [ConvBlock(STYLE_WIDTH, STYLE_WIDTH, 4, stride=2) for _ in range(count)]


class LabelEncoder(nn.Module):
    """One-hot planes to maps at 1/4 and 1/32 of the side, (B, 64, ...) each, both before their ReLU."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = _opening(classes, active=False)
        last = ConvBlock(STYLE_WIDTH, STYLE_WIDTH, 4, stride=2, active=False)
        self.model_last = nn.Sequential(nn.ReLU(), *_halvings(2), last)

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        first = self.model(planes)
        return first, self.model_last(first)


class GlobalMean(nn.Module):
    """The mean of every channel. The adaptive pool of the official code is exported as a reshape to one row,
    which mixes the entries of a batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


class StyleEncoder(nn.Module):
    """A picture (B, 3, H, W) and the label encoder's two maps to `numbers` style numbers, (B, numbers, 1, 1).

    In module order of the AdaIN layers; of each, first all of beta (official bias), then all of gamma (weight).
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.model = _opening(3, active=True)
        self.model_middle = nn.Sequential(*_halvings(3))
        self.model_last = nn.Sequential(GlobalMean(), nn.Conv2d(STYLE_WIDTH, numbers, 1))
        self.sft1 = SpatialFeatureTransform(STYLE_WIDTH)
        self.sft2 = SpatialFeatureTransform(STYLE_WIDTH)

    def forward(self, image: Tensor, first: Tensor, second: Tensor) -> Tensor:
        x = self.sft1(self.model(image), first)
        numbers: Tensor = self.model_last(self.sft2(self.model_middle(x), second))
        return numbers


class DenseMappingNetwork(nn.Module):
    """The generator, official class `GlobalGenerator`, for pictures whose sides are multiples of 32, at least 64.

    classes: planes of a layout. width: channels at full resolution (official ngf). blocks: residual blocks at the
    bottom, each with two AdaIN layers. All norms are instance norms without parameters.
    """

    def __init__(
        self, classes: int = CLASSES, width: int = 64, downsamples: int = 4, blocks: int = 4
    ) -> None:
        super().__init__()
        if min(classes, width, downsamples, blocks) < 1:
            raise ValueError(
                f"classes, width, downsamples, blocks: got {classes}, {width}, {downsamples}, {blocks}, expected 1 or "
                "more of each"
            )
        self.classes, self.downsamples = classes, downsamples
        self.deepest = width * WIDENING**downsamples
        self.layers = AdaptiveResidualBlock.LAYERS * blocks
        self.model = nn.Sequential(
            *falling(classes, width, downsamples),
            *(AdaptiveResidualBlock(self.deepest) for _ in range(blocks)),
            *rising(self.deepest, downsamples, 3),
            nn.Tanh(),
        )
        self.enc_style = StyleEncoder(2 * self.layers * self.deepest)
        self.enc_label = LabelEncoder(classes)

    def style(self, planes: Tensor, image: Tensor) -> Style:
        """The style of a picture (B, 3, H, W) in -1..1 whose one-hot layout is `planes` (B, classes, H, W)."""
        return self.split(self.enc_style(image, *self.enc_label(planes)))

    def split(self, numbers: Tensor) -> Style:
        """The style encoder's numbers, by layer."""
        by_layer = numbers.reshape(numbers.shape[0], self.layers, 2, self.deepest)
        return Style(by_layer[:, :, 1], by_layer[:, :, 0])

    def draw(self, planes: Tensor, style: Style) -> Tensor:
        """The backbone: one-hot planes of the wanted layout and a style to a picture (B, 3, H, W) in -1..1."""
        x, layer = planes, 0
        for module in self.model:
            if isinstance(module, AdaptiveResidualBlock):
                own = slice(layer, layer + module.LAYERS)
                x, layer = module(x, style.gamma[:, own], style.beta[:, own]), own.stop
            else:
                x = module(x)
        return x

    def forward(self, planes: Tensor, reference_planes: Tensor, reference: Tensor) -> Tensor:
        """A picture of the layout `planes`, in the style of `reference`, whose own layout is `reference_planes`."""
        return self.draw(planes, self.style(reference_planes, reference))


def start(*networks: nn.Module) -> None:
    """Where training starts: convolutions from a normal distribution of deviation 0.02, as pix2pixHD, from which the
    release comes, starts G and D; biases as torch draws them, but gamma's, which is 1, so that every AdaIN layer starts
    near a plain instance norm. The release says neither."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, 0.0, _START)
            if isinstance(module, DenseMappingNetwork):
                bias = module.enc_style.model_last.get_parameter("1.bias")
                with torch.no_grad():
                    module.split(bias[None]).gamma.fill_(1.0)
