"""The two layers of a source: the person, who moves, and what is behind, which stands still."""

from __future__ import annotations

import cv2
import numpy as np

from engine.generators.mesh_flow.fill import push_pull, refine_alpha
from engine.types import F32, U8


def split(picture: U8, person: U8 | None, face: F32) -> tuple[U8, U8 | None]:
    """The moving layer (S, S, 4), straight alpha, and the standing one (S, S, 3), or None without a person mask.

    picture: uint8 (S, S, 3). person: uint8 (S, S), 255 = person. face: float32 (N, 2), an outline that belongs to
    the person whatever the mask says. Laid over each other unmoved, the layers give back the picture.
    """
    size = picture.shape[0]
    if person is None:
        return np.dstack([picture, np.full((size, size), 255, np.uint8)]), None
    radius = max(2, round(0.008 * size))
    alpha = refine_alpha(person, picture, radius)
    alpha = np.clip((alpha - 0.08) / 0.72, 0.0, 1.0)
    inside = np.zeros((size, size), np.uint8)
    cv2.fillPoly(inside, [np.rint(face).astype(np.int32)], 255)
    alpha = np.maximum(alpha, cv2.GaussianBlur(inside, (0, 0), radius).astype(np.float32) / 255.0)
    background = _behind(picture, alpha, radius)
    colour = picture.astype(np.float32)
    share = alpha[:, :, None]
    solved = (colour - (1.0 - share) * background) / np.maximum(share, 1e-3)
    solved = np.where(share > 0.05, np.clip(solved, 0.0, 255.0), colour)
    # Where no colour of the moving layer explains the picture, the standing one has to: at rest nothing may change.
    rest = (colour - share * solved) / np.maximum(1.0 - share, 1e-3)
    background = np.where(share < 0.95, np.clip(rest, 0.0, 255.0), background)
    moving = np.dstack([np.rint(solved), np.rint(255.0 * alpha)]).astype(np.uint8)
    return np.ascontiguousarray(moving), np.ascontiguousarray(np.rint(background).astype(np.uint8))


def _behind(picture: U8, alpha: F32, radius: int) -> F32:
    """The picture with the person taken out."""
    reach = 4 * radius + 1
    near = cv2.dilate(
        (alpha > 0.02).astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    )
    known = (1.0 - near).astype(np.float32)
    if not known.any():
        return picture.astype(np.float32)
    filled = push_pull(picture.astype(np.float32), known)
    share = np.clip(alpha * 4.0, 0.0, 1.0)
    share = np.maximum(share, cv2.blur(near.astype(np.float32), (reach, reach)) * (alpha > 0.02))
    return np.asarray(picture + share[:, :, None] * (filled - picture), np.float32)
