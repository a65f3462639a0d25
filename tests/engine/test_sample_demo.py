"""The demo driver: smooth, looping, neutral at first, with eyes that stay in their lids."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine import canonical
from engine.features.shape import fit_shape
from engine.geometry import head_pose
from engine.sample.demo import DemoTracker, demo_face, demo_frames
from engine.sample.script import CUES, DURATION_S, minimum_jerk

_SIZE = (512, 512)
_RATE = 30


@pytest.fixture(scope="module")
def clip():
    """The performance's points in units of the distance of the outer eye corners, (360, 478, 3)."""
    points = np.stack([demo_face(i / _RATE, _SIZE).points for i in range(round(DURATION_S * _RATE))])
    return points / np.linalg.norm(points[0, 33] - points[0, 263])


def test_first_second_is_neutral(clip):
    """A calibration that takes the first second sees a face that rests."""
    assert np.array_equal(clip[0], clip[_RATE])
    assert np.ptp(clip[: _RATE + 1], axis=0).max() == 0


def test_loops_without_a_jump():
    """The end is where the beginning is, and any later time repeats the performance."""
    start, end = (demo_face(t, _SIZE).points for t in (0.0, DURATION_S - 1 / _RATE))
    assert np.abs(start - end).max() < 0.05
    assert np.array_equal(demo_face(4.5, _SIZE).points, demo_face(4.5 + 2 * DURATION_S, _SIZE).points)


def test_motion_is_bounded(clip):
    """Nothing jumps: speed and acceleration per frame stay within what a living face does."""
    velocity = np.diff(clip, axis=0)
    acceleration = np.diff(velocity, axis=0)
    assert np.abs(velocity).max() < 0.09
    assert np.abs(acceleration).max() < 0.06


def test_acting_uses_the_whole_face(clip):
    """There is something to see: turns and nods, an opening mouth, blinks, a wink, brows and gaze."""
    poses = [head_pose(fit_shape(points).rotation) for points in clip[::3].astype(np.float32)]
    assert np.ptp([pose.yaw for pose in poses]) > 20
    assert np.ptp([pose.pitch for pose in poses]) > 10
    mouth = np.linalg.norm(clip[:, 13] - clip[:, 14], axis=1)
    assert mouth.max() > mouth[0] + 0.08
    right, left = (np.linalg.norm(clip[:, a] - clip[:, b], axis=1) for a, b in ((159, 145), (386, 374)))
    shut = 0.25 * right[0]
    assert ((right < shut) & (left < shut)).any()
    assert ((left < shut) & (right > 0.7 * right[0])).any()
    gaze = clip[:, 473, 0] - clip[:, [362, 263], 0].mean(1)
    assert np.ptp(gaze) > 0.08


def test_irises_stay_in_their_eyes():
    """The middle of an iris never leaves the contour of its eye, but for the moments of closed lids."""
    for number in range(0, round(DURATION_S * _RATE), 2):
        points = demo_face(number / _RATE, _SIZE).points
        for ring, iris in ((canonical.RIGHT_EYE, 468), (canonical.LEFT_EYE, 473)):
            eye = np.ascontiguousarray(points[list(ring), :2])
            low, high = eye.min(0), eye.max(0)
            assert low[0] < points[iris, 0] < high[0]
            if high[1] - low[1] > 0.3 * (high[0] - low[0]):
                assert cv2.pointPolygonTest(eye, tuple(map(float, points[iris, :2])), False) > 0


def test_cues_leave_the_neutral_alone():
    """No cue reaches into the first second or over the end of the loop."""
    assert min(cue.start for cue in CUES) >= 1.0
    assert max(cue.end for cue in CUES) <= DURATION_S


def test_minimum_jerk_is_flat_at_both_ends():
    """Position meets the ends with no velocity and no acceleration, so cues may follow each other."""
    step = 1e-3
    for end, inwards in ((0.0, 1), (1.0, -1)):
        samples = [minimum_jerk(end + inwards * i * step) for i in range(3)]
        assert samples[0] == end
        assert abs(samples[1] - samples[0]) / step < 1e-4
        assert abs(samples[2] - 2 * samples[1] + samples[0]) / step**2 < 0.1
    assert minimum_jerk(0.5) == 0.5


@pytest.mark.parametrize("size", [(640, 360), (360, 640)])
def test_face_follows_the_picture_size(size):
    """The face stands amid any picture, scaled by its shorter side, and its box holds the mesh."""
    face = demo_face(0.0, size)
    assert face.points.shape == (478, 3)
    assert face.points.dtype == np.float32
    assert np.linalg.norm(face.points[33, :2] - face.points[263, :2]) == pytest.approx(0.26 * 360, rel=0.01)
    assert np.abs(face.points[:468, :2].mean(0) - np.array(size) / 2).max() < 1.5
    assert (face.box[:2] <= face.points[:468, :2]).all()
    assert (face.points[:468, :2] <= face.box[2:]).all()


def test_tracker_plays_by_media_time():
    """In the tracker's place it answers the frame's own time, and its frames hold no pixel of anybody."""
    frames = list(demo_frames(_SIZE, rate=10))
    assert len(frames) == 120
    assert all(not frame.rgb.any() for frame in frames[:2])
    (face,) = DemoTracker().track(frames[45])
    assert np.array_equal(face.points, demo_face(4.5, _SIZE).points)
    assert face.track_id == DemoTracker().track(frames[46])[0].track_id
