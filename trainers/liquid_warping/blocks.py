"""The convolutional parts of the generators, with the module indices that official files name them by.

Zero padding everywhere, no spectral norm, no running statistics. Pictures are in -1..1; masks are 1 where the
BACKGROUND is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + conv3x3(relu(conv3x3(x))); normed: an instance norm behind either convolution. Nothing after the sum."""

    def __init__(self, channels: int, normed: bool = False) -> None:
        super().__init__()
        first: list[nn.Module] = [nn.Conv2d(channels, channels, 3, padding=1)]
        second: list[nn.Module] = [nn.Conv2d(channels, channels, 3, padding=1)]
        if normed:
            first.append(nn.InstanceNorm2d(channels))
            second.append(nn.InstanceNorm2d(channels))
        self.main = nn.Sequential(*first, nn.ReLU(), *second)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.main(x)
        return result


class ResNetInpaintor(nn.Module):
    """The background network: a picture without the person, and where it is known, to the whole background.

    forward: (B, inputs, H, W), RGB times the mask, then the mask (1 = background), to RGB (B, 3, H, W) in -1..1.
    H and W are multiples of 2**(len(widths) - 1).
    """

    def __init__(
        self, inputs: int = 4, widths: Sequence[int] = (64, 128, 128, 256), residual_blocks: int = 6
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, widths[0], 7, padding=3),
            nn.InstanceNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for narrow, wide in pairwise(widths):
            layers += [
                nn.Conv2d(narrow, wide, 3, stride=2, padding=1),
                nn.InstanceNorm2d(wide),
                nn.ReLU(),
            ]
        layers += [ResidualBlock(widths[-1], normed=True) for _ in range(residual_blocks)]
        upwards = tuple(reversed(widths))
        for wide, narrow in pairwise(upwards):
            layers += [
                nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False),
                nn.InstanceNorm2d(narrow),
                nn.ReLU(),
            ]
        layers += [nn.Conv2d(widths[0], 3, 7, padding=3, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.main(x)
        return result


class Encoder(nn.Module):
    """Halvings by 3x3 convolutions of stride 2 with ReLU; forward gives every level, finest first."""

    def __init__(self, inputs: int, widths: Sequence[int], bias: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(inner, outer, 3, stride=2, padding=1, bias=bias), nn.ReLU())
                for inner, outer in zip((inputs, *widths), widths)
            )
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = []
        for layer in self.layers:
            x = layer(x)
            levels.append(x)
        return levels


def _doubling(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1), nn.ReLU())


class Decoder(nn.Module):
    """Doublings over the reversed widths; the first one keeps the channel count."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        upwards = tuple(reversed(widths))
        self.layers = nn.Sequential(
            *(_doubling(inner, outer) for inner, outer in zip((upwards[0], *upwards), upwards))
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


class SkipDecoder(nn.Module):
    """As Decoder, joined with the encoder after every doubling but the last: full resolution has no skip.

    forward: the deepest map, and the encoder's levels, finest first.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        upwards = tuple(reversed(widths))
        self.skippers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(wide + skip, wide, 3, padding=1), nn.ReLU())
                for wide, skip in pairwise(upwards)
            )
        )
        self.upconvs = nn.Sequential(
            *(_doubling(inner, outer) for inner, outer in zip((upwards[0], *upwards), upwards))
        )

    def forward(self, x: Tensor, levels: Sequence[Tensor]) -> Tensor:
        skips = list(reversed(levels[:-1]))
        for place, doubling in enumerate(self.upconvs):
            x = doubling(x)
            if place < len(skips):
                x = self.skippers[place](torch.cat((skips[place], x), dim=1))
        return x


def image_head(channels: int) -> nn.Sequential:
    """Colours in -1..1."""
    return nn.Sequential(nn.Conv2d(channels, 3, 5, padding=2, bias=False), nn.Tanh())


def mask_head(channels: int) -> nn.Sequential:
    """A mask in 0..1, 1 = background."""
    return nn.Sequential(nn.Conv2d(channels, 1, 5, padding=2, bias=False), nn.Sigmoid())


class AutoEncoder(nn.Module):
    """Encoder, residual blocks, decoder and both heads: the source stream, and the whole of the simpler variants."""

    def __init__(
        self, inputs: int = 6, widths: Sequence[int] = (64, 128, 256), residual_blocks: int = 6
    ) -> None:
        super().__init__()
        self.encoders = Encoder(inputs, widths)
        self.res_blocks = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(residual_blocks)))
        self.decoders = Decoder(widths)
        self.img_reg = image_head(widths[0])
        self.att_reg = mask_head(widths[0])

    def encode(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Every level of the encoder, finest first, and what every residual block gives."""
        levels, deep = self.encoders(x), []
        x = levels[-1]
        for block in self.res_blocks:
            x = block(x)
            deep.append(x)
        return levels, deep

    def decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Image and mask of the deepest map."""
        x = self.decoders(x)
        return self.img_reg(x), self.att_reg(x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode(self.res_blocks(self.encoders(x)[-1]))
