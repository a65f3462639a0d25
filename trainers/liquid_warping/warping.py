"""Liquid warping blocks: what of the sources flows to a place of the target, and how it meets what is there.

A block takes the target's feature x (B, C, h, w), the sources' features (B, N, D, h, w) and their flows
(B, N, H, W, 2): x and y in -1..1 where a source is sampled, -2 where nothing of it corresponds. It gives (B, C, h, w).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN: Final = 128
"""Channels inside SPADE, whatever the widths."""
EPSILON: Final = 1e-5


def resized(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Flows (..., H, W, 2) at another size: bilinear, align_corners=True, so that -2 blends into valid places at the
    border of a body. That is the official rule, and the weights were trained with it."""
    if flow.shape[-3:-1] == size:
        return flow
    planes = flow.reshape(-1, *flow.shape[-3:]).permute(0, 3, 1, 2)
    planes = functional.interpolate(planes, size=size, mode="bilinear", align_corners=True)
    return planes.permute(0, 2, 3, 1).reshape(*flow.shape[:-3], *size, 2)


def warped(sources: Tensor, flow: Tensor) -> Tensor:
    """Sources (B, N, D, h, w) sampled by their flows: bilinear, zeros outside, align_corners=False."""
    flow = resized(flow, (sources.shape[-2], sources.shape[-1]))
    sampled = functional.grid_sample(
        sources.flatten(0, 1), flow.flatten(0, 1), mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return sampled.reshape(sources.shape)


class SPADE(nn.Module):
    """norm(x) * (1 + gamma) + beta, both from a condition map of the same size.

    rule: "spade", "instance" or "batch", then the kernel, such as 3x3. instance: no parameters, statistics of the map
    always. batch: running statistics, without scale and shift.
    """

    def __init__(self, rule: str, channels: int, condition: int) -> None:
        super().__init__()
        found = re.fullmatch(r"spade(instance|batch)(\d+)x\2", rule)
        if found is None:
            raise ValueError(f"rule: got {rule!r}, expected such as 'spadeinstance3x3' or 'spadebatch5x5'")
        kernel = int(found[2])
        norms = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
        self.param_free_norm = norms[found[1]](channels, affine=False)
        self.mlp_shared = nn.Sequential(nn.Conv2d(condition, HIDDEN, kernel, padding=kernel // 2), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(HIDDEN, channels, kernel, padding=kernel // 2)
        self.mlp_beta = nn.Conv2d(HIDDEN, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        hidden = self.mlp_shared(condition)
        result: Tensor = self.param_free_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)
        return result


class _Projected(nn.Module):
    """1x1 projections of target and warped sources. channel_q: of the target's feature, channel_s: of a source's,
    channel: of query, key and value."""

    def __init__(self, channel_q: int, channel_s: int, channel: int) -> None:
        super().__init__()
        self.fq = nn.Conv2d(channel_q, channel, 1)
        self.fk = nn.Conv2d(channel_s, channel, 1)
        self.fv = nn.Conv2d(channel_s, channel, 1)

    def keys_values(self, sources: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, channel, h, w) each."""
        there = warped(sources, flow)
        flat = there.flatten(0, 1)
        keys, values = (
            one(flat).reshape(*there.shape[:2], -1, *there.shape[3:]) for one in (self.fk, self.fv)
        )
        return keys, values


class SpadeAttention(_Projected):
    """AttLWB-SPADE: at every pixel a softmax over the sources, its sum of values as SPADE's condition.

    Official class `SelfAttentionLWB`. Of one source the softmax is 1: its query and key get no gradient.
    """

    def __init__(self, channel_q: int, channel_s: int, channel: int) -> None:
        super().__init__(channel_q, channel_s, channel)
        self.spade = SPADE("spadeinstance3x3", channel_q, channel)

    @staticmethod
    def attention(query: Tensor, keys: Tensor) -> Tensor:
        """(B, N, 1, h, w), 1 in sum over the sources: softmax of (k.q)/sqrt(C)."""
        scores = (query.unsqueeze(1) * keys).sum(2, keepdim=True) / math.sqrt(query.shape[1])
        return torch.softmax(scores, dim=1)

    def forward(self, x: Tensor, sources: Tensor, flow: Tensor) -> Tensor:
        keys, values = self.keys_values(sources, flow)
        weights = self.attention(self.fq(x), keys)
        result: Tensor = self.spade(x, (weights * values).sum(1))
        return result


class AdaINAttention(_Projected):
    """AttLWB-AdaIN: one weight per source for the whole map; the fused map's deviation and mean over the channels of a
    pixel take the place of the target's own."""

    def forward(self, x: Tensor, sources: Tensor, flow: Tensor) -> Tensor:
        keys, values = self.keys_values(sources, flow)
        query, pooled = self.fq(x).mean((2, 3)), keys.mean((3, 4))
        scores = (pooled * query.unsqueeze(1)).sum(2) / math.sqrt(math.prod(keys.shape[2:]))
        fused = (torch.softmax(scores, dim=1)[..., None, None, None] * values).sum(1)
        gamma, beta = torch.std_mean(fused, dim=1, keepdim=True)
        deviation, mean = torch.std_mean(x, dim=1, keepdim=True)
        return (x - mean) / (deviation + EPSILON) * gamma + beta


class Sum(nn.Module):
    """AddLWB: the target's feature and every warped source, added. No parameters."""

    def __init__(self, channel_q: int, channel_s: int, channel: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, sources: Tensor, flow: Tensor) -> Tensor:
        return x + warped(sources, flow).sum(1)


class Mean(Sum):
    """AvgLWB: their mean, the target counting as one."""

    def forward(self, x: Tensor, sources: Tensor, flow: Tensor) -> Tensor:
        return super().forward(x, sources, flow) / (sources.shape[1] + 1)


class GatedSum(nn.Module):
    """SoftGateAddLWB: x + gate * (sum of the warped sources), the gate in 0..1 from x."""

    def __init__(self, channel_q: int, channel_s: int, channel: int) -> None:
        super().__init__()
        self.gate_conv = nn.Sequential(
            nn.Conv2d(channel_q, channel, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channel, channel, 3, padding=1),
            nn.Sigmoid(),
        )

    def joined(self, there: Tensor) -> Tensor:
        """Of warped sources (B, N, D, h, w)."""
        return there.sum(1)

    def forward(self, x: Tensor, sources: Tensor, flow: Tensor) -> Tensor:
        result: Tensor = x + self.gate_conv(x) * self.joined(warped(sources, flow))
        return result


class GatedMean(GatedSum):
    """SoftGateAvgLWB: the same with the sources' mean."""

    def joined(self, there: Tensor) -> Tensor:
        return there.mean(1)


BLOCKS: Final[dict[str, Callable[[int, int, int], nn.Module]]] = {
    "attention_spade": SpadeAttention,
    "attention_adain": AdaINAttention,
    "sum": Sum,
    "mean": Mean,
    "gated_sum": GatedSum,
    "gated_mean": GatedMean,
}
"""By the name that arguments give them; built from (channel_q, channel_s, channel)."""
