"""The blocks of GeoGAN's networks, with the module indices that its state dicts are named by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

NORMS = ("instance", "batch", "layer")
"""instance: no parameters, statistics of the picture always. batch: affine, with running statistics.
layer: over the channels of each pixel, with a scale and shift per channel."""


class ChannelNorm(nn.Module):
    """Norm over the channels of each pixel: gamma * (x - mean) / (std + 1e-6) + beta, std with n - 1 below."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=1, keepdim=True)
        deviation = x.std(dim=1, keepdim=True, unbiased=True)
        return self.gamma * (x - mean) / (deviation + 1e-6) + self.beta


def norm_layer(norm: str, channels: int) -> nn.Module:
    """One of NORMS for this many channels. Raises ValueError for another name."""
    if norm == "instance":
        return nn.InstanceNorm2d(channels)
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "layer":
        return ChannelNorm(channels)
    raise ValueError(f"norm: got {norm!r}, expected one of {', '.join(NORMS)}")


class Head(nn.Module):
    """Encoder: a 7x7 convolution and `downsamples` 3x3 ones of stride 2, widths `width * 2**i`.

    forward: (B, inputs, S, S) to the downsamples + 1 activations, finest first; activation i has
    width * 2**i channels at S / 2**i.
    """

    def __init__(self, inputs: int, downsamples: int, width: int, norm: str) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, width, 7)]
        layers += [norm_layer(norm, width), nn.ReLU()]
        for level in range(downsamples):
            wide = width * 2 ** (level + 1)
            layers += [nn.Conv2d(wide // 2, wide, 3, stride=2, padding=1), norm_layer(norm, wide), nn.ReLU()]
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        activations = []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                activations.append(x)
        return activations


class ResidualBlock(nn.Module):
    """x + conv3x3(relu(conv3x3(x))), both with reflection and a norm; nothing after the sum."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm_layer(norm, channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.conv_block(x)
        return result


def meeting_block(channels: int, blocks: int, norm: str) -> nn.Sequential:
    """Where target and donor meet: conv3x3 from both (2 * channels) to `channels`, then residual blocks."""
    layers: list[nn.Module] = [
        nn.Conv2d(2 * channels, channels, 3, padding=1),
        norm_layer(norm, channels),
        nn.ReLU(),
    ]
    layers += [ResidualBlock(channels, norm) for _ in range(blocks)]
    return nn.Sequential(*layers)


class Tail(nn.Module):
    """Decoder with skips, deepest first; the bottleneck itself is joined with the deepest skip.

    sources: how many activations meet in every concat (2: this path and one skip; 3: this path, target, donor).
    forward: bottleneck (B, width * 2**n, s, s) and skips, finest first (each already the concat of its
    sources) to (B, outputs, S, S), without an activation.

    pointwise_first: run the 1x1 convolutions before the upsampling. Both are linear and upsampling keeps a constant, so
    the numbers are the same up to rounding, at a quarter of the price.
    """

    pointwise_first = False

    def __init__(self, outputs: int, upsamples: int, width: int, sources: int, norm: str) -> None:
        super().__init__()
        self.upsamples = upsamples
        for step in range(upsamples):
            wide = width * 2 ** (upsamples - step)
            layer = nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                nn.Conv2d(sources * wide, wide // 2, 1),
                nn.ReflectionPad2d(1),
                nn.Conv2d(wide // 2, wide // 2, 3),
                norm_layer(norm, wide // 2),
                nn.ReLU(),
            )
            self.add_module(f"layer_{step}", layer)
        self.output = nn.Sequential(nn.Conv2d(sources * width, outputs, 7, padding=3))

    def step(self, index: int) -> nn.Sequential:
        """The layers of one upsampling step."""
        layer = self.get_submodule(f"layer_{index}")
        assert isinstance(layer, nn.Sequential)
        return layer

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        for index in range(self.upsamples):
            x = torch.cat((x, skips[self.upsamples - index]), dim=1)
            layers = list(self.step(index))
            if self.pointwise_first:
                layers[:2] = layers[1], layers[0]
            for layer in layers:
                x = layer(x)
        result: Tensor = self.output(torch.cat((x, skips[0]), dim=1))
        return result


def paired(target: Sequence[Tensor], donor: Sequence[Tensor]) -> list[Tensor]:
    """The skips of both pictures, joined level by level, the target's channels first."""
    return [torch.cat(both, dim=1) for both in zip(target, donor)]


def identity_grid(size: int) -> Tensor:
    """float32 (1, 2, size, size): channel 0 = x along columns, 1 = y along rows, -1 and 1 at the CENTRES of the
    border pixels (step 2 / (size - 1))."""
    line = torch.linspace(-1.0, 1.0, size, dtype=torch.float64).float()
    return torch.stack((line[None, :].expand(size, size), line[:, None].expand(size, size)))[
        None
    ].contiguous()


def sample(image: Tensor, points: Tensor) -> Tensor:
    """`image` (B, C, H, W) looked up at `points` (B, 2, h, w), x and y in -1..1 over pixel centres.

    Convention: bilinear, zeros outside, align_corners=True, in float32 whatever the network runs in.
    """
    grid = points.float().permute(0, 2, 3, 1)
    found = functional.grid_sample(
        image.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return found.to(image.dtype)
