"""Weak-perspective cameras, and a body kept on its ground."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.mesh import cameras, ground

SOURCE = np.array([[0.8, 0.1, -0.2]], np.float32)
FIRST = np.array([[1.0, 0.0, 0.3]], np.float32)
DRIVER = np.array([[1.2, 0.05, 0.25]], np.float32)


def test_a_point_moves_by_the_camera_and_keeps_its_depth():
    """x' = s (X + tx), y' = s (Y + ty), z as it was; for clips and for one picture alike."""
    points = np.array([[[1.0, 2.0, 3.0]]], np.float32)
    placed = cameras.project_with_depth(points, SOURCE)
    np.testing.assert_allclose(placed, [[[0.88, 1.44, 3.0]]], rtol=1e-6)
    np.testing.assert_array_equal(cameras.project(points[0], SOURCE[0]), placed[0, :, :2])


def test_the_screen_is_y_up_and_seen_from_the_eye():
    """The rasteriser's points: y turned over, depth from the eye, and what was given left alone."""
    points = np.array([[0.1, 0.2, 0.0]], np.float32)
    np.testing.assert_allclose(cameras.on_screen(points), [[0.1, -0.2, 2.7320508]], rtol=1e-6)
    np.testing.assert_array_equal(points, np.array([[0.1, 0.2, 0.0]], np.float32))


def test_each_strategy_takes_what_it_says_from_source_and_driver():
    """Smooth follows the driver's change, source stays, copy is the driver's, ref_txty only its place."""

    def camera(strategy):
        return cameras.swapped(SOURCE, DRIVER, FIRST, strategy)

    np.testing.assert_allclose(camera("smooth"), [[0.96, 0.15, -0.25]], rtol=1e-6)
    np.testing.assert_array_equal(camera("source"), SOURCE)
    np.testing.assert_array_equal(camera("copy"), DRIVER)
    np.testing.assert_allclose(camera("ref_txty"), [[0.8, 0.05, 0.25]], rtol=1e-6)
    assert SOURCE[0, 0] == np.float32(0.8)


def test_a_strategy_that_is_none_is_refused():
    """An unknown strategy, or smooth without a first camera, is one line that names what is needed."""
    with pytest.raises(ConfigError, match="expected one of smooth, source, copy, ref_txty, got 'follow'"):
        cameras.swapped(SOURCE, DRIVER, FIRST, "follow")
    with pytest.raises(ConfigError, match="needs the driver's first camera"):
        cameras.swapped(SOURCE, DRIVER, None, "smooth")


def test_a_camera_survives_the_way_to_pixels_and_back():
    """A cut that is the whole picture, with its margin as the corner: normalised again it is the same camera."""
    size = 224.0
    corner = np.full((1, 2), size, np.float32)
    whole = cameras.from_crop(SOURCE, np.ones((1, 1), np.float32), corner, size)
    np.testing.assert_allclose(cameras.normalised(whole, size), SOURCE, rtol=1e-5)


def test_feet_stay_where_they_were_in_the_first_frame():
    """Whatever the lowest point does, the camera takes it out: its place in the picture does not move."""
    lowest = np.array([0.8, 0.9, 0.75, 0.8, 0.82])
    rows = np.array([[1.3, 0.2, 0.1]] * 5) + np.linspace(0, 0.05, 5)[:, None]
    steady = ground.stabilised(rows, lowest)
    np.testing.assert_allclose(lowest + steady[:, 2], lowest[0] + rows[0, 2])
    np.testing.assert_array_equal(steady[:, :2], [[1.0, 0.0]] * 5)


def test_a_jump_keeps_its_height():
    """Frames in which the lowest point flies stay above the ground, all others on it."""
    lowest = np.zeros(30)
    down = 1e-3 * (-1.0) ** np.arange(30)  # nobody stands quite still
    down[10:20] = -0.4 * np.sin(np.pi * np.arange(1, 11) / 11)
    (jump,) = ground.jumps(lowest + down)
    assert jump[0] in (9, 10)
    assert 19 <= jump[1] <= 21
    rows = np.stack([np.ones(30), np.zeros(30), down], axis=1)
    steady = ground.stabilised(rows, lowest)
    np.testing.assert_allclose(steady[10:20, 2], down[10:20])
    np.testing.assert_allclose(steady[:9, 2], down[0])
    np.testing.assert_allclose(steady[22:, 2], down[0])
    assert ground.jumping(lowest + down).sum() == jump[1] - jump[0] + 1


def test_small_steps_are_no_jumps():
    """A rise below the threshold is noise; a clip that ends in the air ends its jump there; one frame has none."""
    assert ground.jumps(0.09 * np.sin(np.arange(40))) == []
    flying = np.concatenate([np.zeros(5), np.linspace(0, -0.6, 6)])
    assert ground.jumps(flying)[-1][1] == 10
    assert ground.jumps(np.zeros(1)) == []


def test_a_pinhole_sees_its_axis_at_its_centre():
    """A point on the axis is at the centre; one beside it at focal * x / z."""
    points = np.array([[[0.0, 0.0, 1.0], [0.5, 0.0, 1.0]]])
    seen = cameras.perspective(
        points, np.eye(3)[None], np.array([[0.0, 0.0, 1.0]]), 100.0, np.array([[8.0, 9.0]])
    )
    np.testing.assert_allclose(seen, [[[8.0, 9.0], [33.0, 9.0]]])
