from __future__ import annotations

import numpy as np
import pytest

from engine import canonical
from engine.features.au_basis import deform
from engine.features.shape import fit_shape
from engine.geometry import head_pose, pose_rotation
from engine.types import AU_NAMES, FaceShape, HeadPose

AHEAD = HeadPose(0.0, 0.0, 0.0)


def placed(local, pose=AHEAD, scale=20.0):
    return FaceShape(np.asarray(local, np.float32), pose_rotation(pose), scale, np.array([320.0, 240.0, 0.0]))


def test_shape_gives_its_points_back():
    """Taking a face apart loses nothing."""
    rng = np.random.default_rng(0)
    points = placed(canonical.VERTICES + rng.normal(0, 0.3, (478, 3)), HeadPose(20.0, -10.0, 5.0)).points()
    np.testing.assert_allclose(fit_shape(points).points(), points, atol=1e-3)


@pytest.mark.parametrize("pose", [HeadPose(0, 0, 0), HeadPose(35, 0, 0), HeadPose(-10, 20, 40)])
def test_rigid_motion_leaves_no_expression(pose):
    """A canonical face that was only turned, shifted and scaled has the canonical local shape and that pose."""
    shape = fit_shape(placed(canonical.VERTICES, pose, 13.0).points())
    np.testing.assert_allclose(shape.local, canonical.VERTICES, atol=1e-4)
    assert shape.scale == pytest.approx(13.0, rel=1e-5)
    found = head_pose(shape.rotation)
    assert (found.yaw, found.pitch, found.roll) == pytest.approx((pose.yaw, pose.pitch, pose.roll), abs=1e-3)


def test_opening_jaw_is_no_nod():
    """A wide open mouth moves the fitted pose by less than a tenth of a degree."""
    aus = np.zeros(len(AU_NAMES))
    aus[[AU_NAMES.index("AU25"), AU_NAMES.index("AU26")]] = 1.0
    pose = head_pose(fit_shape(placed(deform(canonical.VERTICES, aus)).points()).rotation)
    assert max(abs(pose.yaw), abs(pose.pitch), abs(pose.roll)) < 0.1
