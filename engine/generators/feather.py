"""The edge of a pasted square: nothing of it is seen."""

from __future__ import annotations

import numpy as np

from engine.types import F32

BAND = 0.045
"""Share of a crop's side over which a patch fades out towards its edge."""


def feather(size: int) -> F32:
    """Weights (size, size) in 0..1: 0 on the outermost pixels, 1 from BAND of the side inwards, smooth between."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]).astype(np.float32)
    ramp = np.clip(distance / max(1.0, BAND * size), 0.0, 1.0)
    ramp = ramp * ramp * (3.0 - 2.0 * ramp)
    return np.asarray(np.minimum(ramp[:, None], ramp[None, :]), np.float32)
