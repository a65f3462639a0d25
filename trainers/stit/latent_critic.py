"""e4e's critic of codes: whether a row looks like one of the mapping network's. For training only."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class LatentCodesDiscriminator(nn.Module):
    """w (N, style_dim) to its score (N, 1)."""

    def __init__(self, style_dim: int = 512, n_mlp: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(n_mlp - 1):
            layers += [nn.Linear(style_dim, style_dim), nn.LeakyReLU(0.2)]
        self.mlp = nn.Sequential(*layers, nn.Linear(style_dim, 1))

    def forward(self, w: Tensor) -> Tensor:
        return cast(Tensor, self.mlp(w))
