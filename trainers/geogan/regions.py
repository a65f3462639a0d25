"""Landmarks by region, their mirror, and the mask of the mouth that a removal network may be given.

Landmarks are 68 in 300-W order, (B, 68, 2), x and y in -1..1 over pixel centres of the crop.
"""

from __future__ import annotations

import torch
from torch import Tensor

JAW, BROWS, NOSE, EYES, LIPS = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)
ANCHORS = (*range(27, 36), 36, 39, 42, 45)
"""Nose and eye corners: they keep their place whatever mouth and jaw do."""

_MIRROR = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
    64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip

MASK_WIDTH, MASK_UP, MASK_DOWN = 0.6, 0.4, 0.62
"""Half axes of the removal mask, in distances of the outer eye corners."""
MASK_SOFT = 0.35


def mirrored(landmarks: Tensor) -> Tensor:
    """Landmarks of the flipped picture: x changes its sign, and right becomes left."""
    turned = landmarks[:, list(_MIRROR)].clone()
    turned[..., 0] = -turned[..., 0]
    return turned


def outside_mouth(device: torch.device) -> Tensor:
    """(68,), 1 for brows, nose and eyes, 0 for lips and jaw."""
    keep = torch.zeros(68, device=device)
    for region in (BROWS, NOSE, EYES):
        keep[region] = 1.0
    return keep


def fitted(landmarks: Tensor, onto: Tensor) -> Tensor:
    """`landmarks` (B, 68, 2) moved by the least-squares similarity that brings their ANCHORS onto those of `onto`.

    Least squares over rotation, uniform scale and shift, in closed form with complex numbers.
    """
    anchors = list(ANCHORS)
    here, there = torch.view_as_complex(landmarks.contiguous()), torch.view_as_complex(onto.contiguous())
    middle, aim = here[:, anchors].mean(1, keepdim=True), there[:, anchors].mean(1, keepdim=True)
    from_middle, from_aim = here[:, anchors] - middle, there[:, anchors] - aim
    factor = (from_aim * from_middle.conj()).sum(1, keepdim=True)
    factor = factor / from_middle.abs().square().sum(1, keepdim=True).clamp(min=1e-8)
    moved: Tensor = torch.view_as_real(factor * (here - middle) + aim)
    return moved


def wanted_landmarks(target: Tensor, donor: Tensor) -> Tensor:
    """The target's landmarks with the donor's lips and jaw, brought over by `fitted`."""
    moved = fitted(donor, target)
    result = target.clone()
    for region in (LIPS, JAW):
        result[:, region] = moved[:, region]
    return result


def removal_mask(landmarks: Tensor, size: int) -> Tensor:
    """The mask of mouth and chin, (B, 1, size, size), 0..1: a soft ellipse that depends on the landmarks alone.

    Its middle is the mean of the two mouth corners (48, 54), its upright axis runs from the middle of the outer eye
    corners (36, 45) to there, and with e the distance of the outer eye corners its half axes are MASK_WIDTH * e across,
    MASK_UP * e above and MASK_DOWN * e below. With r the elliptic radius (1 on the ellipse) the mask is
    clamp((1 - r) / MASK_SOFT, 0, 1).
    """
    eyes = 0.5 * (landmarks[:, 36] + landmarks[:, 45])
    mouth = 0.5 * (landmarks[:, 48] + landmarks[:, 54])
    apart = (landmarks[:, 45] - landmarks[:, 36]).norm(dim=1).clamp(min=1e-6)
    down = (mouth - eyes) / (mouth - eyes).norm(dim=1, keepdim=True).clamp(min=1e-6)
    line = torch.linspace(-1.0, 1.0, size, device=landmarks.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    place = torch.stack((x, y), dim=-1)[None] - mouth[:, None, None]
    along = (place * down[:, None, None]).sum(-1)
    across = place[..., 0] * down[:, 1, None, None] - place[..., 1] * down[:, 0, None, None]
    half = torch.where(along < 0, MASK_UP, MASK_DOWN) * apart[:, None, None]
    radius = ((along / half).square() + (across / (MASK_WIDTH * apart[:, None, None])).square()).sqrt()
    mask: Tensor = ((1.0 - radius) / MASK_SOFT).clamp(0.0, 1.0)
    return mask[:, None]


def lower_face(landmarks: Tensor, size: int) -> Tensor:
    """(B, 1, size, size): 0 at the eyes and above, 1 from below the tip of the nose on, a soft step between.

    Measured along the line from the middle of the outer eye corners (36, 45), 0, to that of the mouth corners
    (48, 54), 1: it rises from 0.3 to 0.6.
    """
    eyes = 0.5 * (landmarks[:, 36] + landmarks[:, 45])
    axis = 0.5 * (landmarks[:, 48] + landmarks[:, 54]) - eyes
    line = torch.linspace(-1.0, 1.0, size, device=landmarks.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    place = torch.stack((x, y), dim=-1)[None] - eyes[:, None, None]
    along = (place * axis[:, None, None]).sum(-1) / axis.square().sum(-1)[:, None, None].clamp(min=1e-6)
    return ((along - 0.3) / 0.3).clamp(0.0, 1.0)[:, None]


def removal_masks(of_transfer: Tensor, landmarks: Tensor, numbers: torch.Generator) -> Tensor:
    """What the removal network is given in the supervised stage, (B, 1, S, S): for 6 of 10 pictures the mask that was
    warped back, as in the cycle, for 2 or 3 `removal_mask`, else nothing, because a face that is looked at alone has no
    target that a transfer could be tried on."""
    drawn = torch.rand(len(of_transfer), 1, 1, 1, generator=numbers, device=of_transfer.device)
    ellipse = removal_mask(landmarks, of_transfer.shape[-1])
    return torch.where(
        drawn < 0.6, of_transfer, torch.where(drawn < 0.85, ellipse, torch.zeros_like(ellipse))
    )
