"""What a sheet shows of a picture: the head about its face, and networks' maps as pictures."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.crop import crop_of, cut
from engine.evaluate.subjects import Subject
from engine.geometry import apply_affine, invert_affine
from engine.types import F32, U8, Crop

_WIDER = 1.2
"""Side of the square that is shown, in sides of the `face` crop."""


def head_crop(subject: Subject, side: int) -> Crop:
    """The square about the subject's head."""
    crop = crop_of("face", subject.source.face.points, side)
    middle = 0.5 * (side - 1)
    matrix = crop.matrix / _WIDER
    matrix[:, 2] += middle - middle / _WIDER
    return Crop(matrix, side)


def head(subject: Subject, rgb: U8, side: int) -> U8:
    """The head out of a picture of the subject."""
    return cut(rgb, head_crop(subject, side))


def square(picture: U8, crop: Crop, subject: Subject, side: int) -> U8:
    """A picture of a crop's pixels as it lies on the head's square; grey where the crop does not reach."""
    to_head = head_crop(subject, side)
    corners = np.array([[-0.5, -0.5], [crop.size - 0.5, -0.5], [-0.5, crop.size - 0.5]])
    placed = apply_affine(to_head.matrix, apply_affine(invert_affine(crop.matrix), corners))
    matrix = cv2.getAffineTransform(corners.astype(np.float32), placed)
    ground = (128, 128, 128)[: picture.ndim] if picture.ndim == 3 else (128,)
    moved = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=ground)
    return np.ascontiguousarray(moved, np.uint8)


def grey(values: NDArray[np.floating], low: float = 0.0, high: float = 1.0) -> U8:
    """A map (h, w) as a grey picture, uint8 (h, w, 3): black at `low`, white at `high`."""
    share = np.clip((np.asarray(values, np.float32) - low) / (high - low), 0.0, 1.0)
    return np.ascontiguousarray(np.repeat(np.rint(255 * share).astype(np.uint8)[:, :, None], 3, axis=2))


def flow_picture(flow: F32) -> U8:
    """A flow (2, h, w) as uint8 (h, w, 3): its direction as hue, its length as strength, white where nothing moves."""
    length = np.hypot(flow[0], flow[1])
    longest = max(1e-6, float(np.quantile(length, 0.99)))
    turn = (np.arctan2(flow[1], flow[0]) + np.pi) / (2 * np.pi)
    hsv = np.stack([179 * turn, 255 * np.clip(length / longest, 0, 1), np.full_like(turn, 255)], axis=2)
    return np.asarray(cv2.cvtColor(np.rint(hsv).astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def sampled(donor: U8, flow: F32) -> U8:
    """A donor's square (S, S, 3) as the flow (2, S, S), in grid units, finds it; black beyond its border."""
    size = flow.shape[1]
    y, x = np.mgrid[:size, :size].astype(np.float32)
    reach = np.float32(0.5 * (size - 1))
    moved = cv2.remap(donor, x + reach * flow[0], y + reach * flow[1], cv2.INTER_LINEAR)
    return np.ascontiguousarray(moved, np.uint8)
