"""Clips of body parameters: filters, turntables, views, stops, hands."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from engine.errors import ConfigError, InputError
from engine.mesh import lowpass, motion, rotations


def clip(length: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.cumsum(rng.normal(0.0, 0.05, (length, 85)), axis=0) + rng.normal(0.0, 0.5, 85)


@pytest.mark.parametrize(("order", "cutoff"), [(5, 300.0), (5, 80.0), (2, 700.0), (1, 1000.0)])
def test_the_low_pass_is_scipys_butterworth_both_ways(order, cutoff):
    """Coefficients, starting state and ends are those of the reference implementation."""
    given = clip(60)
    b, a = signal.butter(order, cutoff / (0.5 * lowpass.RATE))
    found = lowpass.zero_phase(given, cutoff, order)
    np.testing.assert_allclose(found, signal.filtfilt(b, a, given, axis=0), atol=1e-9)


def test_a_short_clip_is_filtered_with_the_frames_that_there_are():
    """Fewer frames than the margin are no error; one frame and a constant stay as they are."""
    np.testing.assert_allclose(lowpass.zero_phase(np.full((4, 2), 3.0), 300.0), 3.0)
    assert lowpass.zero_phase(np.array([[2.0]]), 300.0).tolist() == [[2.0]]


@pytest.mark.parametrize("cutoff", [0.0, -1.0, 1104.0, float("nan")])
def test_a_cutoff_beyond_half_the_rate_is_refused(cutoff):
    """No filter has such a cutoff."""
    with pytest.raises(ConfigError, match="low-pass cutoff"):
        lowpass.zero_phase(np.zeros((30, 1)), cutoff)


def test_smoothing_calms_rotations_and_leaves_them_rotations():
    """Jitter falls, betas stay, a half turn's vector does not tear; a clip of ten frames is left alone."""
    rows = np.zeros((40, 85))
    rows[:, 3:6] = [np.pi, 0, 0]
    rows[:, 3:6] += np.random.default_rng(0).normal(0, 0.03, (40, 3))
    rows[:, 6] = 0.2 * (-1.0) ** np.arange(40)
    rows[:, -1] = np.arange(40)
    found = motion.smoothed(rows)
    turns = rotations.from_vectors(found[:, 3:6])
    before = rotations.from_vectors(rows[:, 3:6])
    assert (
        rotations.angles_between(turns[1:], turns[:-1]).mean()
        < 0.5 * rotations.angles_between(before[1:], before[:-1]).mean()
    )
    assert np.abs(found[5:-5, 6]).max() < 0.02
    np.testing.assert_array_equal(found[:, -1], rows[:, -1])
    np.testing.assert_array_equal(motion.smoothed(rows[:10]), rows[:10])


def test_a_fit_that_jumped_away_is_taken_back():
    """Frames in which the fit is far from where it began keep their beginning, others the fit."""
    initial = np.zeros((3, 72), np.float32)
    fitted = initial + np.float32(0.01)
    fitted[1] = 2.0
    np.testing.assert_array_equal(
        motion.without_outliers(fitted, initial), [fitted[0], initial[1], fitted[2]]
    )


def test_a_turntable_turns_once_about_the_body():
    """First and last frame look ahead, half way it looks away; standing up in a picture of y down."""
    rows = motion.turntable(9)
    turns = rotations.from_vectors(rows[:, 3:6].astype(np.float64))
    np.testing.assert_allclose(turns[0], np.diag([1.0, -1.0, -1.0]), atol=1e-6)
    np.testing.assert_allclose(turns[-1], turns[0], atol=1e-5)
    np.testing.assert_allclose(turns[4], np.diag([-1.0, -1.0, 1.0]), atol=1e-5)
    assert motion.turntable(1).shape == (1, 85)


def test_a_view_from_the_side_turns_the_root_alone():
    """A quarter turn about the picture's y axis, on top of the pose that there was."""
    rows = clip(3)
    found = motion.seen_from(rows, 90.0)
    turned = rotations.from_vectors(found[:, 3:6]) @ np.swapaxes(rotations.from_vectors(rows[:, 3:6]), 1, 2)
    np.testing.assert_allclose(turned, np.tile([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]], (3, 1, 1)), atol=1e-6)
    np.testing.assert_array_equal(found[:, 6:], rows[:, 6:])


def test_a_stopped_clip_walks_around_the_frame_it_stops_at():
    """Turns are put in before their frame, keep its pose and camera, and stops beyond the end are passed over."""
    rows = clip(10)
    found, frames = motion.stopped(rows, [(3, 4), (7, 2), (10, 5)])
    assert frames.tolist() == [0, 1, 2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 7, 7, 8, 9]
    np.testing.assert_array_equal(found[3:7, 6:], np.tile(rows[3, 6:], (4, 1)))
    np.testing.assert_array_equal(found[7], rows[3])
    np.testing.assert_allclose(found[3:7, 3:6], motion.turntable(4)[:, 3:6])


def test_hands_take_the_place_of_the_last_joints():
    """Camera, 22 joints, both hands, betas; too short a row is refused."""
    rows = clip(2)
    found = motion.with_hands(rows, np.arange(90.0))
    assert found.shape == (2, 169)
    np.testing.assert_array_equal(found[:, 69:159], np.tile(np.arange(90.0), (2, 1)))
    np.testing.assert_array_equal(found[:, -10:], rows[:, -10:])
    with pytest.raises(InputError, match="body parameters"):
        motion.with_hands(rows[:, :60], np.zeros(90))
    with pytest.raises(InputError, match="3 for each joint"):
        motion.smoothed(np.zeros((20, 15)))


def test_the_plain_low_pass_keeps_a_share_of_what_was():
    """y_n = keep y_(n-1) + (1 - keep) x_n, from the first value on."""
    assert lowpass.first_order(np.array([[1.0], [0.0], [0.0]]), 0.5).ravel().tolist() == [1.0, 0.5, 0.25]
