"""Putting the donor's attribute onto a larger picture than the network saw.

Two ways to read a flow of side S for a picture of side H. The official one resizes the SUM of grid and flow, bilinear
with align_corners=False: the outer half of a low-resolution pixel is clamped, so nothing beyond its centre is ever
sampled, and its mask is the one that was warped back, resized with nearest. Ours resizes the flow alone and the
blending mask, both bilinear over pixel areas (align_corners=False), since that is how the small picture was made of
the large one. A flow f of the small grid moves by f * (S - 1) / 2 small pixels, that is f * (S - 1) / 2 * H / S large
ones, or f * (S - 1) / S * H / (H - 1) in the large picture's own grid units.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trainers.geogan.blocks import identity_grid, sample


class Composed(NamedTuple):
    """(B, 3, H, W) each: the donor sampled, the composition, and its two summands."""

    warped: Tensor
    image: Tensor
    of_target: Tensor
    of_donor: Tensor


def resized(image: Tensor, size: int) -> Tensor:
    """Bilinear over pixel areas, without antialiasing: how the official test program makes the network's input."""
    return functional.interpolate(image, size=(size, size), mode="bilinear", align_corners=False)


def official_compose(target: Tensor, donor: Tensor, flow: Tensor, mask: Tensor) -> Composed:
    """The official high-resolution composition.

    target, donor: (B, 3, H, H). flow: (B, 2, S, S), grid units. mask: (B, 1, S, S), 1 takes the donor; the official
    program passes `Transfer.mask_in_donor`, which is the wrong one.
    """
    size = target.shape[-1]
    points = identity_grid(flow.shape[-1]).to(flow) + flow
    warped = sample(donor, resized(points, size))
    keep = functional.interpolate(1 - mask, size=(size, size), mode="nearest")
    of_target, of_donor = target * keep, warped * (1 - keep)
    return Composed(warped, of_target + of_donor, of_target, of_donor)


def compose(
    target: Tensor, donor: Tensor, flow: Tensor, mask: Tensor, residual: Tensor | None = None
) -> Composed:
    """Our composition: blending mask, flow scaled for the larger grid, refinement kept.

    target, donor: (B, 3, H, H) in -1..1. flow, mask: `Transfer.flow` and `.mask`. residual: (B, 3, S, S), that of
    refinement BEFORE it is multiplied by the mask; None leaves it out. At H = S without residual this is the network's
    own blending.
    """
    size, small = target.shape[-1], flow.shape[-1]
    factor = (small - 1) / small * size / (size - 1)
    warped = sample(donor, identity_grid(size).to(flow) + factor * resized(flow, size))
    share = resized(mask, size)
    of_target = target * (1 - share)
    taken = warped if residual is None else warped + resized(residual, size)
    of_donor = taken * share
    return Composed(warped, torch.clamp(of_target + of_donor, -1, 1), of_target, of_donor)
