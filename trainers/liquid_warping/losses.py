"""Liquid Warping GAN's losses. Pictures are in -1..1, masks in 0..1 with 1 = background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

VGG_SIDE: Final = 224
"""Pictures are resized to this side before VGG19, whatever theirs is."""
NECK: Final = 12
"""From this of the 19 joints on they belong to the head: neck, top of the head, nose, eyes, ears."""
HEAD_MARGIN: Final = 0.05
"""Of the picture's side, left, right and above the head's joints; nothing below the neck."""
BODY_FACTOR: Final = 1.2


def least_squares(scores: Sequence[Tensor], target: float) -> Tensor:
    """LSGAN: mean over the critics of mean((score - target)^2). Officially the generator's target is 0, the critic's is
    1 for real and -1 for fake: least squares around the middle, not around "real"."""
    return torch.stack([(one - target).square().mean() for one in scores]).mean()


def total_variation(mask: Tensor) -> Tensor:
    """mean |dx| + mean |dy|, of (..., H, W)."""
    across = (mask[..., :, 1:] - mask[..., :, :-1]).abs().mean()
    down = (mask[..., 1:, :] - mask[..., :-1, :]).abs().mean()
    return across + down


def temporal_smoothness(sequence: Tensor) -> Tensor:
    """Mean |x[t + 1] - x[t]| of (B, T, ...). The official trainers make this loss and never use it."""
    return (sequence[:, 1:] - sequence[:, :-1]).abs().mean()


def mask_entropy(mask: Tensor, background: Tensor) -> Tensor:
    """Binary cross entropy of masks against what of them is background; float32, as bfloat16 has no logarithms near 0
    and 1. NaN counts as undecided: PyTorch ends the process over it, where the other losses tell the training."""
    return functional.binary_cross_entropy(mask.float().nan_to_num(nan=0.5), background.float())


def absolute(given: Tensor, wanted: Tensor) -> Tensor:
    """L1, mean."""
    return functional.l1_loss(given, wanted)


def seen_by_vgg(image: Tensor) -> Tensor:
    """(B, 3, H, W) at VGG_SIDE squared: bilinear, align_corners=True."""
    return functional.interpolate(image, size=(VGG_SIDE, VGG_SIDE), mode="bilinear", align_corners=True)


class Resized(nn.Module):
    """A perceptual distance of pictures at VGG_SIDE, as officially."""

    def __init__(self, distance: nn.Module) -> None:
        super().__init__()
        self.distance = distance

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        result: Tensor = self.distance(seen_by_vgg(fake), seen_by_vgg(real))
        return result


def _whole(lines: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Fractions of the sides, cut to the picture, to pixels; towards zero."""
    left, right, top, bottom = (line.clamp(0.0, 1.0) for line in lines)
    return torch.stack((left * width, right * width, top * height, bottom * height), dim=1).long()


def head_box(joints: Tensor, height: int, width: int) -> Tensor:
    """joints: (N, 19, 2), x and y in -1..1, y down. int64 (N, 4): min_x, max_x, min_y, max_y in pixels."""
    x, y = ((joints[:, NECK:] + 1) / 2).unbind(-1)
    left, right = (x - HEAD_MARGIN).amin(1), (x + HEAD_MARGIN).amax(1)
    return _whole(
        (left.clamp(min=0), right.clamp(max=1), (y - HEAD_MARGIN).amin(1), y.amax(1)), height, width
    )


def body_box(joints: Tensor, height: int, width: int) -> Tensor:
    """As `head_box`, of all joints, BODY_FACTOR as wide and high around their middle."""
    lines = []
    for line in ((joints + 1) / 2).unbind(-1):
        low, high = line.amin(1), line.amax(1)
        middle, side = (low + high) / 2, (high - low) * BODY_FACTOR
        lines += [middle - side / 2, middle + side / 2]
    return _whole(lines, height, width)
