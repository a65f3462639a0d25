from __future__ import annotations

import math

import numpy as np
import pytest

from engine import canonical, smooth
from engine.features import action_units, derive, gaze, landmarks68, openness
from engine.features.au_basis import deform
from engine.features.shape import fit_shape
from engine.geometry import head_pose, pose_rotation, rotation_vector
from engine.smooth import Band, FeatureSmoother, MaskSmoother, SmoothingConfig, alpha, delay_s
from engine.types import AU_NAMES, FaceShape, Features, HeadPose, Neutral, Signal

AHEAD = HeadPose(0.0, 0.0, 0.0)
EVERYTHING = frozenset(
    {Signal.LANDMARKS68, Signal.AUS, Signal.HEAD_POSE, Signal.GAZE, Signal.OPENNESS, Signal.SHAPE}
)


def shape_of(local=canonical.VERTICES, pose=AHEAD, scale=18.0, at=(300.0, 200.0, 0.0)):
    return FaceShape(np.asarray(local, np.float32), pose_rotation(pose), scale, np.asarray(at, np.float64))


def run(shapes, fps=30.0, config=None):
    """The smoothed shapes and the reported lags of a sequence at a constant frame rate."""
    smoother = FeatureSmoother(config)
    out, lags = [], []
    for index, shape in enumerate(shapes):
        out.append(smoother.smooth(Features(index / fps, shape=shape)).shape)
        lags.append(smoother.lag_s)
    return out, lags


def eye_distances(points):
    return np.linalg.norm(points[:, 33] - points[:, 263], axis=1).mean()


def jitter(points):
    return np.linalg.norm(np.diff(points[..., :2], 2, axis=0), axis=2).mean()


@pytest.fixture
def clips(parity_root):
    """Landmarks of real clips (name, fps, frames 478 x 3), without lost faces."""
    rates = {
        "man_glasses_room": 30, "man_grey_hair_speech": 25, "man_webcam_neutral_to_smile": 30,
        "man_wide_mouth_frontal": 30, "synthetic_motion_dark_skin_woman": 30, "woman_indoor_medium_shot": 30,
    }  # fmt: skip
    folder = parity_root / "mediapipe"
    return [(name, fps, np.load(folder / f"{name}.npz")["landmarks_px"]) for name, fps in rates.items()]


def test_first_face_passes_unchanged():
    """There is nothing to smooth with yet."""
    (only,), (lag,) = run([shape_of()])
    np.testing.assert_array_equal(only.local, canonical.VERTICES)
    assert lag == 0.0


def test_still_face_stays_still():
    """What does not move is not moved by the filter."""
    out, _ = run([shape_of(pose=HeadPose(10.0, 5.0, -8.0))] * 20)
    np.testing.assert_allclose(out[-1].points(), out[0].points(), atol=1e-3)


def test_alpha_is_that_of_one_euro():
    """alpha = r / (1 + r) with r = 2 pi cutoff dt; its group delay tends to 1 / (2 pi cutoff) for short steps."""
    assert alpha(1.0 / (2.0 * math.pi), 1.0) == pytest.approx(0.5)
    assert alpha(3.0, 1.0 / 30.0) == pytest.approx(0.6283 / 1.6283, rel=1e-3)
    assert delay_s(alpha(2.0, 1e-4), 1e-4) == pytest.approx(1.0 / (4.0 * math.pi), rel=1e-3)


def test_a_step_is_answered_as_the_closed_form_says():
    """With beta 0 every part of the face approaches a step exponentially: the rest shrinks by (1 - alpha) per frame."""
    band, fps, frames = Band(2.0, 0.0), 30.0, 12
    names = ("rotation", "scale", "translation", "mouth", "eyes", "brows", "rest", "gaze")
    config = SmoothingConfig(**dict.fromkeys(names, band))
    end = shape_of(canonical.VERTICES + 0.5, HeadPose(20.0, 0.0, 0.0), 24.0, (330.0, 180.0, 0.0))
    out, _ = run([shape_of()] + [end] * frames, fps, config)
    left = (1.0 - alpha(2.0, 1.0 / fps)) ** frames
    np.testing.assert_allclose(end.local - out[-1].local, 0.5 * left, atol=1e-4)
    assert math.log(24.0 / out[-1].scale) == pytest.approx(left * math.log(24.0 / 18.0), rel=1e-4)
    turned = rotation_vector(out[-1].rotation.T @ end.rotation)
    assert np.degrees(np.linalg.norm(turned)) == pytest.approx(20.0 * left, rel=1e-4)


@pytest.mark.parametrize("fps", [12.0, 25.0, 60.0])
def test_the_filter_is_in_seconds(fps):
    """After the same time a step is answered alike at any frame rate."""
    end = shape_of(canonical.VERTICES + 0.1)
    out, _ = run([shape_of()] + [end] * round(0.25 * fps), fps)
    assert np.abs(end.local - out[-1].local).max() < 0.02


def test_uneven_frame_times_are_followed():
    """A ramp sampled unevenly is followed with the same small delay as one sampled evenly."""
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.uniform(0.01, 0.06, 60))
    smoother = FeatureSmoother()
    for time_s in times:
        place = (300.0 + 40.0 * time_s, 200.0, 0.0)
        out = smoother.smooth(Features(time_s, shape=shape_of(at=place))).shape
    behind_s = (300.0 + 40.0 * times[-1] - out.translation[0]) / 40.0
    assert 0.0 < behind_s < 0.012


def test_reported_lag_is_the_lag():
    """For a steady pan lag_s tells how late the smoothed face is, within a fifth."""
    speed, fps = 60.0, 30.0
    shapes = [shape_of(at=(300.0 + speed * i / fps, 200.0, 0.0)) for i in range(60)]
    out, lags = run(shapes, fps)
    behind_s = (shapes[-1].translation[0] - out[-1].translation[0]) / speed
    assert lags[-1] == pytest.approx(behind_s, rel=0.2)


def test_a_blink_is_not_lost():
    """A blink of four frames still closes the eye nine tenths of the way."""
    closing = np.zeros(len(AU_NAMES))
    closing[-1] = 1.0
    shut = shape_of(deform(canonical.VERTICES, closing))
    out, _ = run([shape_of()] * 10 + [shut] * 4 + [shape_of()] * 5)
    opened = openness.measure(shape_of()).right_eye
    lids = [openness.measure(shape).right_eye / opened for shape in out]
    assert min(lids) < 0.1
    assert lids[-1] > 0.9


def test_a_pause_starts_anew():
    """After half a second without frames, or when time runs back, the next face passes unchanged."""
    for later in (1.0, -1.0):
        smoother = FeatureSmoother()
        smoother.smooth(Features(0.0, shape=shape_of()))
        moved = shape_of(canonical.VERTICES + 1.0)
        np.testing.assert_array_equal(smoother.smooth(Features(later, shape=moved)).shape.local, moved.local)
        assert smoother.lag_s == 0.0


def test_reset_forgets():
    """After reset nothing of the last face colours the next."""
    smoother = FeatureSmoother()
    smoother.smooth(Features(0.0, shape=shape_of()))
    smoother.reset()
    moved = shape_of(canonical.VERTICES + 1.0)
    np.testing.assert_array_equal(smoother.smooth(Features(0.03, shape=moved)).shape.local, moved.local)


def test_switched_off_it_changes_nothing():
    """With enabled=False features pass as they are and there is no lag."""
    config = SmoothingConfig(enabled=False)
    moved = shape_of(canonical.VERTICES + 1.0)
    out, lags = run([shape_of(), moved], config=config)
    np.testing.assert_array_equal(out[1].local, moved.local)
    assert lags == [0.0, 0.0]


SLOW = SmoothingConfig(translation=Band(2.0, 0.0))
"""A pan is late by a time that can be told beforehand."""


def panned(smoother, strengths, speed=60.0, fps=30.0):
    """Raw and smoothed x of a steady pan, frame by frame, under the strengths set for them."""
    xs = []
    for index, strength in enumerate(strengths):
        smoother.strength = strength
        shape = shape_of(at=(300.0 + speed * index / fps, 200.0, 0.0))
        found = smoother.smooth(Features(index / fps, shape=shape)).shape
        xs.append((shape.translation[0], found.translation[0]))
    return np.array(xs)


def test_strength_divides_every_cutoff():
    """0 passes everything, 1 is as tuned, and at 4 a steady pan is four times as late as at 1."""
    behind = [float(np.diff(panned(FeatureSmoother(SLOW), [s] * 150)[-1])[0]) for s in (0.0, 1.0, 4.0)]
    assert behind[0] == pytest.approx(0.0, abs=1e-6)
    assert behind[2] == pytest.approx(4 * behind[1], rel=0.02)
    assert behind[1] < -1.0
    smoother = FeatureSmoother()
    smoother.strength = 0.0
    for index in range(60):
        moved = shape_of(canonical.VERTICES + 0.1 * index, HeadPose(index, 0.0, 0.0), 18.0 + index)
        found = smoother.smooth(Features(index / 30, shape=moved)).shape
    np.testing.assert_allclose(found.points(), moved.points(), atol=1e-2)
    assert smoother.lag_s == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("before", "after"), [(4.0, 0.0), (0.0, 4.0)])
def test_a_change_of_strength_does_not_jump(before, after):
    """The smoothed face goes over to where the other filter has it, within a second and without a leap."""
    xs = panned(FeatureSmoother(SLOW), [before] * 120 + [after] * 120)
    steps = np.diff(xs[100:], axis=0)
    assert (steps[:, 1] > 0.0).all()
    assert (steps[:, 1] < 2.0 * steps[:, 0]).all()
    alone = panned(FeatureSmoother(SLOW), [after] * 240)
    np.testing.assert_allclose(xs[-1], alone[-1], atol=0.2)


def test_the_masks_strength_is_that_of_the_face():
    """At 0 a mask passes as it is, at 4 it is calmer than at 1."""
    ends = []
    for strength in (0.0, 1.0, 4.0):
        smoother = MaskSmoother(SmoothingConfig(mask=Band(2.0, 0.0)))
        smoother.strength = strength
        smoother.reset()
        smoother.smooth(np.zeros((2, 2), np.uint8), 0.0)
        ends.append(int(smoother.smooth(np.full((2, 2), 200, np.uint8), 1 / 30)[0, 0]))
    assert ends[0] == 200
    assert ends[1] > 2 * ends[2] > 0


def test_derived_signals_agree_with_the_smoothed_shape():
    """Landmarks, pose, gaze, openness and AUs are those of the smoothed shape, and only those that came in."""
    rest = shape_of()
    neutral = Neutral(rest, openness.measure(rest), gaze.measure(rest), 1.0)
    smile = np.zeros(len(AU_NAMES))
    smile[AU_NAMES.index("AU12")] = 0.4
    moved = shape_of(deform(canonical.VERTICES, smile), HeadPose(15.0, 0.0, 0.0))
    smoother = FeatureSmoother()
    smoother.smooth(derive(rest, Features(0.0), EVERYTHING, neutral), neutral)
    found = smoother.smooth(derive(moved, Features(1 / 30), EVERYTHING, neutral), neutral)
    assert found.head_pose == head_pose(found.shape.rotation)
    assert found.gaze == gaze.measure(found.shape)
    assert found.openness == openness.measure(found.shape)
    np.testing.assert_array_equal(found.landmarks68, landmarks68.measure(found.shape))
    np.testing.assert_array_equal(found.aus, action_units.measure(found.shape, neutral))
    assert 0.1 < found.aus[AU_NAMES.index("AU12")] < 0.5
    assert smoother.smooth(Features(2 / 30, shape=moved)).gaze is None


def test_features_without_a_shape_pass():
    """A signal set without a face shape is not touched."""
    features = Features(1.0)
    assert FeatureSmoother().smooth(features) is features


def test_groups_cover_the_face_once_and_alike_on_both_sides():
    """Every point belongs to one group, its mirror image to the same one; the irises are the gaze."""
    groups = smooth.GROUP_INDEX
    np.testing.assert_array_equal(groups[canonical.MIRROR], groups)
    assert {smooth.GROUPS[g] for g in groups[list(canonical.LIPS_INNER)]} == {"mouth"}
    assert {smooth.GROUPS[g] for g in groups[list(canonical.RIGHT_EYE)]} == {"eyes"}
    assert {smooth.GROUPS[g] for g in groups[list(canonical.LEFT_BROW)]} == {"brows"}
    assert {smooth.GROUPS[g] for g in groups[canonical.MESH_POINTS :]} == {"gaze"}


def test_real_clips_get_calmer_and_not_late(clips):
    """On tracked clips jitter falls below .9 everywhere and .8 on average, and no point moves by more than .003 of the
    eye distance on average: smoothing costs less than two trackings of one picture differ (.0126)."""
    ratios, errors = [], []
    for _, fps, points in clips:
        out, _ = run([fit_shape(face) for face in points], fps)
        smoothed = np.array([shape.points() for shape in out])
        ratios.append(jitter(smoothed) / jitter(points))
        errors.append(np.linalg.norm((smoothed - points)[..., :2], axis=2).mean() / eye_distances(points))
    assert max(ratios) < 0.9
    assert np.mean(ratios) < 0.8
    assert max(errors) < 0.003


def test_real_signals_keep_their_course(clips):
    """Mouth gap and lid opening before and after smoothing correlate at .99 where they vary at all."""
    for _, fps, points in clips:
        raw = [fit_shape(face) for face in points]
        courses = []
        for shapes in (raw, run(raw, fps)[0]):
            gaps = [openness.measure(shape) for shape in shapes]
            courses.append(np.array([(gap.mouth, gap.right_eye + gap.left_eye) for gap in gaps]))
        for before, after in zip(courses[0].T, courses[1].T):
            if before.std() >= 0.03:
                assert np.corrcoef(before, after)[0, 1] >= 0.99


def test_mask_edge_calms_down():
    """A flickering pixel is held near its mean, a mask that changes for good arrives, and the type stays uint8."""
    smoother, flicker = MaskSmoother(), []
    for index in range(40):
        mask = np.full((4, 4), 255, np.uint8)
        mask[0, 0] = 120 + 10 * (index % 2)
        found = smoother.smooth(mask, index / 30)
        flicker.append(int(found[0, 0]))
        assert found.dtype == np.uint8
        assert (found[1:] == 255).all()
    assert np.ptp(flicker[10:]) < 7
    for index in range(40, 60):
        found = smoother.smooth(np.zeros((4, 4), np.uint8), index / 30)
    assert found.max() <= 2


def test_mask_of_another_size_starts_anew():
    """A new picture size, or a long pause, passes the mask unchanged."""
    smoother = MaskSmoother()
    smoother.smooth(np.zeros((4, 4), np.uint8), 0.0)
    assert (smoother.smooth(np.full((6, 4), 200, np.uint8), 0.03) == 200).all()
    assert (smoother.smooth(np.full((6, 4), 90, np.uint8), 5.0) == 90).all()
