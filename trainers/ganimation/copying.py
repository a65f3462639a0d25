"""A start from which the colour mask is nearly the source's own picture, so that only the changes are left to learn.

Most of a short training goes into drawing again what was put in: the colours have to pass a map of a quarter of the
side. Without norms that can be had from the first step. Some channels carry the picture, folded in blocks of 4x4, and
give it back at the end; the others begin at random, as they would anyway, and add nothing to these yet.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from trainers.ganimation.networks import Generator, ResidualBlock, ScaleShift

COLOURS = 3
LEAST_WIDTH = 4 * COLOURS
"""Of `conv_dim`: the folded picture takes 48 of its fourfold."""

_LIFT = 1.0
"""Added to pictures in -1..1, so that no ReLU cuts them."""
_SLOPE = 1.25
"""Before the tanh of the colour head; tanh(1.25 x) is within .15 of x."""
_BESIDE = 0.01
"""Scale of what a residual block adds at first."""


@torch.no_grad()
def start_copying(generator: Generator) -> None:
    """Set the weights of a generator without norms. Raises ValueError for other ones, and for too narrow ones."""
    if generator.norm != "none" or generator.conv_dim < LEAST_WIDTH:
        raise ValueError(
            f"a start that copies needs norm 'none' and a conv_dim of {LEAST_WIDTH} or more, got {generator.norm!r} "
            f"and {generator.conv_dim}"
        )
    convs = [layer for layer in generator.main if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
    norms = [layer for layer in generator.main if isinstance(layer, ScaleShift)]
    first, *inner, last = convs
    _carry(first.weight, COLOURS)
    for colour in range(COLOURS):
        first.weight[colour, colour, 3, 3] = 1.0
    norms[0].bias[:COLOURS] = _LIFT
    width = COLOURS
    for conv in inner[:2]:
        _fold(conv.weight, width)
        width *= 4
    for layer in generator.main:
        if isinstance(layer, ResidualBlock):
            cast(ScaleShift, layer.main[4]).weight.fill_(_BESIDE)
    width //= 4
    _unfold(inner[2].weight, width, 1.0)
    _split(last.weight, norms[-1])
    head = cast(nn.Conv2d, generator.img_reg[0]).weight
    head.mul_(0.1)
    head[:, : 2 * COLOURS] = 0.0
    for colour in range(COLOURS):
        head[colour, colour, 3, 3] = _SLOPE
        head[colour, COLOURS + colour, 3, 3] = -_SLOPE


def _carry(weight: Tensor, channels: int) -> None:
    """Nothing else comes into the first output channels (of a convolution)."""
    weight[:channels] = 0.0


def _fold(weight: Tensor, width: int) -> None:
    """Four channels for one: the 2x2 pixels of a block. weight: (out, in, 4, 4), stride 2, padding 1."""
    _carry(weight, 4 * width)
    for channel in range(width):
        for block in range(4):
            weight[4 * channel + block, channel, 1 + block // 2, 1 + block % 2] = 1.0


def _unfold(weight: Tensor, width: int, by: float) -> None:
    """One channel of four. weight: (in, out, 4, 4) of a transposed convolution, stride 2, padding 1."""
    weight[:, :width] = 0.0
    for channel in range(width):
        for block in range(4):
            weight[4 * channel + block, channel, 1 + block // 2, 1 + block % 2] = by


def _split(weight: Tensor, after: ScaleShift) -> None:
    """The last layer: what is above the middle and what is below it in channels of their own, so that none is cut."""
    weight[:, : 2 * COLOURS] = 0.0
    for colour in range(COLOURS):
        for block in range(4):
            place = (1 + block // 2, 1 + block % 2)
            weight[4 * colour + block, colour, place[0], place[1]] = 1.0
            weight[4 * colour + block, COLOURS + colour, place[0], place[1]] = -1.0
    after.bias[:COLOURS] = -_LIFT
    after.bias[COLOURS : 2 * COLOURS] = _LIFT
