"""The attention generator as it runs live: what belongs to a source is computed once, and a frame only warps it.

Keys and values are 1x1 projections, and a warp is linear in what it samples: W warp(x) + b = warp(W x) + b. So the
projections of every source are made once, without their biases, which are added behind the warp (where nothing flows to
they alone are left). The flow is resized once per size, not once per block. Exact but for rounding.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.liquid_warping.generator import LiquidWarpingGenerator
from trainers.liquid_warping.warping import SpadeAttention

COUNTS = (1, 2, 4, 8)
"""Sources that a bundle's per-frame graph may be made for; each has a graph of its own."""


def blocks_of(generator: LiquidWarpingGenerator) -> list[SpadeAttention]:
    """The warping blocks in the order of ports: the encoder's levels, finest first, then the residual blocks'.

    Raises ValueError for a generator of another kind of block, which has no projections.
    """
    found = [*generator.enc_attlwbs, *generator.res_attlwbs]
    if not all(isinstance(block, SpadeAttention) for block in found):
        raise ValueError("the live form is that of attention_spade; another block has no keys and values")
    return [cast("SpadeAttention", block) for block in found]


def shapes_of(generator: LiquidWarpingGenerator, size: int) -> list[tuple[int, int, int]]:
    """(C, h, w) of every block's keys and values, at pictures of this side."""
    blocks = blocks_of(generator)
    deepest = len(generator.enc_attlwbs)
    sides = [size // 2 ** min(place + 1, deepest) for place in range(len(blocks))]
    return [(block.fk.out_channels, side, side) for block, side in zip(blocks, sides)]


class SourceStep(nn.Module):
    """One source: `filled` (1, 3, S, S) in -1..1, 0 where it shows nothing of the person, `condition` (1, 3, S, S), to
    its keys and values, (1, C, h, w) each: keys_0, values_0, keys_1, ... Without keys where it is the only one."""

    def __init__(self, generator: LiquidWarpingGenerator, *, keys: bool = True) -> None:
        super().__init__()
        self.source, self.keys = generator.src_net, keys
        self.blocks = nn.ModuleList(blocks_of(generator))

    def forward(self, filled: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
        levels, deep = self.source.encode(torch.cat((filled, condition), 1))
        found = []
        for one, features in zip(self.blocks, (*levels, *deep)):
            block = cast("SpadeAttention", one)
            if self.keys:
                found.append(functional.conv2d(features, block.fk.weight))
            found.append(functional.conv2d(features, block.fv.weight))
        return tuple(found)


class BackgroundStep(nn.Module):
    """`image` (1, 4, S, S), a picture without the person and where it is known, to the background (1, 3, S, S)."""

    def __init__(self, generator: LiquidWarpingGenerator) -> None:
        super().__init__()
        self.network = generator.bg_net

    def forward(self, image: Tensor) -> Tensor:
        background: Tensor = self.network(image)
        return background


class FrameStep(nn.Module):
    """One frame: `target` (B, 6, S, S), `flow` (B, N, S, S, 2), and of every block the sources' keys and values
    (B, N, C, h, w) as SourceStep gives them, to colour (B, 3, S, S) in -1..1 and mask (B, 1, S, S), 1 = background."""

    def __init__(self, generator: LiquidWarpingGenerator, sources: int) -> None:
        super().__init__()
        self.generator, self.sources = generator, sources
        blocks_of(generator)

    def forward(self, target: Tensor, flow: Tensor, *projected: Tensor) -> tuple[Tensor, Tensor]:
        made, x = self.generator, target
        each = 1 if self.sources == 1 else 2
        ready = iter([projected[place : place + each] for place in range(0, len(projected), each)])
        places = flow.permute(0, 1, 4, 2, 3).flatten(1, 2)
        flows: dict[tuple[int, int], list[Tensor]] = {}
        levels = []

        def met(block: nn.Module, x: Tensor) -> Tensor:
            size = (x.shape[-2], x.shape[-1])
            if size not in flows:
                flows[size] = self._flows(places, size)
            return self._met(cast("SpadeAttention", block), x, next(ready), flows[size])

        for layer, block in zip(made.tsf_net_enc.layers, made.enc_attlwbs):
            x = met(block, layer(x))
            levels.append(x)
        for residual, block in zip(made.res_blocks, made.res_attlwbs):
            x = met(block, residual(x))
        x = made.tsf_net_dec(x, levels)
        return made.tsf_img_reg(x), made.tsf_att_reg(x)

    def _flows(self, places: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Per source (B, h, w, 2); `places` are all of them as planes (B, 2 N, S, S)."""
        small = functional.interpolate(places, size=size, mode="bilinear", align_corners=True)
        return [small[:, 2 * one : 2 * one + 2].permute(0, 2, 3, 1) for one in range(self.sources)]

    def _met(
        self, block: SpadeAttention, x: Tensor, projected: tuple[Tensor, ...], flows: list[Tensor]
    ) -> Tensor:
        values = _there(projected[-1], flows, block.fv)
        if self.sources == 1:
            return cast("Tensor", block.spade(x, values[0]))
        keys = _there(projected[0], flows, block.fk)
        query = block.fq(x) * (1.0 / math.sqrt(block.fq.out_channels))
        scores = torch.cat([(query * key).sum(1, keepdim=True) for key in keys], 1)
        shares = torch.softmax(scores, dim=1)
        fused = shares[:, :1] * values[0]
        for one in range(1, self.sources):
            fused = fused + shares[:, one : one + 1] * values[one]
        return cast("Tensor", block.spade(x, fused))


def _there(maps: Tensor, flows: list[Tensor], projection: nn.Conv2d) -> list[Tensor]:
    """Every source's map of (B, N, C, h, w) at the target's places, with the projection's bias.

    One after the other: a graph for several frames at once counts them by its first axis alone.
    """
    assert projection.bias is not None
    bias = projection.bias[None, :, None, None]
    return [
        functional.grid_sample(maps[:, one], flow, mode="bilinear", padding_mode="zeros", align_corners=False)
        + bias
        for one, flow in enumerate(flows)
    ]
