"""Rotations in the forms that body models use, against each other and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from engine.mesh import rotations

TURNS = Rotation.from_rotvec(
    np.concatenate(
        [
            np.random.default_rng(0).normal(0, 1.2, (20, 3)),
            np.zeros((1, 3)),
            [[1e-7, 0, 0], [np.pi, 0, 0], [0, -np.pi + 1e-9, 0], [0, 0, 3.1]],
        ]
    )
)


@pytest.mark.parametrize("make", [rotations.from_vectors, rotations.from_vectors_by_quaternions])
def test_vectors_become_the_matrices_that_they_name(make):
    """Axis times angle, by either published way; half turns and no turn included."""
    np.testing.assert_allclose(make(TURNS.as_rotvec()), TURNS.as_matrix(), atol=1e-7)


def test_there_and_back_is_the_same_turn():
    """Matrices to vectors, quaternions and 6-D and back again."""
    given = TURNS.as_matrix()
    for there, back in (
        (rotations.to_vectors, rotations.from_vectors),
        (rotations.to_wxyz, rotations.from_wxyz),
        (rotations.to_6d, rotations.from_6d),
    ):
        np.testing.assert_allclose(back(there(given)), given, atol=1e-7)
    np.testing.assert_allclose(
        rotations.from_wxyz(rotations.vectors_to_wxyz(TURNS.as_rotvec())), given, atol=1e-12
    )


def test_quaternions_are_read_in_the_order_of_their_name():
    """xyzw is SciPy's order, wxyz the other one; length and sign do not count."""
    numbers = TURNS.as_quat()
    np.testing.assert_allclose(rotations.from_xyzw(-3.0 * numbers), TURNS.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(
        rotations.from_wxyz(np.roll(numbers, 1, axis=-1)), TURNS.as_matrix(), atol=1e-12
    )


def test_six_numbers_are_made_orthonormal():
    """Whatever a network gives, the result is a rotation whose first column points where the first numbers did."""
    numbers = np.random.default_rng(1).normal(size=(30, 6)).astype(np.float32)
    made = rotations.from_6d(numbers)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made @ np.swapaxes(made, 1, 2), np.tile(np.eye(3), (30, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(made), 1, atol=1e-5)
    first = numbers[:, ::2] / np.linalg.norm(numbers[:, ::2], axis=1, keepdims=True)
    np.testing.assert_allclose(made[:, :, 0], first, atol=1e-5)


def test_the_angle_between_turns_is_that_of_the_way_from_one_to_the_other():
    """Radians, 0..pi, whatever both stand for."""
    angles = np.linspace(0, np.pi, 7)
    by = Rotation.from_rotvec(angles[:, None] * np.array([[0.6, 0.0, 0.8]])).as_matrix()
    start = TURNS.as_matrix()[:7]
    np.testing.assert_allclose(rotations.angles_between(start, start @ by), angles, atol=1e-6)
