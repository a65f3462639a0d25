"""Flows and condition maps from a drawn mesh."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import InputError
from engine.mesh.flow import ABSENT, condition, corners_of, flow
from engine.mesh.raster import rasterise

POINTS = np.array([[-0.9, -0.8, 3], [0.9, -0.8, 3], [0.1, 0.9, 3], [-0.9, 0.8, 3]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
SIZE = 24


def test_a_mesh_on_itself_maps_every_pixel_to_its_own_place():
    """With the target's own points as the source, the flow is the pixel grid, y down."""
    drawn = rasterise(POINTS, FACES, SIZE)
    own = POINTS[:, :2] * np.float32([1, -1])
    grid = flow(drawn, corners_of(own, FACES))
    seen = drawn.index >= 0
    x, y = np.meshgrid(drawn.centres, drawn.centres)
    np.testing.assert_allclose(grid[seen], np.stack((x, y), -1)[seen], atol=1e-6)
    assert (grid[~seen] == ABSENT).all()


def test_faces_that_the_source_is_not_to_give_stay_absent():
    """A face whose corners are ABSENT is absent in the flow, too."""
    drawn = rasterise(POINTS, FACES, SIZE)
    corners = corners_of(POINTS, FACES)
    corners[1] = ABSENT
    grid = flow(drawn, corners)
    np.testing.assert_allclose(grid[drawn.index == 1], ABSENT, atol=1e-6)
    assert np.abs(grid[drawn.index == 0]).max() <= 1


def test_a_condition_is_flat_in_every_face():
    """Each face has its row of the table, and what no face covers the last row; memory given is used."""
    drawn = rasterise(POINTS, FACES, SIZE)
    table = np.array([[0.1, 0.2, 0], [0.3, 0.4, 0], [0, 0, 1]], np.float32)
    out = np.empty((3, SIZE, SIZE), np.float32)
    planes = condition(drawn, table, out)
    assert planes is out
    for face in (-1, 0, 1):
        assert (planes[:, drawn.index == face] == table[face][:, None]).all()


def test_a_mesh_with_more_faces_than_rows_is_refused():
    """A raster of another mesh is one clear line, and nothing is read past the end."""
    drawn = rasterise(POINTS, FACES, SIZE)
    with pytest.raises(InputError, match="face 1 is drawn, and there are rows for 1 only"):
        flow(drawn, corners_of(POINTS, FACES[:1]))
    with pytest.raises(InputError, match="face 1 is drawn"):
        condition(drawn, np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match="source points: expected"):
        flow(drawn, np.zeros((2, 3, 3), np.float32))
    with pytest.raises(InputError, match="memory: expected"):
        flow(drawn, corners_of(POINTS, FACES), np.empty((SIZE, SIZE, 2)))
