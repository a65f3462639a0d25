"""The rasteriser against its rules, spelled out pixel by pixel in float64."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from engine.errors import InputError
from engine.mesh.raster import FAR, NEAR, NONE, blank, rasterise


def soup(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of every size and turn, some partly outside, some behind others."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(-1.1, 1.1, (count, 1, 2))
    corners = middle + rng.normal(0.0, 1.0, (count, 3, 2)) * rng.uniform(0.02, 0.8, (count, 1, 1))
    depths = rng.uniform(0.5, 5.0, (count, 3, 1))
    points = np.concatenate((corners, depths), axis=2).astype(np.float32).reshape(-1, 3)
    return points, np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def by_the_rules(
    points: np.ndarray, faces: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Index, weights and the least distance of a pixel centre from an edge, in float64 and by brute force."""
    centres = (2.0 * np.arange(size) + 1.0 - size) / size
    x, y = np.meshgrid(centres, centres[::-1])
    index, weights = np.full((size, size), NONE), np.zeros((size, size, 3))
    depth, margin = np.full((size, size), FAR), np.full((size, size), np.inf)
    for f, corners in enumerate(points.astype(np.float64)[faces]):
        (x0, y0, _), (x1, y1, _), (x2, y2, _) = corners
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area <= 0:
            continue
        w = np.stack(
            [
                (x2 - x1) * (y - y1) - (x - x1) * (y2 - y1),
                (x0 - x2) * (y - y2) - (x - x2) * (y0 - y2),
                (x1 - x0) * (y - y0) - (x - x0) * (y1 - y0),
            ]
        )
        w /= area
        margin = np.minimum(margin, np.abs(w).min(0))
        inside = (w >= 0).all(0)
        z = 1.0 / (w / corners[:, 2, None, None]).sum(0)
        seen = inside & (z > NEAR) & (z < depth)
        index[seen], depth[seen] = f, z[seen]
        weights[seen] = w[:, seen].T
    return index, weights, margin


@pytest.mark.parametrize(("seed", "count", "size"), [(0, 60, 47), (1, 400, 64), (2, 12, 31), (9, 5, 6)])
def test_the_maps_are_those_of_the_rules(seed, count, size):
    """Face numbers and weights are what the written rules say, wherever rounding cannot decide."""
    points, faces = soup(seed, count)
    drawn = rasterise(points, faces, size)
    index, weights, margin = by_the_rules(points, faces, size)
    clear = margin > 1e-5
    assert clear.mean() > 0.9
    assert (index[clear] != NONE).any()
    np.testing.assert_array_equal(drawn.index[clear], index[clear])
    np.testing.assert_allclose(drawn.weights[clear], weights[clear], atol=2e-4)
    assert (drawn.depth[drawn.index == NONE] == FAR).all()


def test_memory_given_is_drawn_over():
    """A drawing into earlier memory leaves nothing of the earlier one, and is that memory."""
    out = rasterise(*soup(4, 80), 40)
    points, faces = soup(5, 3)
    again = rasterise(points, faces, 40, out)
    fresh = rasterise(points, faces, 40)
    assert again is out
    for name in ("index", "weights", "depth"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fresh, name))


def test_of_equally_near_faces_the_lower_number_is_seen():
    """Ties of depth are decided by the order of the faces, not by memory or time."""
    points = np.array([[-0.9, -0.9, 2], [0.9, -0.9, 3], [0.0, 0.9, 4]], np.float32)
    faces = np.array([[0, 1, 2], [0, 1, 2], [0, 1, 2]], np.int32)
    assert set(np.unique(rasterise(points, faces, 32).index)) == {-1, 0}


def test_clockwise_flat_broken_and_far_faces_are_not_drawn():
    """What the rules leave out stays out: turned away, without area, not finite, before NEAR or beyond FAR."""
    square = np.array([[-1, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2]], np.float32)
    turned = np.array([[0, 2, 1], [0, 0, 1], [1, 1, 1]], np.int32)
    assert (rasterise(square, turned, 16).index == NONE).all()
    seen = np.array([[0, 1, 2]], np.int32)
    assert (rasterise(square, seen, 16).index == 0).any()
    for column, value in ((0, np.nan), (1, np.inf), (2, np.nan), (2, np.inf), (2, -np.inf)):
        broken = square.copy()
        broken[1, column] = value
        assert (rasterise(broken, seen, 16).index == NONE).all()
    for z in (0.05, 150.0, -3.0):
        assert (rasterise(square + np.float32([0, 0, z - 2]), seen, 16).index == NONE).all()
    assert (rasterise(square, seen, 16, near=2.5).index == NONE).all()
    beyond = rasterise(square, seen, 16, far=1.5)
    assert (beyond.index == NONE).all()
    assert (beyond.depth == 1.5).all()


def test_points_far_outside_draw_what_is_inside():
    """Corners beyond the picture, however far, neither fail nor leave the seen part undrawn."""
    points = np.array([[-1e6, -1e6, 3], [1e6, -1e6, 3], [0, 1e6, 3]], np.float32)
    assert (rasterise(points, np.array([[0, 1, 2]], np.int32), 24).index == 0).all()


def test_a_border_between_two_faces_has_no_hole():
    """A border belongs to both sides: a closed sheet through pixel centres covers every pixel."""
    steps = np.linspace(-1, 1, 9, dtype=np.float32)
    x, y = np.meshgrid(steps, steps)
    points = np.stack((x, y, np.full_like(x, 2.0)), axis=-1).reshape(-1, 3)
    first = (np.arange(8)[:, None] * 9 + np.arange(8)).reshape(-1, 1)
    faces = np.concatenate((first + np.array([0, 1, 10]), first + np.array([0, 10, 9]))).astype(np.int32)
    assert (rasterise(points, faces, 32).index != NONE).all()
    assert (rasterise(points, faces, 33).index != NONE).all()


def test_what_does_not_fit_is_refused():
    """A wrong type, shape, memory or point number is one clear line, and never read past the end."""
    points, faces = soup(7, 4)
    with pytest.raises(InputError, match="points of the mesh: expected"):
        rasterise(points.astype(np.float64), faces, 8)
    with pytest.raises(InputError, match="faces of the mesh: expected"):
        rasterise(points, faces[:, :2], 8)
    with pytest.raises(InputError, match="expected memory for 8 pixels, got 9"):
        rasterise(points, faces, 8, blank(9))
    with pytest.raises(InputError, match="size of a raster"):
        blank(0)
    for wrong in (-1, len(points)):
        bad = faces.copy()
        bad[2, 1] = wrong
        with pytest.raises(InputError, match=f"face 2 of the mesh: expected numbers of {len(points)} points"):
            rasterise(points, bad, 8)


def test_many_frames_need_no_further_memory():
    """A thousand frames into the same memory leave no memory behind."""
    points, faces = soup(8, 50)
    out = blank(32)
    for _ in range(3):
        rasterise(points, faces, 32, out)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            rasterise(points, faces, 32, out)
        grown, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown - before < 4096
    assert peak - before < 16384
