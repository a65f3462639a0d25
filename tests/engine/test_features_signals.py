from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from engine import canonical
from engine.features import derive, extract, gaze, landmarks68, openness, present
from engine.features.au_basis import deform
from engine.geometry import pose_rotation
from engine.types import AU_NAMES, Body, Face, FaceShape, Features, Frame, HeadPose, Neutral, Signal

POSES = [HeadPose(0.0, 0.0, 0.0), HeadPose(35.0, 10.0, -20.0), HeadPose(-30.0, -15.0, 30.0)]


def shape_of(local, pose=POSES[0]):
    return FaceShape(np.asarray(local, np.float32), pose_rotation(pose), 18.0, np.array([300.0, 200.0, 5.0]))


def face_of(shape):
    points = shape.points()
    box = np.array([*points[:, :2].min(0), *points[:, :2].max(0)], np.float32)
    return Face(box, points, 1.0, 1)


FRAME = Frame(np.zeros((480, 640, 3), np.uint8), 7, Fraction(1, 25), 0.0)


@pytest.mark.parametrize("pose", POSES)
def test_mouth_openness_is_the_lip_gap_over_the_eye_distance(pose):
    """A lower lip lowered by a known length opens the mouth by that length over 8.89 cm, however the head turns."""
    local = canonical.VERTICES.copy()
    upper, lower = np.array(openness.LIP_PAIRS).T
    local[upper, 1], local[lower, 1] = 3.0, 3.0 + 0.2 * canonical.EYE_DISTANCE_CM
    shape = shape_of(local, pose)
    assert openness.measure(shape).mouth == pytest.approx(0.2, abs=1e-3)
    seen = extract(face_of(shape), FRAME, frozenset({Signal.OPENNESS})).openness
    assert seen.mouth == pytest.approx(0.2, abs=2e-3)


def test_lid_opening_is_the_gap_over_the_eye_width():
    """Lids at a known gap across a slanted eye read that gap over its width; right and left are told apart."""
    local = canonical.VERTICES.copy()
    local[33, :2], local[133, :2] = (-4.0, -3.0), (-2.0, -2.5)
    axis = (local[133, :2] - local[33, :2]) / np.linalg.norm(local[133, :2] - local[33, :2])
    for upper, lower in openness.RIGHT_LID_PAIRS:
        middle = np.array([-3.0, -2.75])
        local[upper, :2] = middle - 0.3 * np.array([-axis[1], axis[0]])
        local[lower, :2] = middle + 0.3 * np.array([-axis[1], axis[0]])
    width = float(np.linalg.norm(local[133, :2] - local[33, :2]))
    found = openness.measure(shape_of(local))
    assert found.right_eye == pytest.approx(0.6 / width, rel=1e-4)
    assert found.left_eye == pytest.approx(openness.measure(shape_of(canonical.VERTICES)).left_eye)


def test_openness_is_never_negative():
    """Lips and lids that cross by a tracker's error read closed."""
    local = canonical.VERTICES.copy()
    for upper, lower in openness.LIP_PAIRS + openness.RIGHT_LID_PAIRS + openness.LEFT_LID_PAIRS:
        local[upper, 1], local[lower, 1] = local[lower, 1] + 0.1, local[upper, 1] - 0.1
    assert openness.measure(shape_of(local)) == type(openness.measure(shape_of(local)))(0.0, 0.0, 0.0)


@pytest.mark.parametrize("pose", POSES)
def test_gaze_counts_half_eye_widths_along_the_eye(pose):
    """An iris a known share towards a corner reads that share, also in a turned head."""
    local = canonical.VERTICES.copy()
    for iris, (first, second) in (
        (468, canonical.RIGHT_EYE_CORNERS),
        (473, canonical.LEFT_EYE_CORNERS),
    ):
        local[iris] = 0.5 * (local[first] + local[second]) + 0.4 * 0.5 * (local[second] - local[first])
    look = gaze.measure(shape_of(local, pose))
    assert (look.right_x, look.left_x) == pytest.approx((0.4, 0.4), abs=1e-5)
    assert (look.right_y, look.left_y) == pytest.approx((0.0, 0.0), abs=1e-5)


def test_gaze_down_is_positive():
    """y grows towards the chin."""
    local = canonical.VERTICES.copy()
    local[list(canonical.RIGHT_IRIS + canonical.LEFT_IRIS), 1] += 0.3
    before, after = gaze.measure(shape_of(canonical.VERTICES)), gaze.measure(shape_of(local))
    assert after.right_y > before.right_y + 0.1
    assert after.left_y > before.left_y + 0.1


def test_landmarks68_are_symmetric_and_in_300w_order():
    """Each landmark mirrors onto its partner of the 300-W scheme; the groups have the standard lengths."""
    flipped = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    flipped += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    flipped += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    points = landmarks68.from_points(canonical.VERTICES)
    np.testing.assert_allclose(points[flipped], points * (-1.0, 1.0), atol=1e-5)
    assert len(landmarks68.POINTS) == 68
    assert len(landmarks68.JAW) == 17


def test_landmarks68_stand_where_300w_puts_them():
    """Chin 8 is lowest, nose tip 30 nearest, 36 and 45 are the outer eye corners, 48 and 54 the mouth's corners."""
    points = landmarks68.from_points(canonical.VERTICES)
    assert points[:, 1].argmax() == 8
    np.testing.assert_array_equal(points[[36, 45, 48, 54]], canonical.VERTICES[[33, 263, 61, 291], :2])
    assert (np.diff(points[:9, 1]) > 0).all()
    assert (np.diff(points[27:31, 1]) > 0).all()
    assert (np.diff(points[17:27, 0]) > 0).all()
    assert (np.diff(points[31:36, 0]) > 0).all()
    spacing = np.linalg.norm(np.diff(points[:17], axis=0), axis=1)
    assert spacing.max() < 2.5 * spacing.min()


def test_landmarks68_of_a_shape_are_those_of_its_points():
    """Placing first and picking then, or the other way round, is the same."""
    shape = shape_of(canonical.VERTICES, POSES[1])
    np.testing.assert_allclose(landmarks68.measure(shape), landmarks68.from_points(shape.points()), atol=1e-3)


def test_only_what_is_needed_is_measured():
    """A signal that nobody asked for is None; the shape is always there."""
    face = face_of(shape_of(canonical.VERTICES))
    assert present(extract(face, FRAME, frozenset())) == {Signal.SHAPE}
    needs = frozenset({Signal.GAZE, Signal.HEAD_POSE, Signal.LANDMARKS68})
    assert present(extract(face, FRAME, needs)) == needs | {Signal.SHAPE}
    assert extract(face, FRAME, needs).time_s == pytest.approx(7 / 25)


def test_aus_need_a_neutral():
    """Without a neutral the AUs are zeros, and with one they tell the difference to it."""
    rest, smile = shape_of(canonical.VERTICES), np.zeros(len(AU_NAMES), np.float32)
    smile[AU_NAMES.index("AU12")] = 0.6
    face = face_of(shape_of(deform(canonical.VERTICES, smile)))
    needs = frozenset({Signal.AUS})
    assert not extract(face, FRAME, needs).aus.any()
    neutral = Neutral(rest, openness.measure(rest), gaze.measure(rest), 1.0)
    assert extract(face, FRAME, needs, neutral).aus[AU_NAMES.index("AU12")] == pytest.approx(0.6, abs=0.12)


def test_parsing_and_body_come_when_needed():
    """The parsing mask has the frame's size; the body passes through, and only on request."""
    face = face_of(shape_of(canonical.VERTICES))
    body = Body(np.zeros((33, 4), np.float32), np.zeros((33, 4), np.float32), 0.0)
    features = extract(face, FRAME, frozenset({Signal.PARSING, Signal.BODY}), body=body)
    assert features.parsing.labels.shape == (480, 640)
    assert features.parsing.labels.any()
    assert features.body is body
    assert extract(face, FRAME, frozenset(), body=body).body is None


def test_derived_signals_agree_with_their_shape():
    """Signals derived from another shape are that shape's; parsing and time are kept."""
    rest = Features(3.0, parsing=np.ones((4, 4), np.uint8))
    shape = shape_of(canonical.VERTICES, POSES[1])
    found = derive(shape, rest, frozenset({Signal.HEAD_POSE, Signal.OPENNESS}), None)
    assert found.head_pose.yaw == pytest.approx(35.0)
    assert found.openness == openness.measure(shape)
    assert found.time_s == 3.0
    assert found.parsing is rest.parsing
