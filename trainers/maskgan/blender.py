"""MaskGAN's alpha blender: two pictures, and how much of the first shows where."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.maskgan.blocks import WIDENING, ResidualBlock, falling, rising


class AlphaBlender(nn.Module):
    """Official class `BlendGenerator`: alpha (B, 3, H, W) in 0..1, one per colour, of two pictures.

    width: channels at full resolution (official ngf). Sides are multiples of 2**downsamples.
    """

    def __init__(self, width: int = 32, downsamples: int = 3, blocks: int = 3) -> None:
        super().__init__()
        deepest = width * WIDENING**downsamples
        self.model = nn.Sequential(
            *falling(6, width, downsamples),
            *(ResidualBlock(deepest) for _ in range(blocks)),
            *rising(deepest, downsamples, 3),
            nn.Sigmoid(),
        )

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """first, second: (B, 3, H, W) in -1..1, in training those of the inner and of the outer mask. Gives
        alpha * first + (1 - alpha) * second, and alpha."""
        alpha: Tensor = self.model(torch.cat((first, second), dim=1))
        return first * alpha + second * (1 - alpha), alpha
