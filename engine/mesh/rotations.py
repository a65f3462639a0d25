"""Rotations in the forms that body models use, many at a time: vectors, 6-D, quaternions, matrices.

Convention: matrices (..., 3, 3) act on column vectors; rotation vectors (..., 3) are axis times angle in radians; 6-D
(..., 6) is the first two columns of the matrix, row by row (Zhou et al. 2019, as the official code lays them out);
quaternions (..., 4) are named by their order. Every function keeps the dtype that it is given (float32 or float64).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.types import F32, F64

Real = TypeVar("Real", F32, F64)

_TINY = 1e-8


def skew(vectors: Real) -> Real:
    """(..., 3) -> (..., 3, 3), the matrices K with K @ p = v x p."""
    made = np.zeros((*vectors.shape, 3), vectors.dtype)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    made[..., 0, 1], made[..., 0, 2], made[..., 1, 2] = -z, y, -x
    made[..., 1, 0], made[..., 2, 0], made[..., 2, 1] = z, -y, x
    return made


def from_vectors(vectors: Real) -> Real:
    """Rodrigues, with angle = |v + 1e-8| and axis = v / angle as SMPL's published code has it: v = 0 needs no case of
    its own."""
    angle = np.linalg.norm(vectors + vectors.dtype.type(_TINY), axis=-1, keepdims=True)
    axis = vectors / angle
    cosine, sine = np.cos(angle)[..., None], np.sin(angle)[..., None]
    eye = np.eye(3, dtype=vectors.dtype)
    turned: Real = cosine * eye + (1 - cosine) * axis[..., :, None] * axis[..., None, :] + sine * skew(axis)
    return turned


def from_vectors_by_quaternions(vectors: Real) -> Real:
    """The same through a unit quaternion, as SMPL-H's published code does: it differs in the last digits."""
    angle = np.linalg.norm(vectors + vectors.dtype.type(_TINY), axis=-1, keepdims=True)
    half = angle * vectors.dtype.type(0.5)
    return from_wxyz(np.concatenate([np.cos(half), np.sin(half) * (vectors / angle)], axis=-1))


def to_vectors(matrices: Real) -> Real:
    """The logarithm: (..., 3, 3) -> (..., 3), angle in 0..pi."""
    return wxyz_to_vectors(to_wxyz(matrices))


def from_wxyz(quaternions: Real) -> Real:
    """Quaternions (w, x, y, z) of any length but 0 -> matrices."""
    unit = quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
    w, axis = unit[..., 0, None, None], unit[..., 1:]
    eye = np.eye(3, dtype=quaternions.dtype)
    inner = w * w - (axis * axis).sum(-1)[..., None, None]
    turned: Real = inner * eye + 2 * axis[..., :, None] * axis[..., None, :] + 2 * w * skew(axis)
    return turned


def from_xyzw(quaternions: Real) -> Real:
    """Quaternions (x, y, z, w) of any length but 0 -> matrices."""
    return from_wxyz(np.roll(quaternions, 1, axis=-1))


def to_wxyz(matrices: Real) -> Real:
    """Matrices -> unit quaternions (w, x, y, z) with w >= 0; the largest part is divided by, so half turns are safe."""
    diagonal = np.stack([matrices[..., i, i] for i in range(3)], axis=-1)
    trace = diagonal.sum(-1)
    squares = np.concatenate([trace[..., None], 2 * diagonal - trace[..., None]], axis=-1) + 1  # 4 q_i^2
    m = matrices
    products = np.empty((*matrices.shape[:-2], 4, 4), matrices.dtype)  # 4 q_i q_j
    products[..., range(4), range(4)] = squares
    for i, j, value in (
        (0, 1, m[..., 2, 1] - m[..., 1, 2]),
        (0, 2, m[..., 0, 2] - m[..., 2, 0]),
        (0, 3, m[..., 1, 0] - m[..., 0, 1]),
        (1, 2, m[..., 1, 0] + m[..., 0, 1]),
        (1, 3, m[..., 0, 2] + m[..., 2, 0]),
        (2, 3, m[..., 2, 1] + m[..., 1, 2]),
    ):
        products[..., i, j] = products[..., j, i] = value
    pivot = squares.argmax(-1)
    row = np.take_along_axis(products, pivot[..., None, None], axis=-2)[..., 0, :]
    unit = row / np.linalg.norm(row, axis=-1, keepdims=True)
    made: Real = np.where(unit[..., :1] < 0, -unit, unit)
    return made


def wxyz_to_vectors(quaternions: Real) -> Real:
    """Unit quaternions (w, x, y, z) -> rotation vectors, angle in 0..pi."""
    sign = np.where(quaternions[..., :1] < 0, -1, 1).astype(quaternions.dtype)
    w, axis = sign * quaternions[..., :1], sign * quaternions[..., 1:]
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    small = sine < _TINY
    factor = np.where(small, 2, 2 * np.arctan2(sine, w) / np.where(small, 1, sine))
    return np.asarray(axis * factor, quaternions.dtype)


def vectors_to_wxyz(vectors: Real) -> Real:
    """Rotation vectors -> unit quaternions (w, x, y, z)."""
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    small = angle < _TINY
    factor = np.where(small, 0.5, np.sin(angle / 2) / np.where(small, 1, angle))
    return np.concatenate([np.cos(angle / 2), vectors * factor], axis=-1).astype(vectors.dtype)


def from_6d(numbers: Real) -> Real:
    """(..., 6) -> (..., 3, 3): the two columns made orthonormal by Gram and Schmidt, the third their cross product."""
    columns = numbers.reshape(*numbers.shape[:-1], 3, 2)
    first = _unit(columns[..., 0])
    second = columns[..., 1]
    second = _unit(second - (first * second).sum(-1, keepdims=True) * first)
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def to_6d(matrices: Real) -> Real:
    """(..., 3, 3) -> (..., 6)."""
    return matrices[..., :2].reshape(*matrices.shape[:-2], 6)


def angles_between(ones: Real, others: Real) -> NDArray[np.floating]:
    """The angle in radians, 0..pi, of the rotation from each of (..., 3, 3) to its counterpart."""
    between = np.swapaxes(ones, -1, -2) @ others
    axis = np.stack([between[..., i, j] - between[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], axis=-1)
    cosine = np.trace(between, axis1=-2, axis2=-1) - 1
    return np.asarray(np.arctan2(np.linalg.norm(axis, axis=-1), cosine))


def _unit(vectors: Real) -> Real:
    """torch's normalize: nothing is divided by less than 1e-12."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    made: Real = vectors / np.maximum(length, vectors.dtype.type(1e-12))
    return made
