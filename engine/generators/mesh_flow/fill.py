"""Filling what is not known from what is, over all scales (push-pull)."""

from __future__ import annotations

import cv2
import numpy as np

from engine.types import F32, U8


def push_pull(picture: F32, weight: F32) -> F32:
    """Values where `weight` is 0 come from ever coarser averages of those where it is not.

    picture: float32 (H, W, 3). weight: float32 (H, W) in 0..1. Returns float32 (H, W, 3); where weight is 1 the
    picture itself.
    """
    colours: list[F32] = [picture * weight[:, :, None]]
    weights: list[F32] = [weight]
    while min(weights[-1].shape) > 2:
        colours.append(np.asarray(cv2.pyrDown(colours[-1]), np.float32))
        weights.append(np.asarray(cv2.pyrDown(weights[-1]), np.float32))
    filled = colours[-1] / np.maximum(weights[-1], 1e-6)[:, :, None]
    for colour, known in zip(colours[-2::-1], weights[-2::-1]):
        height, width = known.shape
        coarse = cv2.pyrUp(filled)[:height, :width]
        share = np.minimum(known * 4.0, 1.0)[:, :, None] if known is not weight else known[:, :, None]
        filled = coarse + share * (colour / np.maximum(known, 1e-6)[:, :, None] - coarse)
    return np.asarray(filled, np.float32)


def refine_alpha(alpha: U8, picture: U8, radius: int) -> F32:
    """A soft person mask drawn to the edges of the picture by a guided filter (He 2010) on its luma.

    alpha: uint8 (H, W). picture: uint8 (H, W, 3). radius: pixels. Returns float32 (H, W) in 0..1.
    """
    guide = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
    wanted = alpha.astype(np.float32) / 255.0
    box = (2 * radius + 1, 2 * radius + 1)
    mean_guide, mean_wanted = cv2.blur(guide, box), cv2.blur(wanted, box)
    spread = cv2.blur(guide * guide, box) - mean_guide * mean_guide
    shared = cv2.blur(guide * wanted, box) - mean_guide * mean_wanted
    slope = shared / (spread + 1e-3)
    offset = mean_wanted - slope * mean_guide
    fine = cv2.blur(slope, box) * guide + cv2.blur(offset, box)
    return np.asarray(np.clip(fine, 0.0, 1.0), np.float32)
