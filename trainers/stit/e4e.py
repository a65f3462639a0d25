"""e4e (Tov et al., SIGGRAPH 2021): an encoder whose first head gives one code w, and every other head a change of one
row of it.

The official names of the pSp wrapper's `encoder.*`. A picture is RGB (B, 3, S, S) in [-1, 1]; officially S is 256.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.stit.irse import BLOCKS, WIDTHS, body, input_layer
from trainers.stit.primitives import EqualLinear

COARSE, MIDDLE = 3, 7
"""Rows before COARSE are read from the coarsest features, rows before MIDDLE from the next ones, all others from the
finest."""

_SLOPE = 0.01


def share_of(row: int) -> int:
    """How often the features that a row is read from are smaller than the picture."""
    return 16 if row < COARSE else 8 if row < MIDDLE else 4


class GradualStyleBlock(nn.Module):
    """Features (B, in_c, spatial, spatial) to one row (B, out_c), halved until one pixel is left."""

    def __init__(self, in_c: int, out_c: int, spatial: int) -> None:
        super().__init__()
        halvings = int(spatial).bit_length() - 1
        if halvings < 1 or 2**halvings != spatial:
            raise ValueError(f"spatial is {spatial}, expected a power of 2 of 2 or more")
        layers: list[nn.Module] = []
        for index in range(halvings):
            layers += [nn.Conv2d(in_c if index == 0 else out_c, out_c, 3, 2, 1), nn.LeakyReLU(_SLOPE)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(out_c, out_c)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.linear(self.convs(x).flatten(1)))


def upsample_add(x: Tensor, y: Tensor) -> Tensor:
    """x at the size of y, plus y."""
    return functional.interpolate(x, size=y.shape[2:], mode="bilinear", align_corners=True) + y


class Encoder4Editing(nn.Module):
    """forward(image (B, 3, size, size), stage) -> (B, rows, style_dim), to which the mean latent is added outside.

    size: of the pictures, a power of 2. stage: how many rows after the first are allowed to differ from it; None, as
    inference has it, lets all of them. blocks, widths: the backbone's, narrower ones for small trainings.
    """

    def __init__(
        self,
        rows: int = 18,
        style_dim: int = 512,
        size: int = 256,
        widths: Sequence[int] = WIDTHS,
        blocks: Sequence[int] = BLOCKS,
    ) -> None:
        super().__init__()
        if rows < 2 or len(widths) != 4:
            raise ValueError(
                f"got {rows} rows and {len(widths)} widths, expected 2 rows or more and 4 widths"
            )
        self.rows, self.style_dim, self.size = rows, style_dim, size
        self.input_layer = input_layer(widths[0])
        self.body = body(widths, blocks)
        ends = [sum(blocks[: index + 1]) - 1 for index in range(4)]
        self.taps = ends[1:]
        self.styles = nn.ModuleList(
            GradualStyleBlock(
                widths[-1], style_dim, size // (16 if row < COARSE else 8 if row < MIDDLE else 4)
            )
            for row in range(rows)
        )
        self.latlayer1 = nn.Conv2d(widths[2], widths[-1], 1)
        self.latlayer2 = nn.Conv2d(widths[1], widths[-1], 1)

    def features(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coarse, middle and fine features: (B, widths[-1], ...) at 1/16, 1/8 and 1/4 of the picture's size."""
        x, found = self.input_layer(image), []
        for index, block in enumerate(self.body):
            x = block(x)
            if index in self.taps:
                found.append(x)
        fine, middle, coarse = found
        second = upsample_add(coarse, self.latlayer1(middle))
        return coarse, second, upsample_add(second, self.latlayer2(fine))

    def forward(self, image: Tensor, stage: int | None = None) -> Tensor:
        coarse, middle, fine = self.features(image)
        moved = self.rows if stage is None else min(stage + 1, self.rows)
        first = self.styles[0](coarse)
        made = [first]
        for row in range(1, moved):
            features = coarse if row < COARSE else middle if row < MIDDLE else fine
            made.append(first + self.styles[row](features))
        made += [first] * (self.rows - moved)
        return torch.stack(made, 1)


class Inversion(nn.Module):
    """The encoder with the mean latent that its rows are counted from: forward(image, stage) -> ws.

    The official pSp without its decoder, whose picture inversion throws away. Arguments as the encoder's.
    """

    latent_avg: Tensor

    def __init__(self, rows: int = 18, style_dim: int = 512, **shape: Any) -> None:
        super().__init__()
        self.encoder = Encoder4Editing(rows, style_dim, **shape)
        self.register_buffer("latent_avg", torch.zeros(rows, style_dim))

    def forward(self, image: Tensor, stage: int | None = None) -> Tensor:
        return cast(Tensor, self.encoder(image, stage) + self.latent_avg)


def resized(image: Tensor, size: int = 256) -> Tensor:
    """An aligned crop at the encoder's size, as it was trained: bilinear without antialias, half-pixel centres."""
    return functional.interpolate(
        image, size=(size, size), mode="bilinear", align_corners=False, antialias=False
    )
