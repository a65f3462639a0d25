"""StyleGAN2's critic in the ada dialect, the residual one, with the official names. For training only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from trainers.stit.generator import resolutions
from trainers.stit.primitives import FIR, FullyConnected, activated, conv_resampled, setup_filter


class ConvLayer(nn.Module):
    """An equalised convolution. down: 2 halves the size. linear: without bias and activation."""

    resample_filter: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        down: int = 1,
        linear: bool = False,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.down, self.clamp, self.padding = down, clamp, size // 2
        self.weight_gain = 1 / math.sqrt(inputs * size**2)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = None if linear else nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", setup_filter(FIR))

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        weight = (self.weight * self.weight_gain).to(x.dtype)
        x = conv_resampled(x, weight, self.resample_filter, down=self.down, padding=self.padding)
        if self.bias is not None:
            return activated(x, self.bias, gain=gain, clamp=self.clamp)
        x = x * gain
        return x if self.clamp is None else x.clamp(-self.clamp * gain, self.clamp * gain)


class Block(nn.Module):
    """Halves the size, with a shortcut; the first block takes a picture."""

    resample_filter: Tensor

    def __init__(self, colours: int, width: int, outputs: int, clamp: float | None) -> None:
        super().__init__()
        self.fromrgb = ConvLayer(colours, width, 1, clamp=clamp) if colours else None
        self.conv0 = ConvLayer(width, width, 3, clamp=clamp)
        self.conv1 = ConvLayer(width, outputs, 3, down=2, clamp=clamp)
        self.skip = ConvLayer(width, outputs, 1, down=2, linear=True)
        self.register_buffer("resample_filter", setup_filter(FIR))

    def forward(self, x: Tensor) -> Tensor:
        if self.fromrgb is not None:
            x = self.fromrgb(x)
        half = math.sqrt(0.5)
        around = self.skip(x, half)
        return cast(Tensor, self.conv1(self.conv0(x), half) + around)


def with_deviation(x: Tensor, most: int = 4) -> Tensor:
    """One more channel: how much the pictures of a group differ. Groups have at most `most` pictures; picture i stands
    with i + groups, i + 2 * groups, ..."""
    batch, channels, height, width = x.shape
    group = min(most, batch)
    while batch % group:
        group -= 1
    parted = x.reshape(group, -1, channels, height, width)
    parted = parted - parted.mean(0)
    deviation = (parted.square().mean(0) + 1e-8).sqrt().mean([1, 2, 3])
    plane = deviation.reshape(-1, 1, 1, 1).repeat(group, 1, height, width)
    return torch.cat((x, plane), 1)


class Epilogue(nn.Module):
    """The last 4 x 4 pixels to one number."""

    def __init__(self, width: int, group: int, clamp: float | None) -> None:
        super().__init__()
        self.group = group
        self.conv = ConvLayer(width + 1, width, 3, clamp=clamp)
        self.fc = FullyConnected(width * 16, width, "lrelu")
        self.out = FullyConnected(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.out(self.fc(self.conv(with_deviation(x, self.group)).flatten(1))))


class Critic(nn.Module):
    """A picture (B, colours, R, R) to its score (B, 1). widths: channels at 4, 8, ..., as the generator's."""

    def __init__(
        self,
        widths: Sequence[int],
        colours: int = 3,
        conv_clamp: float | None = None,
        group: int = 4,
    ) -> None:
        super().__init__()
        sizes = resolutions(widths)
        self.sizes = sizes[:0:-1]
        if not self.sizes:
            raise ValueError("widths: expected two resolutions or more")
        for index in range(len(widths) - 1, 0, -1):
            seen = colours if index == len(widths) - 1 else 0
            self.add_module(f"b{sizes[index]}", Block(seen, widths[index], widths[index - 1], conv_clamp))
        self.b4 = Epilogue(widths[0], group, conv_clamp)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for size in self.sizes:
            x = self.get_submodule(f"b{size}")(x)
        return cast(Tensor, self.b4(x))
