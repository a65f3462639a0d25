"""The figures of an evaluation, held against closed forms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engine import canonical
from engine.evaluate import bounds, metrics
from engine.evaluate.signals import Course, course, mode_offset
from engine.geometry import pose_rotation
from engine.types import F32, HeadPose


def placed(scale: float = 10.0, x: float = 100.0, y: float = 100.0) -> F32:
    points = canonical.VERTICES * scale
    points[:, :2] += (x, y)
    return points.astype(np.float32)


def test_landmark_error_is_the_shift_over_the_eye_distance() -> None:
    """A face off by 3, 4 px has an error of 5 px over the truth's own eye distance."""
    truth = placed()[None]
    moved = truth + np.array([3.0, 4.0, 7.0], np.float32)
    assert metrics.landmark_error(moved, truth) == pytest.approx(5.0 / 88.9, rel=1e-3)


def test_landmark_error_of_some_points_sees_only_them() -> None:
    """The lip error does not change with what the brows do."""
    truth, moved = placed()[None], placed()[None]
    moved[:, list(canonical.RIGHT_BROW)] += 20
    assert metrics.landmark_error(moved, truth, metrics.LIPS) == 0
    assert metrics.landmark_error(moved, truth) > 0


def test_frames_without_a_face_do_not_count() -> None:
    """A missing face is the business of `detected`, and must not turn a mean into NaN."""
    truth = np.stack([placed(), placed(), placed()])
    moved = truth + np.float32(1)
    moved[1] = np.nan
    assert metrics.landmark_error(moved, truth) == pytest.approx(np.sqrt(2) / 88.9, rel=1e-3)
    assert metrics.landmark_error(np.full_like(truth, np.nan), truth) is None


@pytest.mark.parametrize(("offset", "expected"), [(0, 60.0), (1, 48.1308), (16, 24.0484)])
def test_psnr_of_a_constant_offset(offset: int, expected: float) -> None:
    """PSNR is 10 log10(255^2 / offset^2), capped where the pictures are equal."""
    truth = np.full((8, 8, 3), 100, np.uint8)
    mask = np.ones((8, 8), bool)
    assert metrics.psnr(truth + np.uint8(offset), truth, mask) == pytest.approx(expected, abs=1e-3)


def test_psnr_and_ssim_see_only_the_mask() -> None:
    """What happens outside the face does not touch the face's figures."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 255, (64, 64, 3), np.uint8)
    other, mask = truth.copy(), np.zeros((64, 64), bool)
    mask[24:40, 24:40] = True
    other[:8] = 0
    assert metrics.psnr(other, truth, mask) == metrics.PSNR_CEILING
    assert metrics.ssim(other, truth, mask) == pytest.approx(1.0, abs=1e-5)


def test_ssim_of_two_flat_pictures_is_its_luminance_term() -> None:
    """Without texture only the luminance term (2ab + C1) / (a^2 + b^2 + C1) is left."""
    a, b = np.full((40, 40, 3), 60, np.uint8), np.full((40, 40, 3), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 60 * 120 + c1) / (60**2 + 120**2 + c1)
    assert metrics.ssim(a, b, np.ones((40, 40), bool)) == pytest.approx(expected, rel=1e-4)


def test_the_oval_mask_holds_the_nose_and_not_the_corner() -> None:
    """The face's figures are taken inside its oval."""
    mask = metrics.oval_mask(placed(), (220, 220))
    nose = np.rint(placed()[1, :2]).astype(int)
    assert mask[nose[1], nose[0]]
    assert not mask[0, 0]


def test_the_baseline_follows_a_similarity_without_error() -> None:
    """A face that only turned in the plane, grew and shifted leaves nothing to the baseline's error."""
    source = placed()
    turn = pose_rotation(HeadPose(0, 0, 20))
    moved = (1.3 * source @ turn.T + (5.0, -3.0, 0.0)).astype(np.float32)
    assert metrics.similarity_error(source, moved) < 1e-6
    bent = moved.copy()
    bent[list(canonical.LIPS_INNER), 1] += 10
    assert metrics.similarity_error(source, bent) > 0.001


def test_the_baseline_picture_of_an_unmoved_face_is_the_source() -> None:
    """The similarity from a face to itself changes no pixel."""
    picture = np.random.default_rng(2).integers(0, 255, (200, 200, 3), np.uint8)
    same = metrics.similarity_picture(picture, placed(), placed())
    assert np.abs(same.astype(int) - picture).max() <= 1


def test_correlation_is_pearsons_and_zero_for_what_stands_still() -> None:
    """A still output gets 0 and no NaN; a truth that stands still, or three frames too few, get none."""
    truth = np.array([0.0, 1.0, 2.0, np.nan, 3.0])
    assert metrics.correlation(2 * truth + 1, truth) == pytest.approx(1.0)
    assert metrics.correlation(-truth, truth) == pytest.approx(-1.0)
    assert metrics.correlation(np.full(5, 0.3), truth) == 0.0
    assert metrics.correlation(truth, np.full(5, 0.3)) is None
    assert metrics.correlation(truth[:2], truth[:2]) is None


def test_jitter_is_the_second_difference() -> None:
    """Even motion has no jitter; a face that hops by d to and fro has 2 d per frame."""
    even = np.stack([placed(x=100 + 3 * t) for t in range(6)])
    hopping = np.stack([placed(x=100 + 2 * (t % 2)) for t in range(6)])
    assert metrics.jitter(even) == pytest.approx(0, abs=1e-5)
    assert metrics.jitter(hopping) == pytest.approx(4 / 88.9, rel=1e-3)


def test_jitter_skips_steps_that_lack_a_face() -> None:
    """A lost face is no jump."""
    hopping = np.stack([placed(x=100 + 2 * (t % 2)) for t in range(8)])
    hopping[4] = np.nan
    assert metrics.jitter(hopping) == pytest.approx(4 / 88.9, rel=1e-3)
    assert metrics.jitter(np.full((5, 478, 3), np.nan, np.float32)) is None


def test_pose_differences_stay_on_their_axis_and_wrap() -> None:
    """Yaw, pitch, roll come in this order, and 179 and -179 degrees lie 2 apart."""
    apart = metrics.pose_difference(pose_rotation(HeadPose(12, -5, 3)), pose_rotation(HeadPose(10, -1, 3)))
    assert apart == pytest.approx([2, 4, 0], abs=1e-6)
    around = metrics.pose_difference(pose_rotation(HeadPose(0, 0, 179)), pose_rotation(HeadPose(0, 0, -179)))
    assert around == pytest.approx([0, 0, 2], abs=1e-6)


def test_shape_distance_is_in_eye_distances() -> None:
    """Two shapes 8.89 cm apart are one eye distance apart; depth alone does not count."""
    shape = canonical.VERTICES
    assert metrics.shape_distance(shape + np.array([8.89, 0, 0]), shape) == pytest.approx(1.0, rel=1e-5)
    assert metrics.shape_distance(shape + np.array([0, 0, 5]), shape) == 0


def test_the_error_picture_is_the_brightened_difference() -> None:
    """10 grey levels apart show as 40, on all three channels."""
    a, b = np.full((4, 4, 3), 50, np.uint8), np.full((4, 4, 3), 60, np.uint8)
    assert (metrics.error_picture(a, b) == 40).all()


def test_the_offset_between_tracking_modes_is_brought_onto_a_neutral() -> None:
    """A face that single pictures see turned by 3 degrees and with a lip 1 cm lower has that neutral too."""
    turn = pose_rotation(HeadPose(3, 0, 0))
    lower = canonical.VERTICES.copy()
    lower[17, 1] += 1
    video = [placed() + np.float32(t) for t in range(4)]
    single = [(10 * lower @ turn.T + (100, 100, 0) + t).astype(np.float32) for t in range(4)]
    offset = mode_offset(course(np.stack(single)).shapes, course(np.stack(video)).shapes)
    neutral = offset.on(course(placed()[None]).shapes[0])
    assert neutral is not None
    assert neutral.local == pytest.approx(lower, abs=1e-3)
    assert neutral.rotation == pytest.approx(turn, abs=1e-5)
    assert offset.on(None) is None


def test_without_a_common_frame_there_is_no_offset() -> None:
    """Nothing seen twice, nothing to correct."""
    shape = course(placed()[None]).shapes[0]
    unmoved = mode_offset([None], [shape]).on(shape)
    assert unmoved is not None
    assert shape is not None
    assert unmoved.local == pytest.approx(shape.local)


def looking(gaze: list[float], eye: list[float]) -> Course:
    nothing = np.zeros(len(gaze))
    return Course(np.zeros((len(gaze), 478, 3), np.float32), [], nothing, np.array(eye), np.array(gaze))


def test_gaze_with_open_eyes_leaves_out_what_lids_hide() -> None:
    """Behind a shut lid the iris is a guess, and the bound says what the rest of the clip reaches."""
    truth = looking([0.0, 0.1, 0.2, 0.9], [0.3, 0.3, 0.3, 0.0])
    out = looking([0.0, 0.1, 0.2, -5.0], [0.3, 0.3, 0.3, 0.0])
    assert metrics.correlation(out.gaze, truth.gaze) < 0
    assert bounds.open_eye_gaze(truth, out) == {"corr_gaze_open_eyes": pytest.approx(1.0)}
    assert bounds.correlation_ceilings(truth, truth)["corr_gaze_ceiling"] == pytest.approx(1.0)


def test_the_identity_floor_compares_two_trackings_of_one_picture() -> None:
    """Apart by a tenth of the driver's distance, the floor is a tenth."""
    source = course(placed()[None]).shapes[0]
    assert source is not None
    again = dataclasses.replace(source, local=source.local + np.float32([0.1, 0, 0]))
    driver = dataclasses.replace(source, local=source.local + np.float32([1, 0, 0]))
    floor = bounds.identity_floor(again, source, [driver, None])
    assert floor == {"identity_shape_floor": pytest.approx(0.1, rel=1e-3)}
    assert bounds.identity_floor(again, source, [None]) == {"identity_shape_floor": None}
