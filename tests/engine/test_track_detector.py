"""Tests of engine/track/detector.py and of what it shares in engine/track/ssd.py."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.track import ssd
from engine.track.detector import SIZE, anchors, place
from engine.track.region import Region, whole
from engine.track.ssd import merge
from engine.types import F32


def outputs(*faces: tuple[int, float, tuple[float, float, float, float]]) -> tuple[F32, F32]:
    """The detector's outputs with some faces: anchor, logit, box as offset x, offset y, width, height in pixels."""
    raw, logits = np.zeros((896, 16), np.float32), np.full(896, -20, np.float32)
    for anchor, logit, box in faces:
        raw[anchor, :4], logits[anchor] = box, logit
        raw[anchor, 4:8] = box[0] - 5, box[1], box[0] + 5, box[1]
    return raw, logits


def decode(raw: F32, logits: F32) -> tuple[F32, F32]:
    return ssd.decode(raw, logits, anchors(), SIZE)


def test_anchors_are_two_grids_of_cell_centres() -> None:
    """16 x 16 cells with two anchors each, then 8 x 8 with six, row by row."""
    grid = anchors()
    assert grid.shape == (896, 2)
    assert np.allclose(grid[:3], [[1 / 32, 1 / 32], [1 / 32, 1 / 32], [3 / 32, 1 / 32]])
    assert np.allclose(grid[512:519], [[1 / 16, 1 / 16]] * 6 + [[3 / 16, 1 / 16]])


def test_decode_gives_boxes_and_points_of_the_square() -> None:
    """Offsets are pixels from the anchor; boxes are centre and size."""
    points, scores = decode(*outputs((600, 2.0, (3, -2, 20, 30))))
    x, y = anchors()[600] * SIZE + (3, -2)
    assert scores == pytest.approx([1 / (1 + math.exp(-2))])
    assert points[0, :2] * SIZE == pytest.approx(np.array([[x - 10, y - 15], [x + 10, y + 15]]), abs=1e-4)
    assert points[0, 2:4] * SIZE == pytest.approx(np.array([[x - 5, y], [x + 5, y]]), abs=1e-4)


def test_decode_orders_by_score_and_drops_the_unusable() -> None:
    """Best first; scores under one half, boxes turned inside out and numbers that are not finite are no faces."""
    raw, logits = outputs(
        (1, 0.5, (0, 0, 9, 9)), (5, 3.0, (0, 0, 9, 9)), (9, -0.1, (0, 0, 9, 9)), (20, 9.0, (0, 0, -1, 9))
    )
    raw[30], logits[30] = np.nan, 9.0
    points, scores = decode(raw, logits)
    assert len(points) == 2
    assert scores[0] > scores[1]


def test_extreme_logits_are_no_warning() -> None:
    """Scores saturate at 0 and 1."""
    raw, logits = outputs((0, 1e6, (0, 0, 9, 9)), (1, -1e6, (0, 0, 9, 9)))
    assert decode(raw, logits)[1] == pytest.approx([1.0])


def test_merge_averages_overlapping_candidates_by_score() -> None:
    """Weighted suppression: one face, its points the mean by score, its score the best one's."""
    a = np.zeros((8, 2), np.float32)
    a[1] = 1
    b = a + 0.1
    points, scores = merge(np.stack([a, b]), np.array([0.9, 0.6], np.float32))
    assert len(points) == 1
    assert points[0] == pytest.approx(a + 0.1 * 0.6 / 1.5)
    assert scores == pytest.approx([0.9])


def test_merge_keeps_faces_apart_and_copes_with_none() -> None:
    """Boxes that hardly overlap are two faces; nothing stays nothing; a box without area is one face."""
    a = np.zeros((8, 2), np.float32)
    a[1] = 1
    assert len(merge(np.stack([a, a + 0.8]), np.array([0.9, 0.6], np.float32))[0]) == 2
    assert merge(np.zeros((0, 8, 2), np.float32), np.zeros(0, np.float32))[0].shape == (0, 8, 2)
    assert len(merge(np.zeros((1, 8, 2), np.float32), np.array([0.9], np.float32))[0]) == 1


def test_place_turns_the_region_with_the_eyes() -> None:
    """The long side of the box times 1.5, centred on the box, along the line from the right to the left eye."""
    points = np.zeros((8, 2), np.float32)
    points[0], points[1], points[2], points[3] = (0.2, 0.2), (0.4, 0.5), (0.25, 0.3), (0.35, 0.4)
    region = place(points, whole(200, 100))
    assert (region.x, region.y, region.side) == pytest.approx((60, 20, 90))
    assert region.angle == pytest.approx(math.pi / 4)


def test_place_follows_a_turned_view() -> None:
    """What stands upright in a view that is turned by a quarter lies on its side in the picture."""
    points = np.zeros((8, 2), np.float32)
    points[0], points[1], points[2], points[3] = (0.4, 0.4), (0.6, 0.6), (0.45, 0.45), (0.55, 0.45)
    region = place(points, Region(100, 100, 200, math.pi / 2))
    assert (region.x, region.y, region.side) == pytest.approx((100, 100, 60))
    assert region.angle == pytest.approx(math.pi / 2)
