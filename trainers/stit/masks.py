"""Where an edited crop has to agree with its frame, and by how much it does not: STIT's masks and stitching losses.

Masks are (B, 1, H, W), 0 and 1 (float32), and between them once they are resized. With f the foreground, dilated by
`inner` pixels:

    full     f dilated by `outer` pixels: what is pasted
    border   full - f, or 1 - f; and the part of f within `border` pixels of the picture's edge
    content  the foreground as it was given, without the border

The official dilation convolves with one channel per pixel of the square, which takes gigabytes; a maximum over the
square gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

BACKGROUND = (0, 16, 18)
"""Classes of the face-parsing BiSeNet that are not edited: background, cloth, hat."""
BORDER, INNER, OUTER = 50, 0, 50
"""Pixels of the crop of 1024: the official figures."""
CONTENT = 0.01
"""The official weight of what is to stay as it was edited."""

Norm = Literal["l2", "l1"]


@dataclass(frozen=True)
class StitchingMasks:
    """(B, 1, H, W) each."""

    content: Tensor
    border: Tensor
    full: Tensor

    def resized(self, size: int) -> StitchingMasks:
        """Bilinear, corner pixels onto corner pixels."""
        return StitchingMasks(*(resized_corners(one, size) for one in (self.content, self.border, self.full)))

    def on(self, device: torch.device) -> StitchingMasks:
        """The same there."""
        return StitchingMasks(self.content.to(device), self.border.to(device), self.full.to(device))


def foreground(labels: Tensor, background: Sequence[int] = BACKGROUND) -> Tensor:
    """Label maps (B, H, W) of whole numbers to (B, 1, H, W): 1 where the class is none of `background`."""
    away = torch.as_tensor(background, device=labels.device, dtype=labels.dtype)
    return (~torch.isin(labels, away)).float()[:, None]


def stitching_masks(
    mask: Tensor, *, border: int, inner: int = 0, outer: int, whole_image: bool = False
) -> StitchingMasks:
    """The three masks of a foreground (B, 1, H, W). border, inner, outer: pixels of this mask.

    whole_image: the border is all that is not foreground. Raises ValueError for pixels below 0.
    """
    if min(border, inner, outer) < 0:
        raise ValueError(f"border, inner and outer are {border}, {inner} and {outer}, expected 0 or more")
    grown = dilated(mask, inner)
    full = dilated(grown, outer)
    ring = (1 if whole_image else full) - grown
    edge = torch.maximum(ring, grown * _band(mask, border))
    return StitchingMasks((mask - edge).clamp(0, 1), edge, full)


def masks_of_labels(
    labels: Tensor,
    *,
    border: int = BORDER,
    inner: int = INNER,
    outer: int = OUTER,
    whole_image: bool = False,
    background: Sequence[int] = BACKGROUND,
) -> StitchingMasks:
    """The masks of a crop that is twice as large as its label maps (B, H, W): the official procedure, 512 to 1024.

    border, inner, outer: pixels of the crop; in the label map half as many, rounded down.
    """
    found = stitching_masks(
        foreground(labels, background),
        border=border // 2,
        inner=inner // 2,
        outer=outer // 2,
        whole_image=whole_image,
    )
    return found.resized(2 * labels.shape[-1])


def dilated(mask: Tensor, pixels: int) -> Tensor:
    """Grown by so many pixels to all eight sides; nothing comes in from outside.

    A maximum over threes of pixels, ever further apart: a few looks at each, where a wide window would take 2 x 51.
    """
    if pixels == 0:
        return mask
    reach, mask = 0, functional.pad(mask, [pixels] * 4)
    while reach < pixels:
        step = min(2 * reach + 1, pixels - reach)  # no pixel between two that are looked at is left out
        for axis in (-1, -2):
            mask = _beside(mask, step, axis)
        reach += step
    return mask[..., pixels:-pixels, pixels:-pixels]


def _beside(mask: Tensor, step: int, axis: int) -> Tensor:
    """The maximum of each pixel and those `step` pixels to both sides of it along an axis."""
    length = mask.shape[axis] - step
    grown = mask.clone()
    for to, start in ((step, 0), (0, step)):
        place = grown.narrow(axis, to, length)
        torch.maximum(place, mask.narrow(axis, start, length), out=place)
    return grown


def resized_corners(mask: Tensor, size: int) -> Tensor:
    """Bilinear to (B, 1, size, size), corner pixels onto corner pixels."""
    return functional.interpolate(mask, size=(size, size), mode="bilinear", align_corners=True)


def masked_error(given: Tensor, wanted: Tensor, mask: Tensor, norm: Norm = "l2") -> Tensor:
    """Sum over colours and pixels of the squared (l2) or absolute (l1) difference of the masked pictures, over the sum
    of the one-channel mask: three times a mean. given, wanted: (B, 3, H, W); mask: (B, 1, H, W). 0 for an empty mask.
    """
    apart = given * mask - wanted * mask
    total = (apart.square() if norm == "l2" else apart.abs()).sum()
    return total / mask.sum().clamp(min=1e-12)


def _band(like: Tensor, border: int) -> Tensor:
    """1 within `border` pixels of the picture's edge."""
    height, width = like.shape[-2:]
    band = torch.ones(1, 1, height, width, device=like.device, dtype=like.dtype)
    band[..., border : max(height - border, border), border : max(width - border, border)] = 0
    return band
