"""The 24 joints of SMPL, the 33 points of the tracker, and which point belongs to which joint."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

JOINTS: Final = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
PARENTS: Final = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
COUNT: Final = len(JOINTS)

PELVIS, SPINE1, SPINE2, SPINE3, NECK, HEAD = 0, 3, 6, 9, 12, 15
HIPS, KNEES, ANKLES, FEET = (1, 2), (4, 5), (7, 8), (10, 11)
COLLARS, SHOULDERS, ELBOWS, WRISTS, HANDS = (13, 14), (16, 17), (18, 19), (20, 21), (22, 23)
SPINE_AND_ROOT: Final = (PELVIS, SPINE1, SPINE2, SPINE3)
LEGS: Final = (*HIPS, *KNEES, *ANKLES, *FEET)
STILL: Final = (*FEET, *HANDS)
"""Joints that the tracker's points say nothing about: they stay as they are at rest."""
SIDES: Final = (1.0, -1.0)
"""Sign of the person's left and right along the model's x."""

POINTS: Final = 33
NOSE = 0
EARS, POINT_SHOULDERS, POINT_ELBOWS, POINT_WRISTS = (7, 8), (11, 12), (13, 14), (15, 16)
PINKIES, INDICES, THUMBS = (17, 18), (19, 20), (21, 22)
POINT_HIPS, POINT_KNEES, POINT_ANKLES, HEELS, TOES = (23, 24), (25, 26), (27, 28), (29, 30), (31, 32)

OF_JOINT: Final = {
    **dict(zip(POINT_SHOULDERS, SHOULDERS)),
    **dict(zip(POINT_ELBOWS, ELBOWS)),
    **dict(zip(POINT_WRISTS, WRISTS)),
    **dict(zip(POINT_HIPS, HIPS)),
    **dict(zip(POINT_KNEES, KNEES)),
    **dict(zip(POINT_ANKLES, ANKLES)),
}
"""Points that lie where a joint is."""


def ancestors() -> NDArray[np.bool_]:
    """(24, 24): whether the second joint's rotation moves what is fixed to the first one; a joint moves its own."""
    moved = np.eye(COUNT, dtype=bool)
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            moved[joint] |= moved[parent]
    return moved
