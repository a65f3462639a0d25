"""Tests of engine/track/region.py."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.track.region import Region, around, cover, cut, overlap, whole
from engine.types import F32, U8


def picture(height: int = 40, width: int = 60) -> U8:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def taken(rgb: U8, region: Region, size: int, *, black_outside: bool = False) -> F32:
    out = np.full((size, size, 3), -1, np.float32)
    cut(rgb, region, out, 0.0, 255.0, black_outside=black_outside)
    return out


def test_a_cut_at_full_scale_is_the_picture_itself() -> None:
    """Pixel i of the cut lies at i / n of the region, without a half-pixel shift."""
    rgb = picture()
    assert np.array_equal(taken(rgb, Region(24, 18, 16, 0.0), 16), rgb[10:26, 16:32])


def test_a_half_turned_cut_reads_backwards() -> None:
    """Angles turn the region about its centre, clockwise in the picture."""
    rgb = picture()
    assert np.array_equal(taken(rgb, Region(24, 18, 16, math.pi), 16), rgb[26:10:-1, 32:16:-1])


def test_a_quarter_turn_runs_down_the_picture() -> None:
    """At 90 degrees the region's x axis points down in the picture, its y axis to the left."""
    rgb = picture()
    upright = rgb[10:26, 32:16:-1]
    assert np.array_equal(taken(rgb, Region(24, 18, 16, math.pi / 2), 16), upright.transpose(1, 0, 2))


def test_a_ramp_is_sampled_to_a_32nd_of_a_pixel() -> None:
    """Between pixels the four neighbours are mixed, in steps of 1/32 pixel and of one grey level."""
    ramp = np.repeat(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    region = Region(30.3, 20.1, 20, 0.2)
    matrix = region.matrix()
    x = matrix[0, 0] * np.arange(16)[None] / 16 + matrix[0, 1] * np.arange(16)[:, None] / 16 + matrix[0, 2]
    assert np.abs(taken(np.ascontiguousarray(ramp), region, 16)[..., 0] - 4 * x).max() <= 4 / 64 + 0.5 + 1e-3


@pytest.mark.parametrize(("black", "edge"), [(True, 0.0), (False, 200.0)])
def test_outside_of_the_picture(black: bool, edge: float) -> None:
    """Outside is black for the detector, and the repeated border for the mesh."""
    rgb = np.full((20, 20, 3), 200, np.uint8)
    out = taken(rgb, Region(10, 10, 80, 0.0), 8, black_outside=black)
    assert out[0, 0, 0] == edge
    assert out[4, 4, 0] == 200


@pytest.mark.parametrize("shape", [(1, 50, 3), (50, 1, 3), (1, 1, 3)])
def test_a_degenerate_picture_can_be_cut(shape: tuple[int, int, int]) -> None:
    """A picture one pixel wide or high has neighbours too: itself."""
    rgb = np.full(shape, 77, np.uint8)
    assert (taken(rgb, whole(shape[1], shape[0]), 16) == 77).all()


def test_a_read_only_picture_can_be_cut() -> None:
    """Decoders hand out read-only pictures; the kernel is compiled for them beforehand."""
    rgb = picture()
    rgb.flags.writeable = False
    assert np.array_equal(taken(rgb, Region(24, 18, 16, 0.0), 16), rgb[10:26, 16:32])


def test_the_range_of_a_cut_is_the_models() -> None:
    """0 becomes low and 255 becomes high."""
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[:, 4:] = 255
    out = np.empty((8, 8, 3), np.float32)
    cut(rgb, whole(8, 8), out, -1.0, 1.0, black_outside=True)
    assert out.min() == -1.0
    assert out.max() == pytest.approx(1.0, abs=1e-6)


def test_around_is_the_square_of_the_box_turned_with_the_line() -> None:
    """The box's long side counts, the margin scales it, and the line from left to right gives the angle."""
    points = np.array([[10, 20, 5], [50, 60, 0], [30, 100, 1]], np.float32)
    region = around(points, 0, 1, 1.5)
    assert (region.x, region.y, region.side) == (30, 60, 120)
    assert region.angle == pytest.approx(math.pi / 4)


def test_region_points_and_picture_points_agree() -> None:
    """The middle of the region is its centre, whatever its angle; one unit is one side."""
    matrix = Region(30, 40, 20, 0.7).matrix()
    assert matrix[:, :2] @ [0.5, 0.5] + matrix[:, 2] == pytest.approx([30, 40])
    assert np.hypot(*matrix[:, 0]) == pytest.approx(20)


def test_overlap_and_cover() -> None:
    """Intersection over union, and the share of the smaller one."""
    a, b = Region(0, 0, 2, 0.0), Region(1, 0, 2, 0.0)
    assert overlap(a, b) == pytest.approx(1 / 3)
    assert overlap(a, Region(5, 5, 2, 0.0)) == 0
    assert cover(a, Region(0, 0, 1, 0.0)) == 1


def test_a_region_that_is_no_square_is_not_valid() -> None:
    """No area, or a number that is not finite: nothing can be cut there."""
    assert Region(0, 0, 1, 0.0).valid()
    assert not Region(0, 0, 0, 0.0).valid()
    assert not Region(math.nan, 0, 1, 0.0).valid()
