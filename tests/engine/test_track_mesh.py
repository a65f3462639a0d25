"""Tests of engine/track/mesh.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from engine.backends import Arrays, Port
from engine.track.mesh import (
    LEFT_EYE,
    LEFT_IRIS,
    LIPS,
    RIGHT_EYE,
    RIGHT_IRIS,
    SIZE,
    FaceMesh,
    Reading,
    place,
    refine,
)
from engine.track.region import Region
from engine.types import F32


class CannedGraph:
    """Answers the same outputs to every picture."""

    backend = "canned"
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()

    def __init__(self, mesh: F32, logit: float) -> None:
        self._answer: dict[str, Any] = {
            "output_mesh_identity": mesh.reshape(1, 1, 1, -1),
            "conv_faceflag": np.full((1, 1, 1, 1), logit, np.float32),
            "output_lips": np.zeros((1, 1, 1, 160), np.float32),
        }
        for side in ("left", "right"):
            self._answer[f"output_{side}_eye"] = np.zeros((1, 1, 1, 142), np.float32)
            self._answer[f"output_{side}_iris"] = np.zeros((1, 1, 1, 10), np.float32)

    def run(self, arrays: Arrays) -> dict[str, Any]:
        assert arrays["input_1"].shape == (1, SIZE, SIZE, 3)
        return self._answer

    def close(self) -> None: ...


def test_the_finer_outputs_replace_different_points() -> None:
    """No mesh point is claimed twice, and all lie within the mesh; the irises follow after it."""
    claimed = [*LIPS, *RIGHT_EYE, *LEFT_EYE, *RIGHT_IRIS, *LEFT_IRIS]
    assert (len(LIPS), len(RIGHT_EYE), len(LEFT_EYE)) == (80, 71, 71)
    assert len(set(claimed)) == len(claimed) == 232
    assert max(LIPS + RIGHT_EYE + LEFT_EYE) < 468
    assert claimed[-10:] == list(range(468, 478))


def test_refine_takes_finer_positions_and_keeps_the_meshs_depth() -> None:
    """Lips, lids and irises come from their own outputs, depth from the mesh; an iris has its lids' mean depth."""
    rng = np.random.default_rng(1)
    mesh = rng.normal(size=(468, 3)).astype(np.float32)
    finer = rng.normal(size=(232, 2))
    points = refine(mesh, finer)
    assert points[LIPS[3], :2] == pytest.approx(finer[3])
    assert points[LEFT_EYE[0], :2] == pytest.approx(finer[80 + 71])
    assert points[476, :2] == pytest.approx(finer[230])
    assert points[:468, 2] == pytest.approx(mesh[:, 2])
    assert points[4] == pytest.approx(mesh[4])
    assert points[470, 2] == pytest.approx(mesh[list(RIGHT_EYE[:16]), 2].mean())


def test_place_is_the_regions_similarity() -> None:
    """The middle of the cut is the region's centre; depth scales like x and y, and is not moved."""
    points = np.zeros((478, 3))
    points[0] = SIZE / 2, SIZE / 2, 0
    points[1] = SIZE, SIZE / 2, SIZE / 4
    placed = place(points, Region(30, 40, 20, math.pi / 2))
    assert placed[0] == pytest.approx((30, 40, 0), abs=1e-4)
    assert placed[1] == pytest.approx((30, 50, 5), abs=1e-4)


def test_the_next_region_follows_the_outer_eye_corners() -> None:
    """Turned with the line from corner to corner, 1.5 times the box around all points."""
    points = np.zeros((478, 3), np.float32)
    points[33], points[263], points[152] = (10, 10, 0), (30, 30, 0), (10, 60, 0)
    reading = Reading(points, 1.0)
    assert reading.region() == Region(15, 30, 90, math.pi / 4)
    assert reading.box() == pytest.approx([0, 0, 30, 60])


def test_read_gives_presence_as_a_probability() -> None:
    """The model's flag is a logit."""
    rgb = np.zeros((50, 50, 3), np.uint8)
    reading = FaceMesh(CannedGraph(np.ones((468, 3), np.float32), 0.0)).read(rgb, Region(25, 25, 50, 0.0))
    assert reading is not None
    assert reading.presence == 0.5


@pytest.mark.parametrize(("value", "logit"), [(np.nan, 3.0), (np.inf, 3.0), (1.0, np.nan)])
def test_numbers_that_are_not_finite_are_no_face(value: float, logit: float) -> None:
    """A model that fails numerically cannot put NaN into a face."""
    rgb = np.zeros((50, 50, 3), np.uint8)
    mesh = np.full((468, 3), value, np.float32)
    assert FaceMesh(CannedGraph(mesh, logit)).read(rgb, Region(25, 25, 50, 0.0)) is None


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_extreme_flags_saturate(logit: float) -> None:
    """A very sure model is no arithmetic error."""
    rgb = np.zeros((50, 50, 3), np.uint8)
    reading = FaceMesh(CannedGraph(np.ones((468, 3), np.float32), logit)).read(rgb, Region(25, 25, 50, 0.0))
    assert reading is not None
    assert reading.presence == pytest.approx(float(logit > 0))
