"""Rigid motion, angles and crops: closed forms that everything else shares.

Conventions: image axes (x right, y down, z away from the camera) are right-handed. Rotation matrices act on column
vectors. Head pose is R = Rz(roll) Rx(-pitch) Ry(-yaw) in these axes, so that positive yaw turns the nose to the
picture's right, positive pitch turns it up and positive roll tilts the head clockwise as seen in the picture.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.types import F32, F64, Crop, HeadPose


def fit_similarity_3d(
    source: NDArray[np.floating], target: NDArray[np.floating], weights: F64
) -> tuple[F64, float, F64]:
    """The weighted least-squares similarity with target ~ scale * source @ R.T + translation (Umeyama 1991).

    source, target: (N, 3). weights: (N,), not negative, at least three of them positive.
    Returns R (3, 3) proper, scale > 0, translation (3,), float64.
    """
    share = weights / weights.sum()
    source_mean, target_mean = share @ source, share @ target
    a, b = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd((b * share[:, None]).T @ a)
    sign = 1.0 if np.linalg.det(u @ vt) > 0 else -1.0
    u[:, 2] *= sign
    rotation: F64 = u @ vt
    spread = float(share @ (a * a).sum(1))
    scale = (float(singular[0]) + float(singular[1]) + sign * float(singular[2])) / spread
    return rotation, scale, target_mean - scale * (rotation @ source_mean)


def fit_similarity_2d(source: NDArray[np.floating], target: NDArray[np.floating]) -> F64:
    """The least-squares 2x3 similarity (rotation, uniform scale, shift) from source (N, 2) to target (N, 2)."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    a, b = source - source_mean, target - target_mean
    spread = float((a * a).sum())
    cosine = float((a * b).sum()) / spread
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    matrix = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0]])
    matrix[:, 2] = target_mean - matrix[:, :2] @ source_mean
    return matrix


def rotation_vector(rotation: F64) -> F64:
    """The logarithm of a rotation: axis times angle in radians, angle in 0..pi."""
    skew = np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    sine, cosine = 0.5 * float(np.linalg.norm(skew)), 0.5 * (float(np.trace(rotation)) - 1.0)
    angle = math.atan2(sine, cosine)
    if sine > 1e-7:
        return np.asarray(skew * (0.5 * angle / sine))
    if cosine > 0:
        return np.asarray(0.5 * skew)
    axis = np.sqrt(np.maximum(0.0, 0.5 * (np.diag(rotation) + 1.0)))  # a half turn: R = 2 a a^T - I
    pivot = int(np.argmax(axis))
    axis *= np.where(rotation[pivot] + (np.arange(3) == pivot) < 0, -1.0, 1.0)
    return np.asarray(angle * axis)


def rotation_matrix(vector: F64) -> F64:
    """The exponential of a rotation vector in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    skew: F64 = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-8:
        return np.eye(3) + skew
    turned: F64 = (
        np.eye(3) + math.sin(angle) / angle * skew + (1.0 - math.cos(angle)) / angle**2 * (skew @ skew)
    )
    return turned


def head_pose(rotation: F64) -> HeadPose:
    """Degrees from a rotation matrix; the inverse of pose_rotation for pitch within 90 degrees."""
    pitch = -math.asin(min(1.0, max(-1.0, float(rotation[2, 1]))))
    yaw = -math.atan2(-float(rotation[2, 0]), float(rotation[2, 2]))
    roll = math.atan2(-float(rotation[0, 1]), float(rotation[1, 1]))
    return HeadPose(math.degrees(yaw), math.degrees(pitch), math.degrees(roll))


def pose_rotation(pose: HeadPose) -> F64:
    """The rotation matrix of a head pose: Rz(roll) Rx(-pitch) Ry(-yaw)."""
    yaw, pitch, roll = -math.radians(pose.yaw), -math.radians(pose.pitch), math.radians(pose.roll)
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    about_z = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(about_z @ about_x @ about_y)


def square_crop(centre: NDArray[np.floating], side: float, size: int) -> Crop:
    """An upright square of `side` picture pixels about `centre` (x, y), brought to `size` pixels.

    Pixel centres are integers on both sides, so the picture's point p lies at s * (p - corner + .5) - .5 with
    s = size / side.
    """
    factor = size / side
    corner = np.asarray(centre, np.float64)[:2] - side / 2.0
    shift = 0.5 * factor - 0.5 - factor * (corner + 0.5)
    return Crop(np.array([[factor, 0.0, shift[0]], [0.0, factor, shift[1]]]), size)


def apply_affine(matrix: F64, points: NDArray[np.floating]) -> F32:
    """Points (N, 2) through a 2x3 matrix; float32 (N, 2)."""
    return np.asarray(points[:, :2] @ matrix[:, :2].T + matrix[:, 2], np.float32)


def invert_affine(matrix: F64) -> F64:
    """The inverse 2x3 matrix. Raises numpy.linalg.LinAlgError when it has none."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.concatenate([inverse, (-inverse @ matrix[:, 2])[:, None]], axis=1)


def eye_distance(points: NDArray[np.floating]) -> float:
    """Pixels between the outer eye corners (points 33 and 263) over all given columns.

    Pass points[:, :2] for the distance seen in the picture, (478, 3) for one that survives a turn of the head.
    """
    return float(np.linalg.norm(points[33] - points[263]))
