"""The figures themselves: pure functions of landmarks and pictures.

Conventions: landmarks are float32 (T, 478, 3) in pixels of the cut, NaN where no face was found; every
distance between landmarks is taken in the picture (x and y) and divided by the distance of the outer eye
corners there, so that it has no unit; pictures are uint8 RGB.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.geometry import fit_similarity_2d, head_pose
from engine.types import F32, F64, U8

PSNR_CEILING = 60.0
"""dB that equal pictures get, in place of infinity."""

LIPS = canonical.LIPS_OUTER + canonical.LIPS_INNER

_MESH = np.s_[: canonical.MESH_POINTS]
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def oval_mask(points: F32, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """True inside the face oval of `points` (478, 3). shape: (height, width) of the picture."""
    mask = np.zeros(shape, np.uint8)
    outline = np.rint(points[list(canonical.FACE_OVAL), :2]).astype(np.int32)
    cv2.fillPoly(mask, [outline], 1)
    return mask.astype(bool)


def psnr(picture: U8, truth: U8, mask: NDArray[np.bool_]) -> float:
    """Peak signal to noise in dB over the pixels of `mask` and all three channels, at most PSNR_CEILING."""
    difference = picture[mask].astype(np.float32) - truth[mask].astype(np.float32)
    error = float(np.mean(difference * difference))
    return PSNR_CEILING if error <= 0 else min(PSNR_CEILING, 10 * float(np.log10(255.0**2 / error)))


def ssim(picture: U8, truth: U8, mask: NDArray[np.bool_]) -> float:
    """Structural similarity (Wang 2004) of the luma, averaged over `mask`: 11 px Gaussian window of sigma
    1.5.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    inside = np.s_[max(0, rows[0] - 8) : rows[-1] + 9, max(0, columns[0] - 8) : columns[-1] + 9]
    a, b = (cv2.cvtColor(p[inside], cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (picture, truth))
    mean_a, mean_b = _blur(a), _blur(b)
    cross = mean_a * mean_b
    spread = _blur(a * a) - mean_a * mean_a + _blur(b * b) - mean_b * mean_b
    quality = (2 * cross + _C1) * (2 * (_blur(a * b) - cross) + _C2)
    quality /= (mean_a * mean_a + mean_b * mean_b + _C1) * (spread + _C2)
    return float(quality[mask[inside]].mean())


def _blur(values: NDArray[np.floating]) -> F32:
    return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float32)


def error_picture(picture: U8, truth: U8) -> U8:
    """The absolute difference, mean over channels and four times brightened, as a grey picture of three
    channels.
    """
    apart = cv2.absdiff(picture, truth).astype(np.float32).mean(2) * 4
    return np.repeat(np.minimum(apart, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def similarity_picture(source: U8, source_points: F32, points: F32) -> U8:
    """The baseline: the whole source moved by the one 2-D similarity that brings its face onto `points`."""
    matrix = fit_similarity_2d(source_points[_MESH, :2], points[_MESH, :2])
    size = (source.shape[1], source.shape[0])
    moved = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def similarity_error(source_points: F32, points: F32) -> float:
    """What the baseline leaves: mean distance of the aligned points from `points`, over the eye distance."""
    source, target = source_points[_MESH, :2], points[_MESH, :2]
    matrix = fit_similarity_2d(source, target)
    left = np.linalg.norm(source @ matrix[:, :2].T + matrix[:, 2] - target, axis=1).mean()
    return float(left / _eye_distances(points[None])[0])


def _eye_distances(points: F32) -> F64:
    right, left = canonical.OUTER_EYE_CORNERS
    return np.asarray(np.linalg.norm(points[:, right, :2] - points[:, left, :2], axis=1), np.float64)


def landmark_error(points: F32, truth: F32, which: tuple[int, ...] | None = None) -> float | None:
    """Mean distance over frames and points, over the truth's eye distance; frames that lack a face do not
    count.

    which: point numbers, None for the 468 of the mesh. None when no frame has both faces.
    """
    both = _present(points) & _present(truth)
    if not both.any():
        return None
    chosen = _MESH if which is None else list(which)
    apart = np.linalg.norm(points[both][:, chosen, :2] - truth[both][:, chosen, :2], axis=2).mean(1)
    return float((apart / _eye_distances(truth[both])).mean())


def _present(points: F32) -> NDArray[np.bool_]:
    return np.isfinite(points[:, 0, 0])


def correlation(values: F64, truth: F64) -> float | None:
    """Pearson's, over the frames where both are finite; 0 where `values` does not move at all.

    None with fewer than three frames, or where the truth itself does not move.
    """
    both = np.isfinite(values) & np.isfinite(truth)
    if both.sum() < 3 or np.ptp(truth[both]) == 0:
        return None
    if np.ptp(values[both]) == 0:
        return 0.0
    return float(np.corrcoef(values[both], truth[both])[0, 1])


def jitter(points: F32) -> float | None:
    """Mean length of the landmarks' second difference over consecutive frames, over the eye distance.

    points: consecutive frames; a step counts where all three of its frames have a face. None where none does.
    """
    second = points[2:, _MESH, :2] - 2 * points[1:-1, _MESH, :2] + points[:-2, _MESH, :2]
    moved = np.linalg.norm(second, axis=2).mean(1) / _eye_distances(points[1:-1])
    moved = moved[np.isfinite(moved)]
    return float(moved.mean()) if len(moved) else None


def pose_difference(rotation: F64, truth: F64) -> F64:
    """Absolute differences of yaw, pitch and roll in degrees, (3,), each in 0..180."""
    a, b = head_pose(rotation), head_pose(truth)
    apart = np.array([a.yaw - b.yaw, a.pitch - b.pitch, a.roll - b.roll])
    return np.asarray(np.abs((apart + 180.0) % 360.0 - 180.0))


def shape_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Mean distance of the 468 points of two local shapes (478, 3), over the canonical eye distance (both in
    cm).

    Taken in the frontal view (x and y): the depth that a tracker gives back is mostly its prior.
    """
    apart = np.linalg.norm(a[_MESH, :2] - b[_MESH, :2], axis=1)
    return float(apart.mean()) / canonical.EYE_DISTANCE_CM
