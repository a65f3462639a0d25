"""A tracked face taken apart into rigid motion and local shape."""

from __future__ import annotations

import numpy as np

from engine import canonical
from engine.geometry import fit_similarity_3d
from engine.types import F32, F64, FaceShape


def fit_shape(points: F32, weights: F64 = canonical.UPPER_FACE) -> FaceShape:
    """Fit the canonical face to `points` (478, 3) pixels and express them in its frame.

    The default weights see the upper face only, so that an opening jaw is expression and not a nod.
    """
    rotation, scale, translation = fit_similarity_3d(canonical.VERTICES, points, weights)
    local = ((points - translation) @ rotation) / scale
    return FaceShape(local.astype(np.float32), rotation, scale, translation)
