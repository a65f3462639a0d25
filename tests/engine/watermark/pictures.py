"""Pictures that are marked."""

from __future__ import annotations

import cv2
import numpy as np

from engine.types import U8


def planes(size: tuple[int, int], seed: int = 5) -> U8:
    """I420 planes of (width, height): soft hills on the left, as a face has them, with texture on the right."""
    width, height = size
    random = np.random.default_rng(seed)
    soft = cv2.GaussianBlur(random.normal(0.0, 1.0, (height, width)).astype(np.float32), (0, 0), 8.0)
    fine = cv2.GaussianBlur(random.normal(0.0, 1.0, (height, width)).astype(np.float32), (0, 0), 1.2)
    fine[:, : width // 2] *= 0.1
    luma = 128.0 + 35.0 * soft / soft.std() + 8.0 * fine / fine.std()
    return np.concatenate([np.clip(luma, 16, 235), np.full((height // 2, width), 128.0)]).astype(np.uint8)
