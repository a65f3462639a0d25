"""The canonical face: a mean neutral face of our own making, its triangles and its named rings.

The file `data/canonical_face.npz` was computed by `export/canonical_mesh.py` from tracked neutral faces: their
generalised Procrustes mean, made symmetric, and a constrained Delaunay triangulation of it that contains the
contours of lips, eyes and oval as edges. Point numbers are those of MediaPipe's face mesh.

Conventions: float32, centimetres with the outer eye corners (33 and 263) 8.89 cm apart, origin at the mean of the
468 mesh points, x to the picture's right, y down, z away from the camera; "right" is the person's right.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
from numpy.typing import NDArray

MESH_POINTS = 468
"""Points of the skin mesh; 468..477 are the irises."""

EYE_DISTANCE_CM = 8.89
"""Distance of the outer eye corners on the canonical face."""

# Closed rings, in order around each contour.
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
LEFT_BROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)

# The iris: centre first, then its right, top, left and bottom edge as the tracker orders them.
RIGHT_IRIS = (468, 469, 470, 471, 472)
LEFT_IRIS = (473, 474, 475, 476, 477)

OUTER_EYE_CORNERS = (33, 263)
RIGHT_EYE_CORNERS = (33, 133)
LEFT_EYE_CORNERS = (362, 263)
"""The corners of one eye, the one further left in the picture first."""


def _load() -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    with (
        resources.files("engine").joinpath("data/canonical_face.npz").open("rb") as stream,
        np.load(stream, allow_pickle=False) as data,
    ):
        return (
            np.ascontiguousarray(data["vertices"], np.float32),
            np.ascontiguousarray(data["triangles"], np.int32),
            np.ascontiguousarray(data["mirror"], np.int32),
            np.ascontiguousarray(data["rigidity"], np.float64),
        )


VERTICES, TRIANGLES, MIRROR, RIGIDITY = _load()
"""VERTICES (478, 3) float32 cm. TRIANGLES (T, 3) int32 over the 468 mesh points, closed over eyes and mouth, all
with the same orientation. MIRROR (478,) int32: the point at the mirrored place. RIGIDITY (478,) float64 in 0..1:
1 / (variance under expression + a floor), measured on speaking and grimacing faces; 0 for the irises."""

for _array in (VERTICES, TRIANGLES, MIRROR, RIGIDITY):
    _array.setflags(write=False)


def _upper_face() -> NDArray[np.float64]:
    upper = np.where(VERTICES[:, 1] < VERTICES[1, 1] - 1.0, RIGIDITY, 0.0)
    upper[list(RIGHT_BROW + LEFT_BROW)] *= 0.25
    upper.setflags(write=False)
    return upper


UPPER_FACE = _upper_face()
"""RIGIDITY restricted to the points above the nose tip: a pose fitted with it does not nod with the jaw."""
