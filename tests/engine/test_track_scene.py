"""Tests of engine/track/scene.py."""

from __future__ import annotations

import numpy as np
import pytest

from engine.track.scene import Scene, change_of_shape, is_cut, sameness, thumbnail, tolerance
from engine.types import F32, U8


def scenery(seed: int, height: int = 180, width: int = 320) -> U8:
    """A smooth random picture."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (7, 11))
    y = np.linspace(0, 5.99, height)
    x = np.linspace(0, 9.99, width)
    y0, x0 = y.astype(int), x.astype(int)
    fy, fx = (y - y0)[:, None], (x - x0)[None]
    top = coarse[y0][:, x0] * (1 - fx) + coarse[y0][:, x0 + 1] * fx
    below = coarse[y0 + 1][:, x0] * (1 - fx) + coarse[y0 + 1][:, x0 + 1] * fx
    return np.repeat((top * (1 - fy) + below * fy)[..., None], 3, 2).astype(np.uint8)


def face(seed: int = 0) -> F32:
    points = np.random.default_rng(seed).uniform(0, 100, (478, 3)).astype(np.float32)
    points[33], points[263] = (0, 50, 0), (100, 50, 0)
    return points


def test_another_scene_is_a_change() -> None:
    """Two unrelated pictures are unlike."""
    scene = Scene()
    assert scene.changed(scenery(1)) is None
    assert scene.changed(scenery(1)) is None
    assert scene.changed(scenery(2)) == 0


def test_the_same_framing_is_not_the_same_scene() -> None:
    """Two pictures with the same coarse light and other detail are told apart by their detail."""
    rng = np.random.default_rng(5)
    light = scenery(1).astype(int)
    blocks = [np.kron(rng.integers(-60, 60, (18, 32, 1)), np.ones((10, 10, 1), int)) for _ in range(2)]
    first, second = (thumbnail(np.clip(light + block, 0, 255).astype(np.uint8)) for block in blocks)
    assert first is not None
    assert second is not None
    assert sameness(first, first) == 1
    assert sameness(first, second) < 0.5


def test_light_noise_and_flashes_are_no_change() -> None:
    """Brightness, contrast and noise do not matter; a white or black picture between says nothing."""
    rng = np.random.default_rng(3)
    scene, still = Scene(), scenery(1)
    scene.changed(still)
    assert scene.changed((still * 0.5 + 100).astype(np.uint8)) is None
    assert scene.changed(np.clip(still + rng.normal(0, 20, still.shape), 0, 255).astype(np.uint8)) is None
    assert scene.changed(np.full_like(still, 255)) is None
    assert scene.changed(still) is None


def test_a_pan_is_no_change() -> None:
    """A picture moved by a tenth of its width is still the same scene."""
    wide, scene = scenery(1, 180, 360), Scene()
    scene.changed(np.ascontiguousarray(wide[:, :320]))
    assert scene.changed(np.ascontiguousarray(wide[:, 32:352])) is None


def test_a_scene_that_is_forgotten_has_no_before() -> None:
    """After a reset the first picture is never a change."""
    scene = Scene()
    scene.changed(scenery(1))
    scene.forget()
    assert scene.changed(scenery(2)) is None


def test_a_thumbnail_does_not_depend_on_the_pictures_size() -> None:
    """A stream that changes its resolution does not look like a cut."""
    small, large = thumbnail(scenery(1, 90, 160)), thumbnail(scenery(1, 360, 640))
    assert small is not None
    assert large is not None
    assert np.abs(small - large).max() < 8


def test_change_of_shape_ignores_where_the_face_is() -> None:
    """Shift, turn and scale are motion; what is left is measured in eye distances."""
    points = face()
    turn = 1.3 * np.array([[0.8, -0.6], [0.6, 0.8]])
    moved = points.copy()
    moved[:, :2] = points[:, :2] @ turn.T + (30, -8)
    assert change_of_shape(points, moved) == pytest.approx(0, abs=1e-5)
    assert change_of_shape(points, face(1)) > 0.2


def test_a_cut_leaves_no_face_going_on() -> None:
    """One face that keeps its shape is enough to know the scene again; a lost face does not help."""
    points = face()
    assert is_cut(0.0, [(points, face(1)), (points, None)])
    assert not is_cut(0.0, [(points, face(1)), (points, points + 5)])
    assert is_cut(0.0, [])


def test_a_hidden_face_is_no_cut() -> None:
    """Where every face is lost, the picture has to be quite another one."""
    assert is_cut(0.0, [(face(), None)])
    assert not is_cut(0.5, [(face(), None)])


def test_the_less_alike_the_stricter() -> None:
    """A face may change its shape more where the picture is nearly the same."""
    assert 0 < tolerance(0.0) < tolerance(0.5) < tolerance(1.0)
