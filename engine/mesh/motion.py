"""Clips of body parameters: smoothed, seen from elsewhere, stopped and walked around, given hands.

A row is camera (s, tx, ty), local rotation vectors of the joints, the root's first, and BETAS shape coefficients: 85
numbers for a body of 24 joints, 169 for one of 52. Everything here is for whole clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.mesh import lowpass, rotations
from engine.types import F32, F64

Real = TypeVar("Real", F32, F64)

BETAS: Final = 10
JOINTS: Final = 24
BODY_POSE: Final = 66
"""Numbers of the body's pose that stand before the hands': 22 joints."""
POSE_CUTOFF: Final = 300.0
CAMERA_CUTOFF: Final = 150.0
"""Of the notional rate of `lowpass`."""
FEWEST_FRAMES: Final = 10
"""A clip of no more frames is not smoothed."""
MOST_APART: Final = 10.0


def smoothed(rows: F64, pose_cutoff: float = POSE_CUTOFF, camera_cutoff: float = CAMERA_CUTOFF) -> F64:
    """Rows (n, 13 + 3 J) with rotations filtered in 6-D and made rotations again, and cameras filtered; betas kept."""
    found = np.array(rows, np.float64)
    if len(found) <= FEWEST_FRAMES:
        return found
    numbers = rotations.to_6d(_turns(_pose(found)))
    filtered = lowpass.zero_phase(numbers, pose_cutoff)
    found[:, 3:-BETAS] = rotations.to_vectors(rotations.from_6d(filtered)).reshape(len(found), -1)
    found[:, :3] = lowpass.zero_phase(found[:, :3], camera_cutoff)
    return found


def without_outliers(fitted: Real, initial: Real, most: float = MOST_APART) -> Real:
    """Poses (n, 3 J) as fitted, but the initial one in frames where the two are more than `most` apart: the sum of the
    absolute differences of their 6-D rotations."""
    apart = np.abs(_numbers(initial) - _numbers(fitted)).sum(axis=(1, 2))
    found: Real = np.where(apart[:, None] > most, initial, fitted)
    return found


def _numbers(poses: Real) -> Real:
    return rotations.to_6d(rotations.from_vectors_by_quaternions(poses.reshape(len(poses), -1, 3)))


def turntable(length: int, joints: int = JOINTS) -> F32:
    """float32 (length, 13 + 3 joints): a body at rest that turns once about its own axis, first and last frame alike.

    Only the root's rotation is set: y from 0 to 360 degrees after half a turn about x, which stands a body of y up into
    a picture of y down.
    """
    rows = np.zeros((length, 3 + 3 * joints + BETAS), np.float32)
    angles = np.linspace(0.0, 2.0 * np.pi, length) if length > 1 else np.zeros(length)
    upright = _turns(np.array([np.pi, 0.0, 0.0]))
    rows[:, 3:6] = rotations.to_vectors(_about_y(angles) @ upright)
    return rows


def _about_y(angles: F64) -> F64:
    vectors = np.zeros((len(angles), 3))
    vectors[:, 1] = angles
    return _turns(vectors)


def seen_from(rows: F64, degrees: float) -> F64:
    """Rows whose root is turned by `degrees` about the picture's y axis."""
    found = np.array(rows, np.float64)
    turn = _about_y(np.array([np.radians(degrees)]))
    found[:, 3:6] = rotations.to_vectors(turn @ _turns(found[:, 3:6]))
    return found


def stopped(rows: F64, stops: Sequence[tuple[int, int]]) -> tuple[F64, NDArray[np.int64]]:
    """A clip that stops and is walked around (bullet time).

    stops: (frame, length), in order; before `frame` a turn of `length` rows is put in, with its pose, camera and betas
    and the root of `turntable`. Frames beyond the clip are passed over. Gives the rows, and each row's frame (m,).
    """
    pieces: list[F64] = []
    frames: list[NDArray[np.int64]] = []
    first = 0
    for frame, length in stops:
        if frame >= len(rows):
            continue
        around = np.repeat(rows[frame : frame + 1], length, axis=0)
        around[:, 3:6] = turntable(length)[:, 3:6]
        pieces += [rows[first:frame], around]
        frames += [np.arange(first, frame), np.full(length, frame)]
        first = frame
    pieces.append(rows[first:])
    frames.append(np.arange(first, len(rows)))
    return np.concatenate(pieces), np.concatenate(frames)


def with_hands(rows: Real, hands: Real) -> Real:
    """Rows (n, 85) as rows (n, 169): the first 22 joints, and the numbers of both hands, (90,) or (n, 90)."""
    if rows.shape[1] < 3 + BODY_POSE + BETAS:
        raise InputError(f"body parameters: expected {3 + 3 * JOINTS + BETAS} numbers, got {rows.shape[1]}")
    both = np.broadcast_to(hands, (len(rows), hands.shape[-1]))
    parts = [rows[:, : 3 + BODY_POSE], both, rows[:, -BETAS:]]
    found: Real = np.concatenate(parts, axis=1)
    return found


def _turns(vectors: F64) -> F64:
    return rotations.from_wxyz(rotations.vectors_to_wxyz(vectors))


def _pose(rows: F64) -> F64:
    """The rotation vectors (n, J, 3)."""
    count = rows.shape[1] - 3 - BETAS
    if count < 3 or count % 3:
        raise InputError(
            f"body parameters: expected {3 + BETAS} + 3 for each joint, got {rows.shape[1]} numbers"
        )
    return rows[:, 3:-BETAS].reshape(len(rows), -1, 3)
