from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import geometry
from engine.types import HeadPose

ANGLE = st.floats(-80, 80)


def test_similarity_3d_is_recovered_exactly():
    """A similarity between two point sets is found exactly, whatever its rotation, scale and shift."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(20, 3))
    for vector in rng.normal(size=(5, 3)):
        rotation = geometry.rotation_matrix(vector)
        target = 2.5 * points @ rotation.T + (3.0, -4.0, 5.0)
        found, scale, shift = geometry.fit_similarity_3d(points, target, rng.uniform(0.1, 1.0, 20))
        np.testing.assert_allclose(found, rotation, atol=1e-12)
        assert scale == pytest.approx(2.5)
        np.testing.assert_allclose(shift, (3.0, -4.0, 5.0), atol=1e-12)


def test_similarity_3d_ignores_points_without_weight():
    """A point of weight 0 has no say in the fit, however wrong it is."""
    points = np.random.default_rng(2).normal(size=(10, 3))
    target, weights = points.copy(), np.ones(10)
    target[3] += 100.0
    weights[3] = 0.0
    rotation, scale, shift = geometry.fit_similarity_3d(points, target, weights)
    np.testing.assert_allclose(rotation, np.eye(3), atol=1e-12)
    assert (scale, *shift) == pytest.approx((1.0, 0.0, 0.0, 0.0))


def test_similarity_3d_never_reflects():
    """A mirrored target is answered with a proper rotation, since a face cannot be turned inside out."""
    points = np.random.default_rng(3).normal(size=(10, 3))
    rotation, scale, _ = geometry.fit_similarity_3d(points, points * (-1.0, 1.0, 1.0), np.ones(10))
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert 0.0 < scale < 1.0


def test_similarity_2d_is_recovered_exactly():
    """The planar fit returns the 2x3 matrix that made the target."""
    points = np.random.default_rng(4).normal(size=(8, 2))
    matrix = np.array([[1.2, -0.7, 30.0], [0.7, 1.2, -4.0]])
    found = geometry.fit_similarity_2d(points, geometry.apply_affine(matrix, points).astype(np.float64))
    np.testing.assert_allclose(found, matrix, atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6, 0.3, 1.5, 3.0, math.pi - 1e-9, math.pi])
def test_rotation_vector_undoes_rotation_matrix(angle):
    """Logarithm and exponential are inverse to each other from no turn to a half turn."""
    for axis in ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.6, 0.0, -0.8), (-2 / 3, 1 / 3, 2 / 3)):
        matrix = geometry.rotation_matrix(angle * np.array(axis))
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        back = geometry.rotation_matrix(geometry.rotation_vector(matrix))
        np.testing.assert_allclose(back, matrix, atol=1e-6)
        assert np.linalg.norm(geometry.rotation_vector(matrix)) == pytest.approx(angle, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(yaw=ANGLE, pitch=ANGLE, roll=ANGLE)
def test_head_pose_undoes_pose_rotation(yaw, pitch, roll):
    """Angles survive the way to a matrix and back."""
    back = geometry.head_pose(geometry.pose_rotation(HeadPose(yaw, pitch, roll)))
    assert (back.yaw, back.pitch, back.roll) == pytest.approx((yaw, pitch, roll), abs=1e-6)


def test_head_pose_has_the_stated_signs():
    """Positive yaw turns the nose to the picture's right, pitch turns it up, roll tilts the head clockwise."""
    nose, crown = np.array([0.0, 0.0, -1.0]), np.array([0.0, -1.0, 0.0])
    assert (geometry.pose_rotation(HeadPose(20.0, 0.0, 0.0)) @ nose)[0] > 0.3
    assert (geometry.pose_rotation(HeadPose(0.0, 20.0, 0.0)) @ nose)[1] < -0.3
    assert (geometry.pose_rotation(HeadPose(0.0, 0.0, 20.0)) @ crown)[0] > 0.3


def test_square_crop_maps_pixel_edges():
    """The square's edges fall on the crop's edges, with pixel centres at integers on both sides."""
    crop = geometry.square_crop(np.array([100.0, 60.0]), side=40.0, size=160)
    corners = (
        np.array([[80.0, 40.0], [120.0, 80.0]]) + 0.5
    )  # the square's centre is the corner between four pixels
    mapped = geometry.apply_affine(crop.matrix, corners - 1.0)
    np.testing.assert_allclose(mapped, [[-2.5, -2.5], [157.5, 157.5]], atol=1e-4)
    assert crop.size == 160


def test_invert_affine_undoes():
    """A point goes through a matrix and its inverse unchanged; a flat matrix has no inverse."""
    matrix = np.array([[2.0, 0.5, 3.0], [-0.5, 1.0, 7.0]])
    point = np.array([[11.0, -5.0]])
    there = geometry.apply_affine(matrix, point)
    np.testing.assert_allclose(geometry.apply_affine(geometry.invert_affine(matrix), there), point, atol=1e-5)
    with pytest.raises(np.linalg.LinAlgError):
        geometry.invert_affine(np.zeros((2, 3)))


def test_eye_distance_uses_the_columns_given():
    """In the picture a turned head's eyes come closer; in space they do not."""
    points = np.zeros((478, 3))
    points[263] = (30.0, 0.0, 40.0)
    assert geometry.eye_distance(points[:, :2]) == pytest.approx(30.0)
    assert geometry.eye_distance(points) == pytest.approx(50.0)
