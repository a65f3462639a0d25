"""The 68 landmarks of 300-W, picked from the mesh.

Each landmark is one mesh point, or the middle of two where the mesh has none at that place. The jaw follows
the mesh's oval, which sticks to the skin; on a turned head 300-W annotators follow the visible outline
instead.
"""

from __future__ import annotations

import numpy as np

from engine.types import F32, FaceShape

JAW = (
    (127, 127), (234, 234), (93, 132), (132, 58), (58, 172), (136, 136), (150, 149), (176, 148), (152, 152),
    (400, 377), (379, 378), (365, 365), (288, 397), (361, 288), (323, 361), (454, 454), (356, 356),
)  # fmt: skip
RIGHT_BROW = ((70, 70), (63, 63), (105, 105), (66, 66), (107, 107))
LEFT_BROW = ((336, 336), (296, 296), (334, 334), (293, 293), (300, 300))
NOSE_BRIDGE = ((168, 168), (6, 197), (195, 5), (4, 4))
NOSE_BASE = ((98, 98), (97, 97), (2, 2), (326, 326), (327, 327))
RIGHT_EYE = ((33, 33), (160, 160), (158, 158), (133, 133), (153, 153), (144, 144))
LEFT_EYE = ((362, 362), (385, 385), (387, 387), (263, 263), (373, 373), (380, 380))
LIPS_OUTER = (
    (61, 61), (40, 39), (37, 37), (0, 0), (267, 267), (269, 270), (291, 291),
    (321, 405), (314, 314), (17, 17), (84, 84), (91, 181),
)  # fmt: skip
LIPS_INNER = ((78, 78), (81, 81), (13, 13), (311, 311), (308, 308), (402, 402), (14, 14), (178, 178))

POINTS = (
    *JAW, *RIGHT_BROW, *LEFT_BROW, *NOSE_BRIDGE, *NOSE_BASE, *RIGHT_EYE, *LEFT_EYE, *LIPS_OUTER, *LIPS_INNER,
)  # fmt: skip
"""Landmark to the two mesh points whose middle it is, in 300-W order (0..67)."""

_FIRST, _SECOND = np.array(POINTS).T


def from_points(points: F32) -> F32:
    """The landmarks (68, 2) of mesh points (478, 3), in the same pixels; float32."""
    return np.asarray(0.5 * (points[_FIRST, :2] + points[_SECOND, :2]), np.float32)


def measure(shape: FaceShape) -> F32:
    """The landmarks (68, 2) of a fitted face, in pixels; float32."""
    local = 0.5 * (shape.local[_FIRST] + shape.local[_SECOND])
    placed = shape.scale * (local @ shape.rotation[:2].T) + shape.translation[:2]
    return np.asarray(placed, np.float32)
