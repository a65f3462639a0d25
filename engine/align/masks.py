"""What of an aligned crop is edited, where it meets the frame, and what is pasted: the masks of STIT.

All masks are uint8 (H, W), 1 inside. With f the foreground, dilated by `inner` pixels:

    full     f dilated by `outer` pixels: what is pasted
    border   full - f, or 1 - f: where the edited picture has to agree with the frame; and the part of f that lies in a
             band along the edge of the crop, where nothing can be blended any more
    content  the foreground as it was given, without the border: where it has to stay as it was edited

Dilation is by a square, and nothing comes in from outside the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError, InputError
from engine.types import F32, U8

BACKGROUND = (0, 16, 18)
"""Classes of the face-parsing BiSeNet that are not edited: background, cloth, hat."""
BORDER, INNER, OUTER = 25, 0, 25
"""Pixels, of masks of 512: the official 50 of the 1024 crop for the band and for the ring."""


@dataclass(frozen=True, slots=True, eq=False)
class StitchingMasks:
    """uint8 (H, W), 1 inside."""

    content: U8
    border: U8
    full: U8


def foreground(labels: U8, background: Sequence[int] = BACKGROUND) -> U8:
    """1 where a label map (H, W) of classes is none of `background`."""
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise InputError(f"stitching masks: got labels {labels.shape} {labels.dtype}, expected (H, W) uint8")
    table = np.ones(256, np.uint8)
    table[list(background)] = 0
    return np.asarray(cv2.LUT(labels, table), np.uint8)


def stitching_masks(
    mask: U8, *, border: int = BORDER, inner: int = INNER, outer: int = OUTER, whole_image: bool = False
) -> StitchingMasks:
    """The three masks of a foreground uint8 (H, W) of 0 and 1. border, inner, outer: pixels.

    whole_image: the border is all that is not foreground. Raises ConfigError for pixels below 0.
    """
    if min(border, inner, outer) < 0:
        raise ConfigError(f"stitching masks: got {border}, {inner} and {outer} px, expected 0 or more")
    grown = dilated(mask, inner)
    full = dilated(grown, outer)
    ring = 1 - grown if whole_image else full - grown
    edge = np.maximum(ring, grown & _band(mask.shape, border))
    return StitchingMasks(mask & (1 - edge), edge, full)


def dilated(mask: U8, pixels: int) -> U8:
    """Grown by so many pixels to all eight sides."""
    if pixels == 0:
        return mask.copy()
    across = 2 * pixels + 1
    return np.asarray(cv2.dilate(mask, np.ones((across, across), np.uint8)), np.uint8)


def resized_corners(mask: NDArray[np.generic], size: int) -> F32:
    """Bilinear to (size, size), corner pixels onto corner pixels, float32: the official way from 512 to 1024."""
    rows = _between(np.asarray(mask, np.float32), size)
    return np.ascontiguousarray(_between(rows.T, size).T)


def _between(values: F32, size: int) -> F32:
    given = values.shape[0]
    place = np.arange(size) * ((given - 1) / max(size - 1, 1))
    low = np.minimum(place.astype(np.intp), max(given - 2, 0))
    share = (place - low).astype(np.float32)[:, None]
    return np.asarray(values[low] * (1 - share) + values[np.minimum(low + 1, given - 1)] * share, np.float32)


def _band(shape: tuple[int, ...], border: int) -> U8:
    band = np.ones(shape, np.uint8)
    if border:
        band[border : max(shape[0] - border, 0), border : max(shape[1] - border, 0)] = 0
    else:
        band[:] = 0
    return band
