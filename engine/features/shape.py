"""A tracked face taken apart into rigid motion and local shape."""

from __future__ import annotations

import numpy as np

from engine import canonical
from engine.errors import InputError
from engine.geometry import fit_similarity_3d
from engine.types import F32, F64, FaceShape

MOST_STRAY_CM = 3.0
"""RMS distance of the mesh from the canonical face beyond which points are no face. Real ones, grimaces and turned
heads included, stay below 1.3."""


def check_face(shape: FaceShape, size: tuple[int, int]) -> None:
    """Raise InputError when the points that were fitted are no face in or near a picture of `size` (width, height)."""
    stray = float(np.sqrt(((shape.local - canonical.VERTICES)[: canonical.MESH_POINTS] ** 2).sum(1).mean()))
    if not stray <= MOST_STRAY_CM:
        raise InputError(
            f"face: its points stray {stray:.1f} cm from a face, expected at most {MOST_STRAY_CM}"
        )
    longest = float(max(size))
    off = float(np.abs(shape.translation[:2] - 0.5 * np.array(size)).max())
    if not (off <= 2.0 * longest and 0.0 < shape.scale * canonical.EYE_DISTANCE_CM <= 2.0 * longest):
        raise InputError(f"face: it stands {off:.0f} px from the middle of a {size[0]} x {size[1]} picture")


def fit_shape(points: F32, weights: F64 = canonical.UPPER_FACE) -> FaceShape:
    """Fit the canonical face to `points` (478, 3) pixels and express them in its frame.

    The default weights see the upper face only, so that an opening jaw is expression and not a nod.
    """
    rotation, scale, translation = fit_similarity_3d(canonical.VERTICES, points, weights)
    local = ((points - translation) @ rotation) / scale
    return FaceShape(local.astype(np.float32), rotation, scale, translation)
