"""The body tracker: its geometry, its reading of the models, its filters and its clock."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.track import body_detector, body_landmarks
from engine.track.body import BodyTracker
from engine.track.body_filter import BodyFilter, PointFilter, smoothing
from engine.track.body_landmarks import Landmarks
from engine.track.body_model import next_region
from engine.track.body_region import aligned, place, turn
from engine.track.region import Region
from engine.types import U8, Frame


def _landmarks(shift: float = 0.0) -> Landmarks:
    return Landmarks(
        points=np.full((33, 3), 10.0 + shift),
        alignment=np.array([[50.0 + shift, 60.0], [50.0 + shift, 20.0]]),
        world=np.full((33, 3), 0.1 + shift),
        visibility=np.full(33, 0.9),
    )


class _Scripted:
    """A model that answers from a list; None = no body in that run."""

    def __init__(self, answers: list[Landmarks | None]) -> None:
        self.answers = answers
        self.finds = 0
        self.reads = 0

    def find(self, rgb: U8) -> Region | None:
        self.finds += 1
        return Region(50.0, 50.0, 100.0, 0.0)

    def read(self, rgb: U8, region: Region) -> Landmarks | None:
        self.reads += 1
        return self.answers[min(self.reads, len(self.answers)) - 1]

    def close(self) -> None:
        pass


def _frame(index: int, fps: int = 30, size: int = 100) -> Frame:
    return Frame(np.zeros((size, size, 3), np.uint8), index, Fraction(1, fps), index / fps)


def test_an_upright_body_gives_an_upright_region() -> None:
    """The rim straight above the centre means angle 0, and a side of twice the distance times the margin."""
    region = aligned(np.array([50.0, 80.0]), np.array([50.0, 40.0]), 1.25)
    assert (region.x, region.y, region.side, region.angle) == pytest.approx((50.0, 80.0, 100.0, 0.0))


def test_a_body_that_leans_right_turns_the_region_clockwise() -> None:
    """The rim to the picture's right of the centre is a quarter turn clockwise, a positive angle."""
    region = aligned(np.array([0.0, 0.0]), np.array([10.0, 0.0]), 1.0)
    assert region.angle == pytest.approx(math.pi / 2)


def test_the_rim_is_the_middle_of_the_upper_side() -> None:
    """At margin 1 the region's point (.5, 0) is the rim that the region was made from, however turned."""
    rng = np.random.default_rng(3)
    for centre, rim in rng.uniform(-200, 200, (20, 2, 2)):
        region = aligned(centre, rim, 1.0)
        found = place(np.array([[0.5, 0.5], [0.5, 0.0]]), region)
        np.testing.assert_allclose(found, [centre, rim], atol=1e-6)


def test_placing_agrees_with_the_matrix_of_the_cut() -> None:
    """Points go back to the picture by the same map by which the pixels were taken out of it."""
    region = Region(31.0, -7.0, 140.0, 0.7)
    points = np.random.default_rng(0).uniform(0, 1, (9, 2))
    matrix = region.matrix()
    np.testing.assert_allclose(place(points, region), points @ matrix[:, :2].T + matrix[:, 2], atol=1e-6)


def test_turning_keeps_lengths() -> None:
    """World points are turned, never scaled."""
    points = np.random.default_rng(1).normal(size=(33, 2))
    lengths = np.linalg.norm(turn(points, 1.1), axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(points, axis=1))


def test_the_detector_has_one_anchor_per_answer() -> None:
    """2254 anchors inside of the square: 2 a cell of 28 x 28 and 14 x 14, 6 a cell of 7 x 7."""
    grid = body_detector.anchors()
    assert grid.shape == (2254, 2)
    assert np.unique(grid[:1568], axis=0).shape[0] == 784
    assert grid[0] == pytest.approx((0.5 / 28, 0.5 / 28))
    assert grid[1568] == pytest.approx((0.5 / 14, 0.5 / 14))
    assert grid[-1] == pytest.approx((6.5 / 7, 6.5 / 7))


def _raw(points: dict[int, tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Detector outputs in which the named anchors see a 40 pixel face and put all four points there."""
    raw = np.zeros((1, 2254, 12), np.float32)
    logits = np.full((1, 2254, 1), -20.0, np.float32)
    for anchor, (logit, offset) in points.items():
        raw[0, anchor, 2:4] = 40.0
        raw[0, anchor, 4:] = offset
        logits[0, anchor] = logit
    return raw, logits


def test_no_body_below_the_score() -> None:
    """A picture of nobody is no detection, not a weak one."""
    assert body_detector.strongest(*_raw({900: (-0.1, 0.0)})) is None


def test_answers_of_overlapping_anchors_are_averaged_by_score() -> None:
    """Two anchors of one cell that see the same face give the mean of their points, weighted by score."""
    low, high = 1.0, 3.0
    found = body_detector.strongest(*_raw({800: (high, 0.0), 801: (low, 22.4)}))
    weights = 1 / (1 + np.exp(-np.array([high, low])))
    expected = body_detector.anchors()[800] + 0.1 * weights[1] / weights.sum()
    assert found is not None
    np.testing.assert_allclose(found, np.tile(expected, (4, 1)), atol=1e-6)


def test_a_weaker_body_elsewhere_does_not_pull() -> None:
    """Of two people apart from each other the surer one is taken, alone."""
    found = body_detector.strongest(*_raw({0: (4.0, 0.0), 1500: (2.0, 0.0)}))
    assert found is not None
    np.testing.assert_allclose(found, np.tile(body_detector.anchors()[0], (4, 1)), atol=1e-6)


def test_a_box_without_area_is_still_a_detection() -> None:
    """A degenerate best box overlaps nothing, itself included, and its points are used as they are."""
    raw, logits = _raw({10: (4.0, 0.0)})
    raw[..., 2:4] = 0
    found = body_detector.strongest(raw, logits)
    assert found is not None
    assert np.isfinite(found).all()


def test_a_detector_that_answers_nan_finds_nobody() -> None:
    """NaN never leaves, whichever output it came from."""
    raw, logits = _raw({10: (4.0, 0.0)})
    assert body_detector.strongest(np.full_like(raw, np.nan), logits) is None
    assert body_detector.strongest(raw, np.full_like(logits, np.nan)) is None


def _blob(column: float, row: float) -> np.ndarray:
    """A heatmap (64, 64, 39) whose every layer has one Gaussian of confidence at (column, row)."""
    y, x = np.mgrid[:64, :64]
    near = 0.98 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / 2) + 1e-9
    return np.repeat(np.log(near / (1 - near))[..., None], 39, axis=2).astype(np.float32)


def test_a_point_moves_to_the_centre_of_its_heatmap() -> None:
    """A confident heatmap overrules the regressed point by its centre of mass."""
    moved = body_landmarks.refine(np.full((39, 2), 0.5), _blob(33.0, 31.0))
    np.testing.assert_allclose(moved, np.tile([33 / 64, 31 / 64], (39, 1)), atol=1e-4)


def test_an_unsure_heatmap_leaves_the_point() -> None:
    """Without a cell of confidence .5 in reach the regressed point stands."""
    start = np.full((39, 2), 0.5)
    np.testing.assert_array_equal(
        body_landmarks.refine(start, np.full((64, 64, 39), -1.0, np.float32)), start
    )
    np.testing.assert_array_equal(body_landmarks.refine(start, _blob(60.0, 60.0)), start)


@pytest.mark.parametrize("where", [(-0.2, 0.5), (1.2, 0.5), (0.5, -0.2), (0.5, 1.2), (5.0, 5.0)])
def test_a_point_outside_of_the_heatmap_stays(where: tuple[float, float]) -> None:
    """Feet below the picture are regressed outside of the region, where no heatmap is."""
    start = np.tile(where, (39, 1))
    np.testing.assert_array_equal(body_landmarks.refine(start, np.full((64, 64, 39), 3.0, np.float32)), start)


def test_depth_is_scaled_like_x() -> None:
    """Z comes out in pixels of the picture, by the factor that x has."""
    rows = np.zeros((39, 5), np.float32)
    rows[:, 0], rows[:, 2] = 128 + 64, 64
    flat = np.full((64, 64, 39), -9.0, np.float32)
    found = body_landmarks.read(rows.ravel(), flat, np.zeros(117, np.float32), Region(0.0, 0.0, 512.0, 0.0))
    np.testing.assert_allclose(found.points[:, 0], 128.0)
    np.testing.assert_allclose(found.points[:, 2], 128.0)
    np.testing.assert_allclose(found.visibility, 0.5)


def test_the_first_value_passes_a_filter_unchanged() -> None:
    """A filter starts at the first value, so a new track has no lag to catch up."""
    value = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(PointFilter(0.05, 80.0).step(value, 0.0, 1.0), value)


def test_a_filter_follows_the_closed_form() -> None:
    """Second value = weight of the cutoff at the low-passed speed, in seconds and body sizes."""
    points = PointFilter(0.05, 80.0)
    points.step(np.zeros((1, 1)), 0.0, 200.0)
    step = 1 / 30
    speed = smoothing(1.0, step) * (4.0 / 200.0 / step)
    expected = 4.0 * smoothing(0.05 + 80.0 * speed, step)
    np.testing.assert_allclose(points.step(np.full((1, 1), 4.0), step, 200.0), [[expected]])


def test_smoothing_depends_on_time_and_not_on_the_number_of_samples() -> None:
    """One visibility step of a second and thirty of 1/30 s settle alike."""
    coarse, fine = BodyFilter(), BodyFilter()
    start, end = _landmarks(), _landmarks()
    end = Landmarks(end.points, end.alignment, end.world, np.zeros(33))
    for one in (coarse, fine):
        one.step(start, 0.0)
    for _ in range(30):
        last = fine.step(end, 1 / 30)
    np.testing.assert_allclose(coarse.step(end, 1.0).visibility, last.visibility)


def test_the_next_region_stands_on_the_alignment_points() -> None:
    """Centre on the first, side 2.5 times their distance; none when they coincide."""
    region = next_region(_landmarks())
    assert region == Region(50.0, 60.0, 100.0, 0.0)
    still = _landmarks()
    assert next_region(Landmarks(still.points, np.zeros((2, 2)), still.world, still.visibility)) is None


def test_the_models_run_at_their_own_rate() -> None:
    """At 8 Hz no more than 8 runs fall in a second; between runs the last answer stands."""
    model = _Scripted([_landmarks()])
    tracker = BodyTracker(rate_hz=8.0, model=model)
    bodies = [tracker.track(_frame(i, fps=60)) for i in range(60)]
    times = [body.time_s for body in bodies if body is not None]
    assert len(times) == 60
    assert 7 <= model.reads <= 8
    assert sorted(times) == times
    assert min(np.diff(sorted(set(times)))) >= 1 / 8 - 1e-3


def test_every_frame_means_every_frame() -> None:
    """The option for comparison with the reference runs the models on each frame, detecting only once."""
    model = _Scripted([_landmarks()])
    tracker = BodyTracker(every_frame=True, model=model)
    for i in range(20):
        tracker.track(_frame(i))
    assert (model.finds, model.reads) == (1, 20)


def test_a_lost_body_is_none_and_is_looked_for_in_the_next_frame() -> None:
    """Loss is data, not a stale body, and the first new look does not wait for the rate."""
    model = _Scripted([_landmarks(), None, _landmarks()])
    tracker = BodyTracker(rate_hz=10.0, model=model)
    seen = [tracker.track(_frame(i)) is not None for i in range(6)]
    assert seen == [True, True, True, False, True, True]
    assert model.finds == 2


def test_nobody_is_looked_for_at_the_rate() -> None:
    """An empty picture costs a detection per run, not per frame."""
    model = _Scripted([None])
    tracker = BodyTracker(rate_hz=10.0, model=model)
    assert all(tracker.track(_frame(i)) is None for i in range(30))
    assert model.finds <= 10


@pytest.mark.parametrize("second", [_frame(3, size=80), _frame(0), _frame(90)])
def test_a_broken_stream_begins_a_new_track(second: Frame) -> None:
    """Another size, time that runs backwards, or a gap of seconds: the region and the filters are void."""
    model = _Scripted([_landmarks(), _landmarks(30.0)])
    tracker = BodyTracker(every_frame=True, model=model)
    tracker.track(_frame(2))
    body = tracker.track(second)
    assert body is not None
    assert model.finds == 2
    np.testing.assert_allclose(body.points[:, 0], 40.0)


def test_a_repeated_frame_time_repeats_the_answer() -> None:
    """Two frames of one time cannot give a speed: the second is answered from the first."""
    model = _Scripted([_landmarks()])
    tracker = BodyTracker(every_frame=True, model=model)
    assert tracker.track(_frame(5)) is tracker.track(_frame(5))
    assert model.reads == 1


def test_a_picture_is_read_without_filter_and_without_touching_the_track() -> None:
    """Static pictures stand alone."""
    model = _Scripted([_landmarks(), _landmarks(30.0), _landmarks()])
    tracker = BodyTracker(every_frame=True, model=model)
    before = tracker.track(_frame(1))
    body = tracker.picture(np.zeros((10, 10, 3), np.uint8))
    assert body is not None
    assert body.time_s == 0.0
    np.testing.assert_allclose(body.points[:, 0], 40.0)
    assert tracker.track(_frame(1)) is before


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    """The message says what was got and what to do."""
    with pytest.raises(ConfigError, match=r"body rate: got .* expected more than 0"):
        BodyTracker(rate_hz=rate, model=_Scripted([]))
