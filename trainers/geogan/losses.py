"""GeoGAN's losses, each as the official code has it; an option where ours differs, named in the recipe.

Pictures are in -1..1, flows in grid units (x, y; 2 / (S - 1) is a pixel), landmarks (B, 68, 2) in -1..1 over
pixel centres of the crop.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from trainers.geogan.blocks import sample

FLOOR = 1e-3
CEILING = 1e7
"""Bounds of the squared gradient of the flow in `total_variation`. Below the floor no gradient flows: a flow that is
smooth to a thirtieth of a pixel is smooth enough."""

OFFICIAL_LANDMARK_SCALE = 256.0
"""The official factor of the landmark loss, whatever the size of the pictures."""


def least_squares(scores: Sequence[Tensor], real: bool) -> Tensor:
    """LSGAN: sum over the scales of mean((score - 1)^2) for real, mean(score^2) for fake."""
    wanted = 1.0 if real else 0.0
    return torch.stack([(score - wanted).square().mean() for score in scores]).sum()


def attribute_entropy(probability: Tensor, label: Tensor) -> Tensor:
    """Binary cross entropy, mean. `probability` and `label`: any shapes with (B, attributes) elements in order."""
    flat = probability.float().reshape(probability.shape[0], -1)
    return functional.binary_cross_entropy(flat, label.to(flat).reshape(flat.shape))


def absolute(given: Tensor, wanted: Tensor) -> Tensor:
    """L1, mean."""
    return functional.l1_loss(given, wanted)


def mask_size(mask: Tensor) -> Tensor:
    """L1 norm of a mask: its mean. The official objective takes it of the WARPED-BACK masks."""
    return mask.abs().mean()


def total_variation(flow: Tensor) -> Tensor:
    """Smoothness of a flow in PIXELS (official: grid units times S), (B, 2, S, S): mean over batch, channels and the
    (S-1) x (S-1) grid of clamp(dx^2 + dy^2, 1e-3, 1e7)."""
    here = flow[:, :, :-1, :-1]
    right = flow[:, :, :-1, 1:] - here
    below = flow[:, :, 1:, :-1] - here
    return torch.clamp(right.square() + below.square(), FLOOR, CEILING).mean()


def landmark_error(
    flow: Tensor,
    target: Tensor,
    wanted: Tensor,
    scale: float = OFFICIAL_LANDMARK_SCALE,
    keep: Tensor | None = None,
) -> Tensor:
    """scale * mean((flow at `target` - (wanted - target))^2): at the target's landmarks, look at the donor's.

    target, wanted: (B, N, 2), landmarks in the target's frame and where the donor is to be sampled for them. keep:
    (N,) or (B, N), 0 leaves a landmark out of sum and count; None keeps all. scale: officially 256 at every size;
    the side of the picture in its place is the same at 256 and keeps the balance with the other losses elsewhere.
    """
    found = sample(flow, target.to(flow)[:, None].permute(0, 3, 1, 2))[:, :, 0].permute(0, 2, 1)
    squared = (found - (wanted - target)).square()
    if keep is None:
        return scale * squared.mean()
    weight = keep.to(squared).expand(squared.shape[:2])[..., None]
    return scale * (squared * weight).sum() / (2 * weight.sum()).clamp(min=1)


def colour_smoothness(flow: Tensor, image: Tensor, size: int, patch: int = 5, colour: float = 0.1) -> Tensor:
    """Bilateral smoothness (FlowRegLoss): defined by the official code, in no objective of it.

    Per pixel and neighbour in the zero-padded patch x patch: squared difference of the flow in pixels (times `size`),
    summed over x and y, times exp(-(colour * squared colour difference + squared distance in -1..1)); mean over all,
    the padding counting as neighbours.
    """
    line = torch.linspace(-1.0, 1.0, size, device=flow.device, dtype=flow.dtype)
    place = torch.stack(torch.meshgrid(line, line, indexing="ij"))[None].expand(flow.shape[0], -1, -1, -1)

    def differences(x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        around = functional.unfold(x, patch, padding=patch // 2).view(
            count, channels, patch**2, height, width
        )
        return (around - x[:, :, None]).square().sum(dim=1)

    likeness = torch.exp(-(colour * differences(image) + differences(place)))
    return (differences(flow * size) * likeness).mean()
