from __future__ import annotations

import numpy as np
import pytest

from engine import canonical
from engine.errors import InputError
from engine.features import gaze, openness
from engine.features.au_basis import deform
from engine.features.calibration import Calibration, CalibrationConfig
from engine.features.resting import between, is_calmer, median, observe, rms
from engine.features.shape import fit_shape
from engine.geometry import head_pose, pose_rotation
from engine.types import AU_NAMES, FaceShape, Features, HeadPose

AHEAD = HeadPose(0.0, 0.0, 0.0)
LIPS = list(canonical.LIPS_OUTER)


def face(pose=AHEAD, **aus):
    """A face with the given AUs, placed in the picture."""
    intensities = np.zeros(len(AU_NAMES), np.float32)
    for name, value in aus.items():
        intensities[AU_NAMES.index(name)] = value
    local = deform(canonical.VERTICES, intensities)
    return FaceShape(local, pose_rotation(pose), 20.0, np.array([320.0, 240.0, 0.0]))


REST = face()
SMILE = face(AU12=1.0)
OPEN = face(AU25=0.6, AU26=0.5)
BLINK = face(AU45=1.0)


class Driver:
    """Feeds a calibration frame by frame, with a tracker's noise."""

    def __init__(self, calibration=None, fps=30.0):
        self.calibration = calibration or Calibration()
        self.fps, self.frame = fps, 0
        self.rng = np.random.default_rng(8)

    def show(self, shape, seconds):
        for _ in range(round(seconds * self.fps)):
            noise = self.rng.normal(0.0, 0.01, shape.local.shape).astype(np.float32)
            noisy = FaceShape(shape.local + noise, shape.rotation, shape.scale, shape.translation)
            self.calibration.update(Features(self.frame / self.fps, shape=noisy))
            self.frame += 1
        return self

    def away(self, shape):
        """RMS distance in cm of the neutral's lips from those of `shape`."""
        return rms((self.calibration.neutral().shape.local - shape.local)[LIPS])

    def speak(self, seconds):
        """Mouth open and shut five times a second."""
        for _ in range(round(seconds * 5)):
            self.show(OPEN, 0.1).show(REST, 0.1)
        return self


def test_before_any_face_there_is_no_neutral():
    """Asking too early is an error that says what to do."""
    with pytest.raises(InputError, match="call update first"):
        Calibration().neutral()


def test_first_frame_is_a_usable_neutral():
    """Output need not wait: one frame gives a neutral, marked as unsettled."""
    driver = Driver().show(OPEN, 1 / 30)
    neutral = driver.calibration.neutral()
    assert driver.away(OPEN) < 0.02
    assert 0.0 < neutral.confidence < 0.5
    assert not driver.calibration.calibrated


def test_first_stable_second_is_the_neutral():
    """After a second at rest the neutral is the median face, better than any single frame, and confidence is high."""
    driver = Driver().show(REST, 1.1).show(REST, 1.5)
    neutral = driver.calibration.neutral()
    assert driver.calibration.calibrated
    assert neutral.confidence > 0.8
    assert rms(neutral.shape.local - REST.local) < 0.005
    assert neutral.openness.right_eye == pytest.approx(openness.measure(REST).right_eye, abs=0.01)
    assert neutral.gaze.left_x == pytest.approx(gaze.measure(REST).left_x, abs=0.02)


@pytest.mark.parametrize("fps", [10.0, 25.0, 60.0])
def test_a_second_is_a_second_at_any_frame_rate(fps):
    """Calibration is done after one second, not after a number of frames."""
    driver = Driver(fps=fps).show(REST, 0.85)
    assert not driver.calibration.calibrated
    driver.show(REST, 0.3)
    assert driver.calibration.calibrated


def test_blinks_are_left_out():
    """A blink neither spoils the stable second nor enters the neutral."""
    driver = Driver().show(REST, 0.4).show(BLINK, 0.13).show(REST, 0.7).show(REST, 1.0)
    assert driver.calibration.calibrated
    assert driver.calibration.neutral().openness.right_eye > 0.9 * openness.measure(REST).right_eye


def test_speech_is_no_stable_second():
    """While the driver speaks nothing is calibrated, but a resting moment replaces an open first frame."""
    driver = Driver().show(OPEN, 0.1).speak(3.0)
    assert not driver.calibration.calibrated
    driver.show(REST, 0.2).speak(1.5)
    assert driver.away(REST) < 0.05
    driver.show(REST, 1.2)
    assert driver.calibration.calibrated


@pytest.mark.parametrize("pose", [HeadPose(30.0, 0.0, 0.0), HeadPose(0.0, -28.0, 0.0)])
def test_a_turned_head_is_no_neutral(pose):
    """A profile held still does not calibrate; the head looking ahead afterwards does, and takes over at once."""
    turned, driver = face(pose), Driver()
    driver.show(turned, 2.0)
    assert not driver.calibration.calibrated
    driver.show(REST, 1.0)
    assert abs(head_pose(driver.calibration.neutral().shape.rotation).yaw) < 2.0


def test_held_smile_does_not_become_neutral():
    """A smile held for a minute after calibration leaves the neutral where it was."""
    driver = Driver(fps=10.0).show(REST, 2.0).show(SMILE, 60.0)
    assert driver.away(REST) < 0.03


def test_creeping_smile_is_kept_on_a_leash():
    """A smile that grows too slowly to notice drags the neutral no further than the leash."""
    driver = Driver(fps=10.0).show(REST, 2.0)
    for step in range(120):
        driver.show(face(AU12=step / 240), 1.0)
    drift = (
        observe(Features(0.0), driver.calibration.neutral().shape).regions
        - observe(Features(0.0), REST).regions
    )
    assert rms(drift) < CalibrationConfig().leash_cm + 0.01


def test_neutral_taken_from_a_smile_is_given_up():
    """Started smiling, the driver is calibrated on the smile, and corrected one second after it ends."""
    driver = Driver().show(SMILE, 1.5)
    assert driver.calibration.calibrated
    driver.show(REST, 3.0)
    assert driver.away(REST) < 0.03


def test_slow_change_of_rest_is_followed():
    """A tracker that settles a little elsewhere pulls the neutral along within its leash."""
    settled = face(AU12=0.08)
    driver = Driver(fps=10.0).show(REST, 2.0)
    before = driver.away(settled)
    driver.show(settled, 60.0)
    assert driver.away(settled) < 0.4 * before


def test_restart_takes_what_is_shown():
    """On request the next still second is the neutral, an expression too; until then the old one serves."""
    driver = Driver().show(REST, 2.0)
    driver.calibration.restart()
    assert not driver.calibration.calibrated
    assert driver.away(REST) < 0.03
    driver.show(face(AU15=0.8), 2.5)
    assert driver.calibration.calibrated
    assert driver.away(face(AU15=0.8)) < 0.03


def test_neutral_moves_without_a_jump():
    """No change of the neutral shows as a jump of more than a few hundredths of a centimetre per frame."""
    driver = Driver().show(SMILE, 1.5)
    last, largest = driver.calibration.neutral().shape.local, 0.0
    for _ in range(90):
        driver.show(REST, 1 / 30)
        now = driver.calibration.neutral().shape.local
        largest, last = max(largest, rms((now - last)[LIPS])), now
    assert 0.0 < largest < 0.15


def test_a_pause_breaks_the_second():
    """Two halves of a second with a gap between them are not a stable second."""
    driver = Driver().show(REST, 0.6)
    driver.frame += 60
    driver.show(REST, 0.6)
    assert not driver.calibration.calibrated


def test_reset_forgets_the_person():
    """After reset the next face is a new person's first frame."""
    driver = Driver().show(REST, 2.0)
    driver.calibration.reset()
    with pytest.raises(InputError):
        driver.calibration.neutral()
    driver.show(SMILE, 1 / 30)
    assert driver.away(SMILE) < 0.02


def test_features_without_a_face_teach_nothing():
    """Features without a shape are passed over."""
    calibration = Calibration()
    calibration.update(Features(0.0))
    with pytest.raises(InputError):
        calibration.neutral()


@pytest.mark.parametrize(
    ("other", "margin"),
    [
        (SMILE, 0.3),
        (OPEN, 0.3),
        (face(AU04=1.0), 0.3),
        (face(AU01=0.8, AU02=0.8), 0.1),
        (face(AU12=0.6, AU25=0.6), 0.3),
    ],
)
def test_rest_is_calmer_than_expressions(other, margin):
    """Of a resting and an expressive face of one person the resting one is the calmer, never the other way round."""
    one, two = observe(Features(0.0), REST), observe(Features(0.0), other)
    assert is_calmer(one, two, margin)
    assert not is_calmer(two, one, 0.0)


def test_median_ignores_outliers():
    """A few wrong frames do not move the median, in shape or in pose."""
    shapes = [REST] * 7 + [face(HeadPose(15.0, 0.0, 0.0), AU12=1.0)] * 2
    found = median(
        [
            observe(
                Features(
                    i / 30,
                ),
                shape,
            )
            for i, shape in enumerate(shapes)
        ]
    )
    np.testing.assert_allclose(found.shape.local, REST.local, atol=1e-6)
    assert abs(found.pose.yaw) < 4.0
    assert np.linalg.det(found.shape.rotation) == pytest.approx(1.0)


def test_between_goes_from_one_face_to_the_other():
    """At 0 it is the first, at 1 the second, half-way in the middle, also in rotation."""
    start, end = (
        observe(Features(0.0), REST),
        observe(Features(0.0), face(HeadPose(30.0, 0.0, 0.0), AU12=1.0)),
    )
    assert between(start, end, 0.0).pose.yaw == pytest.approx(0.0, abs=1e-6)
    assert between(start, end, 0.5).pose.yaw == pytest.approx(15.0, abs=1e-6)
    np.testing.assert_allclose(between(start, end, 1.0).shape.local, end.shape.local, atol=1e-5)


@pytest.mark.parametrize(
    ("clip", "fps"), [("man_webcam_neutral_to_smile", 30), ("man_green_screen_grin_and_glance", 25)]
)
def test_clips_that_start_at_rest_keep_that_rest(clip, fps, parity_root):
    """On real clips from rest to a held smile the neutral stays with the mouth of the start."""
    points = np.load(parity_root / "mediapipe" / f"{clip}.npz")["landmarks_px"]
    shapes = [fit_shape(one) for one in points]
    calibration = Calibration()
    for index, shape in enumerate(shapes):
        calibration.update(Features(index / fps, shape=shape))
    neutral = calibration.neutral().shape.local
    start, end = shapes[2].local, shapes[-1].local
    assert rms((neutral - start)[LIPS]) < 0.3 * rms((end - start)[LIPS])
    assert calibration.neutral().openness.mouth < 0.02
