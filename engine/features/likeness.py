"""Whether two faces may be one person's, by their shapes alone.

Both are laid over the canonical face by their rigid parts and made symmetric; what is left between them after taking
out everything that action units, a misread depth and a misread width can do is measured on the rigid parts, from the
front.

A shape tells little. Of 380 pairs of one person (clips with speech, grimaces and up to 40 degrees of yaw, and five
posed photographs) all were at most .141 cm apart, 99 in a hundred at most .131; of 20530 pairs of different people half
were more than .127 cm apart. At MOST_APART_CM 3 of those 380 are refused, and two in five of the others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from engine import canonical
from engine.features.au_basis import deform
from engine.geometry import fit_similarity_3d
from engine.types import AU_NAMES, F64, FaceShape

MOST_APART_CM: Final = 0.135
"""Distance beyond which two faces are taken for two people's."""

_SHARE = np.sqrt(canonical.RIGIDITY / canonical.RIGIDITY.sum())[:, None]
_LEAST = 1e-3  # of the largest singular value: what is below is no direction of its own


def shape_distance(one: FaceShape, other: FaceShape) -> float:
    """How far apart two faces are beside pose and expression, in canonical centimetres: 0 for the same shape."""
    left = _seen(one.local) - _seen(other.local)
    explained = _explained()
    return float(np.linalg.norm(left - explained.T @ (explained @ left)))


def _seen(local: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> F64:
    """A local shape (478, 3) as the vector that is compared."""
    rotation, scale, shift = fit_similarity_3d(local, canonical.VERTICES, canonical.RIGIDITY)
    laid = scale * (local.astype(np.float64) @ rotation.T) + shift
    even = 0.5 * (laid + laid[canonical.MIRROR] * (-1.0, 1.0, 1.0))
    return np.asarray((even[:, :2] * _SHARE).ravel())


@lru_cache(maxsize=1)
def _explained() -> F64:
    """Orthonormal rows of what says nothing about who it is: action units, and depth or width that was misread."""
    resting = canonical.VERTICES.astype(np.float64)
    units = np.eye(len(AU_NAMES), dtype=np.float32)
    found = [deform(canonical.VERTICES, unit) - resting for unit in units]
    depth, flat = resting[:, 2], np.zeros(len(resting))
    found += [np.column_stack(columns) for columns in ((depth, flat, flat), (flat, depth, flat))]
    found.append(np.column_stack((resting[:, 0], flat, flat)))
    rows = np.stack([(one[:, :2] * _SHARE).ravel() for one in found])
    _, singular, right = np.linalg.svd(rows, full_matrices=False)
    return np.asarray(right[singular > _LEAST * singular[0]])
