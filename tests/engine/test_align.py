"""FFHQ alignment against closed forms; the official numbers are tested in tests/parity."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine.align import (
    Squares,
    SquareSmoother,
    crop_of_quad,
    cut_quad,
    feathered,
    inverse_coefficients,
    paste_quad,
    side_of,
    smoothed,
    squares_of,
)
from engine.align.live import FaceAligner
from engine.align.masks import dilated, foreground, resized_corners, stitching_masks
from engine.align.smoothing import gaussian
from engine.blend import paste
from engine.errors import ConfigError, InputError
from engine.types import F64, U8, Patch

RNG = np.random.default_rng


def face(centre: tuple[float, float] = (150.0, 120.0), unit: float = 10.0, turn: float = 0.0) -> F64:
    """68 points of which only eyes and mouth corners are anywhere: eyes 6 units apart, the mouth 5 below them."""
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = (-3.0, -2.0), (3.0, -2.0)
    points[48], points[54] = (-2.0, 3.0), (2.0, 3.0)
    cosine, sine = np.cos(turn), np.sin(turn)
    return points @ np.array([[cosine, sine], [-sine, cosine]]) * unit + centre


def smooth_picture(height: int = 240, width: int = 320, seed: int = 0) -> U8:
    noise = RNG(seed).integers(0, 256, (height, width, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 4.0), np.uint8)


def test_the_square_follows_ffhqs_rule() -> None:
    """Twice the eye distance or 1.8 times that to the mouth on each side, a tenth below the eyes, turned alike."""
    squares = squares_of(face()[None])
    assert squares.centre[0] == pytest.approx((150.0, 120.0 - 20.0 + 5.0))
    assert squares.along[0] == pytest.approx((120.0, 0.0))
    assert squares.down[0] == pytest.approx((0.0, 120.0))
    turned = squares_of(face(turn=0.5)[None], scale=1.5)
    assert turned.along[0] == pytest.approx((180 * np.cos(0.5), 180 * np.sin(0.5)))
    long = face()
    long[[48, 54], 1] += 100.0  # a far mouth takes over
    assert side_of(squares_of(long[None]).quads()[0]) == pytest.approx(2 * 1.8 * 150.0)


@pytest.mark.parametrize(
    "points",
    [np.zeros((1, 67, 2)), np.full((1, 68, 2), np.nan), np.zeros((1, 68, 2)), np.zeros((68, 2))],
    ids=["67 points", "not finite", "on one spot", "no frames"],
)
def test_points_that_make_no_square_are_refused(points: F64) -> None:
    """One clear error, and no square of nothing."""
    with pytest.raises(InputError, match="alignment"):
        squares_of(points)


def test_smoothing_keeps_what_is_still_and_steady() -> None:
    """A constant stays, a straight line keeps its middle, sigma 0 changes nothing, and the mirror repeats the ends."""
    line = np.stack([np.arange(60.0), np.full(60, 7.0)], axis=1)
    done = gaussian(line, 3.0)
    assert done[:, 1] == pytest.approx(7.0)
    assert done[20:40, 0] == pytest.approx(line[20:40, 0])
    assert np.array_equal(gaussian(line, 0.0), line)
    short = np.array([[0.0, 0.0], [1.0, 1.0]])  # shorter than the filter: mirrored again and again
    assert gaussian(short, 50.0) == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(ConfigError, match="smoothing"):
        gaussian(line, -1.0)


def test_axes_stay_perpendicular_when_smoothed() -> None:
    """Both are filtered alike, so a smoothed quad is a square and its crop a similarity."""
    turns = RNG(1).normal(0, 0.3, 30)
    squares = smoothed(squares_of(np.stack([face(turn=turn) for turn in turns])))
    assert np.abs((squares.along * squares.down).sum(1)).max() < 1e-9
    crop = crop_of_quad(squares.quads()[3], 64)
    assert crop.matrix[0, 0] == pytest.approx(crop.matrix[1, 1])
    assert crop.matrix[0, 1] == pytest.approx(-crop.matrix[1, 0])


def test_the_live_filter_calms_a_resting_face_and_keeps_up_with_a_moving_one() -> None:
    """Jitter falls below half; a steady walk is followed within a tenth of the half side; a pause starts anew."""
    numbers = RNG(2)
    resting = [squares_of(face()[None] + numbers.normal(0, 1.0, (1, 68, 2))) for _ in range(90)]
    smoother = SquareSmoother()
    out = [smoother.smooth(one, k / 30).along[0] for k, one in enumerate(resting)]
    raw = np.array([one.along[0] for one in resting])
    assert np.diff(out[20:], axis=0).std() < 0.5 * np.diff(raw[20:], axis=0).std()
    smoother.reset()
    for k in range(60):
        walked = smoother.smooth(squares_of(face((100.0 + 5 * k, 120.0))[None]), k / 30)
    assert abs(walked.centre[0, 0] - (100.0 + 5 * 59)) < 12.0
    assert smoother.lag_s > 0
    far = squares_of(face((900.0, 120.0))[None])
    assert smoother.smooth(far, 60.0).centre[0] == pytest.approx(far.centre[0])


def test_what_is_cut_and_pasted_back_is_the_frame() -> None:
    """Crop and inverse paste undo each other up to the sampling, also for a turned square half outside the frame."""
    frame = smooth_picture()
    quad = squares_of(face((60.0, 50.0), unit=8.0, turn=0.4)[None]).quads()[0]
    crop = cut_quad(frame, quad, 256)
    again = paste_quad(frame, crop, quad).astype(int)
    pasted = paste_quad(np.zeros_like(frame), np.full_like(crop, 255), quad)[..., 0] == 255
    inner = cv2.erode(pasted.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    inner[:3], inner[:, :3] = False, False  # where the crop was filled with black from outside
    assert inner.sum() > 5000
    assert np.abs(again - frame)[inner].max() <= 4
    assert np.array_equal(again[~pasted], frame[~pasted])


def test_live_and_exact_crops_agree() -> None:
    """The live path's pixels are those of the official sampling, within a grey level or two on a smooth picture."""
    frame = smooth_picture()
    squares = squares_of(face(unit=7.0, turn=0.2)[None])
    aligner = FaceAligner(128)
    crop = aligner.follow(face(unit=7.0, turn=0.2), 0.0)
    live = aligner.cut(frame, crop)
    exact = cut_quad(frame, squares.quads()[0], 128)
    assert np.abs(live.astype(int) - exact).max() <= 4
    assert aligner.cut(frame, crop) is live, "its memory is kept"
    mask = np.zeros((128, 128), np.uint8)
    mask[20:100, 30:110] = 255
    edited = 255 - exact
    pasted = paste(Patch(rgb=edited, mask=mask, crop=crop, canvas=frame, whole=False))
    wanted = paste_quad(frame, edited, squares.quads()[0], mask)
    assert np.abs(pasted.astype(int) - wanted).mean() < 0.5


def test_a_small_crop_of_a_large_face_averages() -> None:
    """Fine stripes become grey in both paths, in place of one stripe or the other."""
    frame = np.zeros((400, 400, 3), np.uint8)
    frame[:, ::2] = 255
    quad = Squares(np.array([[200.0, 200.0]]), np.array([[150.0, 0.0]]), np.array([[0.0, 150.0]])).quads()[0]
    assert np.abs(cut_quad(frame, quad, 32).astype(int) - 127).max() < 30
    live = FaceAligner(32).cut(frame, crop_of_quad(quad, 32))
    assert np.abs(live.astype(int) - 127).max() < 30


def test_a_feather_stays_within_its_mask() -> None:
    """Drawn in first, then blurred: nothing outside of the mask is pasted, and the middle is whole."""
    mask = np.zeros((64, 64), np.uint8)
    mask[10:50, :50] = 255
    soft = feathered(mask, 6)
    assert soft[mask == 0].max() == 0
    assert soft[30, 25] == 255
    assert soft[30, 1] < 255, "the picture's edge counts as outside"
    assert feathered(mask, 0) is mask
    with pytest.raises(ConfigError, match="feather"):
        feathered(mask, -1)


@pytest.mark.parametrize("quad", [np.zeros((4, 2)), np.full((4, 2), np.inf), np.zeros((3, 2))])
def test_a_quad_without_area_is_refused(quad: F64) -> None:
    """By crop and inverse alike."""
    for function in (crop_of_quad, inverse_coefficients):
        with pytest.raises(InputError, match="alignment"):
            function(quad, 64)


def test_masks_of_a_disc_are_rings() -> None:
    """Content and border share no pixel, the pasted area is both, and a face at the edge has its band."""
    y, x = np.mgrid[:64, :64]
    disc = ((x - 32) ** 2 + (y - 32) ** 2 < 15**2).astype(np.uint8)
    found = stitching_masks(disc, border=4, outer=5)
    assert not (found.content & found.border).any()
    assert np.array_equal(found.content | found.border, found.full)
    assert found.full.sum() == dilated(disc, 5).sum() > disc.sum()
    whole = stitching_masks(np.ones_like(disc), border=4, outer=5)
    assert whole.border[:4].all()
    assert not whole.border[4:-4, 4:-4].any()
    everything = stitching_masks(disc, border=0, outer=0, whole_image=True)
    assert np.array_equal(everything.border, 1 - disc)
    with pytest.raises(ConfigError, match="stitching masks"):
        stitching_masks(disc, outer=-1)


def test_the_foreground_leaves_out_background_cloth_and_hat() -> None:
    """The BiSeNet's classes 0, 16 and 18; hair, 17, is edited."""
    labels = np.arange(19, dtype=np.uint8)[None]
    assert foreground(labels)[0].tolist() == [0, *[1] * 15, 0, 1, 0]
    with pytest.raises(InputError, match="labels"):
        foreground(labels.astype(np.int64))  # type: ignore[arg-type]


def test_masks_grow_corner_onto_corner() -> None:
    """The corner pixels keep their values, and a ramp stays a straight line."""
    ramp = np.tile(np.arange(5, dtype=np.float32), (5, 1))
    done = resized_corners(ramp, 9)
    assert done[0] == pytest.approx(np.arange(9) / 2)
    assert resized_corners(ramp, 5) == pytest.approx(ramp)
