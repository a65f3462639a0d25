"""From drawn meshes to the generator's inputs, in torch: the twin of what the engine does for a live frame.

index: (S, S), the face drawn at a pixel, -1 none. weights: (S, S, 3) of its corners. corners: (F, 3, 2), where a face's
corners lie, x right, y down, in -1..1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

ABSENT = -2.0
_NOT_ZERO = 1e-5


def flow_of(index: Tensor, weights: Tensor, corners: Tensor) -> Tensor:
    """(S, S, 2): where each pixel's point of the mesh lies, sum of weight_k * corner_k; ABSENT without a face."""
    there = corners[index.clamp(min=0).long()]
    flow = (weights.to(there.dtype).unsqueeze(-1) * there).sum(-2)
    return torch.where((index >= 0).unsqueeze(-1), flow, torch.full_like(flow, ABSENT))


def condition_of(index: Tensor, table: Tensor) -> Tensor:
    """(3, S, S): one colour for a whole face; the table's last row without a face."""
    rows = torch.where(index < 0, len(table) - 1, index.long())
    return table[rows].permute(2, 0, 1)


def merged(textures: Tensor, seen: Tensor) -> Tensor:
    """One texture of N sources' (N, 3, U, U): the first one's where it sees the place or nobody does, else the mean of
    those that see it. seen: bool (N, U, U)."""
    weights = seen[1:].to(textures.dtype).unsqueeze(1)
    total = weights.sum(0)
    mixed = (textures[1:] * weights).sum(0) / (total + _NOT_ZERO)
    return torch.where(seen[0] | (total[0] < 1), textures[0], mixed)


def led_to(textures: Tensor, seen: Tensor, yaws: Sequence[float], yaw: float) -> Tensor:
    """As `merged`, for a head turned by `yaw` degrees: led by the source nearest to it in yaw, and between two of them
    by both, in proportion. yaws: of the sources, N, degrees."""
    order = sorted(range(len(yaws)), key=lambda k: yaws[k])
    above = next((place for place, k in enumerate(order) if yaws[k] >= yaw), len(order))
    around = (
        order[max(above - 1, 0) : above + 1]
        if 0 < above < len(order)
        else [order[min(above, len(order) - 1)]]
    )
    found = []
    for first in around:
        turns = [first, *(k for k in range(len(yaws)) if k != first)]
        found.append(merged(textures[turns], seen[turns]))
    if len(found) == 1 or yaws[around[1]] - yaws[around[0]] < _ALIKE:
        return found[0]
    share = (yaw - yaws[around[0]]) / (yaws[around[1]] - yaws[around[0]])
    return found[0] + share * (found[1] - found[0])


_ALIKE = 0.5  # degrees


def read(texture: Tensor, flow: Tensor) -> Tensor:
    """(3, S, S): a texture (3, U, U) at the places of a flow (S, S, 2); 0 where there are none."""
    found = functional.grid_sample(
        texture.unsqueeze(0), flow.unsqueeze(0), mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return found[0]


def eroded(known: Tensor, side: int) -> Tensor:
    """(..., S, S) made smaller: the least value in a box of `side` pixels around each; beyond the picture is 1."""
    if side == 1:
        return known
    flat = known.reshape(-1, 1, *known.shape[-2:])
    least = -functional.max_pool2d(-flat, side, stride=1, padding=side // 2)
    return least.reshape(known.shape)
