"""IR-SE: the residual backbone with squeeze and excitation under e4e and under ArcFace, with the official names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)
BLOCKS = (3, 4, 14, 3)
"""Of the official 50 layers: per stage, of which each begins with a stride of 2."""

_REDUCTION = 16


class SEModule(nn.Module):
    """Channels weighed by what all of the picture says of them. The bottleneck has channels // 16, at least 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // _REDUCTION)
        self.fc1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.fc2 = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class BottleneckIRSE(nn.Module):
    """Two 3x3 convolutions around a PReLU; the second one strides. A stage that keeps its width has a shortcut of every
    `stride`-th pixel."""

    def __init__(self, in_channel: int, depth: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if in_channel != depth:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channel, depth, 1, stride, bias=False), nn.BatchNorm2d(depth)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channel),
            nn.Conv2d(in_channel, depth, 3, 1, 1, bias=False),
            nn.PReLU(depth),
            nn.Conv2d(depth, depth, 3, stride, 1, bias=False),
            nn.BatchNorm2d(depth),
            SEModule(depth),
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.res_layer(x) + self.shortcut_layer(x))


def input_layer(width: int) -> nn.Sequential:
    """A picture (B, 3, H, W) to the first stage's channels, at full size."""
    return nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width))


def body(widths: Sequence[int] = WIDTHS, blocks: Sequence[int] = BLOCKS) -> nn.Sequential:
    """All bottlenecks in one row, as the official checkpoints number them."""
    if len(widths) != len(blocks) or min(*widths, *blocks) < 1:
        raise ValueError(
            f"got widths {tuple(widths)} and blocks {tuple(blocks)}, expected one of each per stage"
        )
    made: list[nn.Module] = []
    before = widths[0]
    for width, count in zip(widths, blocks):
        made.append(BottleneckIRSE(before, width, 2))
        made += [BottleneckIRSE(width, width, 1) for _ in range(count - 1)]
        before = width
    return nn.Sequential(*made)
