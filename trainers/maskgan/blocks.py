"""Layers that MaskGAN's networks share, under their official names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDENING = 2
"""Every halving doubles the channels."""


class ConvBlock(nn.Module):
    """Reflect padding, a convolution, and what follows it: an instance norm without parameters, a ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 1,
        norm: bool = False,
        active: bool = True,
    ) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d(padding)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride)
        self.norm = nn.InstanceNorm2d(outputs) if norm else nn.Identity()
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(self.pad(x)))
        return torch.relu(y) if self.active else y


class AdaptiveConvBlock(nn.Module):
    """Reflect padding, a 3x3 convolution, and AdaIN: an instance norm times gamma plus beta, for each entry its own.

    The official code calls a batch norm in training mode on a view of (1, B * C, H, W), which is the same sum; but
    exporters have dropped its training mode without a word and used the dummy statistics that it registers.
    """

    def __init__(self, width: int, *, active: bool) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d(1)
        self.conv = nn.Conv2d(width, width, 3)
        self.norm = nn.InstanceNorm2d(width)
        self.active = active

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """gamma, beta: (B, C)."""
        y: Tensor = self.norm(self.conv(self.pad(x))) * gamma[:, :, None, None] + beta[:, :, None, None]
        return torch.relu(y) if self.active else y


class ResidualBlock(nn.Module):
    """Two convolutions with instance norms, plus what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            ConvBlock(width, width, 3, norm=True), ConvBlock(width, width, 3, norm=True, active=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv_block(x)
        return y


class AdaptiveResidualBlock(nn.Module):
    """Two convolutions with AdaIN, plus what came in."""

    LAYERS = 2
    """AdaIN layers of one block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.ModuleList(
            (AdaptiveConvBlock(width, active=True), AdaptiveConvBlock(width, active=False))
        )

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """gamma, beta: (B, 2, C)."""
        y = x
        for k, layer in enumerate(self.conv_block):
            y = layer(y, gamma[:, k], beta[:, k])
        return x + y


def falling(inputs: int, width: int, downsamples: int) -> list[nn.Module]:
    """Reflect padding, a 7x7 convolution, and halvings by 3x3 convolutions of stride 2."""
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, width, 7), *_normed(width)]
    for _ in range(downsamples):
        layers += [nn.Conv2d(width, WIDENING * width, 3, stride=2, padding=1), *_normed(WIDENING * width)]
        width *= WIDENING
    return layers


def rising(width: int, downsamples: int, outputs: int) -> list[nn.Module]:
    """The way back up: transposed 3x3 convolutions of stride 2, and a 7x7 one. width: channels at the bottom."""
    layers: list[nn.Module] = []
    for _ in range(downsamples):
        narrow = width // WIDENING
        layers += [
            nn.ConvTranspose2d(width, narrow, 3, stride=2, padding=1, output_padding=1),
            *_normed(narrow),
        ]
        width = narrow
    return [*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7)]


def _normed(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(width), nn.ReLU()
