"""What SMPLify holds a body's pose against: points in the picture, priors, and the frame before.

Poses are rotation vectors of all joints but the root (B, 69), in radians; points in pixels; depths in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.liquid_warping.body.prior import PosePrior

HINGES = (52, 55, 9, 12)
"""Of the 69 numbers: how far the left and right elbow and the left and right knee are bent."""
SIGNS = (1.0, -1.0, -1.0, -1.0)
"""By which a bend of the wrong way is positive."""


@dataclass(frozen=True)
class Weights:
    """Of SMPLify's terms, with the official values. All but reprojection are squared where they are used."""

    focal: float = 5000.0
    """Focal length in pixels."""
    sigma: float = 100.0
    """Pixels from which a point's error counts less and less."""
    reprojection: float = 10.0
    pose: float = 4.78
    shape: float = 5.0
    angle: float = 15.2
    smooth_2d: float = 0.01
    smooth_3d: float = 1.0


def robust(errors: Tensor, sigma: float) -> Tensor:
    """Geman and McClure: s^2 e^2 / (s^2 + e^2), of each entry."""
    squares = errors.square()
    return sigma**2 * squares / (sigma**2 + squares)


def unnatural(pose: Tensor) -> Tensor:
    """exp(2 bend) of elbows and knees (B, 4): large where they are bent the wrong way."""
    signs = torch.tensor(SIGNS, dtype=pose.dtype, device=pose.device)
    return (pose[:, list(HINGES)] * signs).exp().square()


def projected(joints: Tensor, translation: Tensor, centre: Tensor, focal: float) -> Tensor:
    """Joints (B, N, 3) in metres before a camera of unit rotation -> pixels (B, N, 2)."""
    placed = joints + translation[:, None]
    flat: Tensor = focal * placed[..., :2] / placed[..., 2:] + centre[:, None]
    return flat


@dataclass(frozen=True)
class Seen:
    """What a picture showed. points: (B, N, 2) pixels. confidence: (B, N). centre: (B, 2) pixels, of the camera."""

    points: Tensor
    confidence: Tensor
    centre: Tensor


def reprojection(joints: Tensor, translation: Tensor, seen: Seen, weights: Weights) -> Tensor:
    """Of each joint (B, N), without its weight: confidence^2 times the robust error in x and y."""
    errors = projected(joints, translation, seen.centre, weights.focal) - seen.points
    return seen.confidence.square() * robust(errors, weights.sigma).sum(-1)


def fitting(
    pose: Tensor,
    betas: Tensor,
    joints: Tensor,
    translation: Tensor,
    seen: Seen,
    prior: PosePrior,
    weights: Weights,
) -> Tensor:
    """SMPLify's loss of each sample (B,)."""
    each: Tensor = (
        weights.reprojection * reprojection(joints, translation, seen, weights).sum(-1)
        + weights.pose**2 * prior(pose)
        + weights.angle**2 * unnatural(pose).sum(-1)
        + weights.shape**2 * betas.square().sum(-1)
    )
    return each


def unsteady(joints: Tensor, translation: Tensor, seen: Seen, weights: Weights) -> Tensor:
    """How far the joints moved since the sample before (B,), in the picture and in space, as sums of absolute
    differences weighted by the later one's confidence^2; 0 for the first sample."""
    flat = projected(joints, translation, seen.centre, weights.focal)
    sure = seen.confidence[1:].square()
    moved_2d = (sure * flat.diff(dim=0).abs().sum(-1)).sum(-1)
    moved_3d = (sure * joints.diff(dim=0).abs().sum(-1)).sum(-1)
    moved = weights.smooth_2d**2 * moved_2d + weights.smooth_3d**2 * moved_3d
    return torch.cat([moved.new_zeros(1), moved])
