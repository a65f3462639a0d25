"""Whether two faces may be one person's, by their shapes alone.

Both are laid over the canonical face by their rigid parts and made symmetric; what is left between them after taking
out everything that action units, a misread depth and a misread width can do is measured on the rigid parts, from the
front.

A shape tells little. Of 1066 pairs of one person (frames of clips with speech, grimaces and up to 40 degrees of yaw,
and five posed photographs) all were at most .149 cm apart, 99 in a hundred at most .133; of 81555 pairs of different
people half were more than .127 cm apart. At MOST_APART_CM 9 of those 1066 are refused, and two in five of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    return float(_distances([one, other])[0, 1])


def strangers(shapes: Sequence[FaceShape]) -> dict[int, tuple[list[int], float]]:
    """Numbers of the faces that are not the person's, each with those of the person's faces and how far it is from them
    on the mean (centimetres).

    A face is the person's where it is near enough to the others on the mean: a grimace that is far from one of them is
    near the rest. The one that is farthest is taken out, of as far the later one, until that is so of all.
    """
    apart = _distances(shapes) if shapes else np.zeros((0, 0))
    person = list(range(len(shapes)))
    while len(person) > 1:
        means = apart[np.ix_(person, person)].sum(1) / (len(person) - 1)
        if means.max() <= MOST_APART_CM:
            break
        del person[len(person) - 1 - int(np.argmax(np.round(means[::-1], 9)))]
    others = (k for k in range(len(shapes)) if k not in person)
    return {k: (person, float(apart[k, person].mean())) for k in others}


def telling(shape: FaceShape) -> F64:
    """What of a shape tells whose it is, (956,): the distance of two of them is shape_distance."""
    explained, told = _explained(), _seen(shape.local)
    return np.asarray(told - (told @ explained.T) @ explained)


def _distances(shapes: Sequence[FaceShape]) -> F64:
    """(N, N), of each to each, in canonical centimetres."""
    told = np.stack([telling(shape) for shape in shapes])
    return np.asarray(np.linalg.norm(told[:, None] - told[None], axis=2))


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
