"""What the controls change of a layout: the places of its parts before it is drawn, and its hair and glasses after."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.features.au_basis import LIPS, deform
from engine.generators.motion.regions import REGIONS
from engine.parsing.classes import Part
from engine.types import AU_NAMES, F32, U8, Controls

EYES, NOSE, LIPS_HEIGHT = 0.35, 0.5, 0.7
"""At an amount of 1: growth of eyes, of the nose in breadth and of the lips in height."""

BROW_REACH, HAIR_REACH = 0.02, 0.1
"""At an amount of 1: the share of the square's side by which brows and hair reach further on every side."""

_GROWS_OVER = (Part.BACKGROUND, Part.NECK, Part.CLOTH, Part.L_EAR, Part.R_EAR, Part.EAR_R, Part.NECK_L)
_NOSE = (98, 97, 2, 326, 327, 64, 294, 48, 278, 129, 358, 219, 439, 49, 279, 131, 360, 102, 331)
"""The wings and what lies under them."""

_OVER = np.isin(np.arange(len(Part)), _GROWS_OVER)
_FACIAL = np.isin(
    np.arange(len(Part)), (Part.SKIN, Part.NOSE, Part.L_BROW, Part.R_BROW, Part.L_EYE, Part.R_EYE)
)
_SKIN = np.arange(len(Part)) == Part.SKIN
_EYE_PARTS = np.isin(np.arange(len(Part)), (Part.L_EYE, Part.R_EYE))
_UPPER, _LOWER = np.array(LIPS[0]), np.array(LIPS[1])
_HALF = 11


def expressed(local: F32, rest: F32, controls: Controls) -> F32:
    """The driver's own face (478, 3) in canonical centimetres with its expression by the gains and the offsets.

    rest: its neutral. A gain of 1 leaves the region as it is.
    """
    gain = REGIONS @ np.array([controls.mouth, controls.eyes, controls.brows], np.float32)
    if (gain != 1.0).any():
        local = np.asarray(local + (gain - 1.0)[:, None] * (local - rest), np.float32)
        gap = np.minimum(local[_LOWER, 1] - local[_UPPER, 1], 0.0)
        local[_UPPER, 1] += 0.5 * gap
        local[_LOWER, 1] -= 0.5 * gap
    if any(controls.au_offsets.values()):
        local = deform(local, np.array([controls.au_offsets.get(au, 0.0) for au in AU_NAMES], np.float32))
    return local


def reshaped(local: F32, amounts: Mapping[str, float]) -> F32:
    """A face (478, 3) in canonical centimetres with eyes, nose and lips by the amounts."""
    if not any(amounts.get(name, 0.0) for name in ("eyes", "nose", "lips")):
        return local
    local = local.copy()
    for rows in (list(canonical.RIGHT_EYE), list(canonical.LEFT_EYE)):
        middle = local[rows].mean(0)
        local[rows] = middle + (1.0 + EYES * amounts.get("eyes", 0.0)) * (local[rows] - middle)
    nose = local[list(_NOSE), 0]
    local[list(_NOSE), 0] = nose + NOSE * amounts.get("nose", 0.0) * (nose - local[[1, 2, 4], 0].mean())
    _fill_lips(local, LIPS_HEIGHT * amounts.get("lips", 0.0))
    return local


def _fill_lips(local: F32, share: float) -> None:
    """The outer contour further from the inner one, by a share of their distance; the corners stay."""
    outer, inner = list(canonical.LIPS_OUTER), list(canonical.LIPS_INNER)
    moving = [k for k in range(len(outer)) if k not in (0, _HALF - 1)]
    rows, within = [outer[k] for k in moving], [inner[k] for k in moving]
    local[rows] += share * (local[rows] - local[within])


def repainted(labels: U8, points: F32, amounts: Mapping[str, float]) -> U8:
    """The layout (S, S) with more or less of brows and hair, and with glasses or without. points: (478, 3) in its
    pixels."""
    brows, hair, glasses = (amounts.get(name, 0.0) for name in ("brows", "hair", "glasses"))
    for part in (Part.L_BROW, Part.R_BROW):
        labels = _grown(labels, part, brows * BROW_REACH, _SKIN, Part.SKIN)
    labels = _grown(labels, Part.HAIR, hair * HAIR_REACH, _OVER, Part.BACKGROUND)
    if glasses < 0.0:
        labels = np.where(labels == Part.EYE_G, np.uint8(Part.SKIN), labels)
    elif glasses > 0.0:
        labels = _glasses(labels, points, glasses)
    return labels


def _grown(labels: U8, part: Part, share: float, over: NDArray[np.bool_], ground: Part) -> U8:
    """A part further over the classes in `over` by a share of the side, or taken away from the ground on inwards."""
    there = labels == part
    if not share or not there.any():
        return labels
    reach = abs(share) * len(labels)
    if share > 0.0:
        return np.where(_near(there, reach) & over[labels], np.uint8(part), labels)
    beside = labels == ground
    if not beside.any():
        return labels
    return np.where(_near(beside, reach) & there, np.uint8(ground), labels)


def _near(there: NDArray[np.bool_], reach: float) -> NDArray[np.bool_]:
    """Pixels at most so far from any that is there."""
    return np.asarray(cv2.distanceTransform((~there).astype(np.uint8), cv2.DIST_L2, 5) <= reach)


def _glasses(labels: U8, points: F32, size: float) -> U8:
    """Two lenses about the eyes and the bridge between them, under the eyes, as CelebAMask-HQ merges its parts."""
    flat = points[:, :2].astype(np.float64)
    eyes = [
        flat[list(corners)].mean(0) for corners in (canonical.RIGHT_EYE_CORNERS, canonical.LEFT_EYE_CORNERS)
    ]
    across = eyes[1] - eyes[0]
    apart = float(np.hypot(*across))
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    lenses: U8 = np.zeros_like(labels)
    axes = (0.36 + 0.08 * size) * apart, (0.16 + 0.14 * size) * apart
    below = 0.06 * apart * np.array([-across[1], across[0]]) / max(apart, 1e-6)
    for eye in eyes:
        cv2.ellipse(lenses, (tuple((eye + below).tolist()), (2 * axes[0], 2 * axes[1]), angle), 1, -1)
    start, end = (tuple(round(value) for value in eye.tolist()) for eye in eyes)
    cv2.line(lenses, start, end, 1, max(1, round(0.05 * apart)))
    paint = (lenses > 0) & _FACIAL[labels] & ~_EYE_PARTS[labels]
    return np.where(paint, np.uint8(Part.EYE_G), labels)
