"""Faces known by numbers: the way to another process and back, and what is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from engine.acting import PACKED_BYTES, Acting, acted_face, packed, unpacked
from engine.features.gaze import measure as measured_gaze
from engine.features.openness import measure as measured_openness
from engine.features.shape import fit_shape
from engine.geometry import head_pose, pose_rotation
from engine.types import AU_NAMES, Gaze, HeadPose

_SIZE = (640, 480)


def _units(**units: float) -> np.ndarray:
    return np.array([units.get(name, 0.0) for name in AU_NAMES], np.float32)


def _acting() -> Acting:
    pose = pose_rotation(HeadPose(20.0, -10.0, 5.0))
    return Acting(_units(AU12=0.5), _units(AU45=1.0), Gaze(0.1, 0.2, 0.1, 0.2), pose, (0.1, -0.05), 1.25)


def test_an_acting_survives_its_way():
    """What another process unpacks makes the same face."""
    acting = unpacked(packed(_acting()))
    assert acting is not None
    there, here = acted_face(acting, _SIZE).points, acted_face(_acting(), _SIZE).points
    assert np.abs(there - here).max() < 1e-3


def _spoilt(place: int, value: float) -> np.ndarray:
    numbers = packed(_acting()).view(np.float32).copy()
    numbers[place] = value
    return numbers.view(np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        np.zeros(PACKED_BYTES, np.uint8),  # no rotation
        np.zeros(PACKED_BYTES - 1, np.uint8),
        np.zeros((PACKED_BYTES, 1), np.uint8),
        packed(_acting()).astype(np.int16),
        _spoilt(0, np.nan),
        _spoilt(3, 1.5),
        _spoilt(38, -2.0),
        _spoilt(47, 0.75),
        _spoilt(49, 40.0),
    ],
)
def test_nonsense_is_no_acting(data):
    """Bytes that are of no acting, or of one beyond its ranges, are none."""
    assert unpacked(data) is None


def test_pose_gaze_and_lids_are_as_told():
    """A measured face has the angles, the look and the closed eye that it was told to have."""
    shape = fit_shape(acted_face(_acting(), _SIZE).points)
    pose, openness = head_pose(shape.rotation), measured_openness(shape)
    assert np.allclose([pose.yaw, pose.pitch, pose.roll], [20.0, -10.0, 5.0], atol=1.0)
    assert openness.left_eye < 0.05 < 0.2 < openness.right_eye
    looks, straight = (measured_gaze(one) for one in (shape, fit_shape(acted_face(Acting(), _SIZE).points)))
    assert looks.right_x - straight.right_x == pytest.approx(0.1, abs=0.02)


def test_place_and_size_are_as_told():
    """The head's shift is in shares of the shorter side, its lean is a factor."""
    still, moved = (acted_face(Acting(shift=shift), _SIZE).points for shift in ((0.0, 0.0), (0.1, -0.2)))
    assert np.allclose((moved - still)[:, :2], [48.0, -96.0], atol=1e-3)
    near = acted_face(Acting(lean=2.0), _SIZE).points
    corners = [33, 263]
    assert np.linalg.norm(np.diff(near[corners], axis=0)) == pytest.approx(
        2 * np.linalg.norm(np.diff(still[corners], axis=0)), rel=1e-4
    )
