from __future__ import annotations

import numpy as np

from engine import canonical
from engine.features import action_units
from engine.features.au_basis import deform
from engine.features.shape import fit_shape
from engine.features.still import static_aus, still_neutral
from engine.geometry import pose_rotation
from engine.types import AU_NAMES, Face, FaceShape, HeadPose


def _seen(aus: dict[str, float], pose: HeadPose) -> Face:
    values = np.array([aus.get(name, 0.0) for name in AU_NAMES], np.float32)
    local = deform(canonical.VERTICES, values)
    points = FaceShape(local, pose_rotation(pose), 20.0, np.array([300.0, 300.0, 0.0])).points()
    return Face(np.zeros(4, np.float32), points, 1.0, 1)


def test_a_resting_face_is_its_own_neutral() -> None:
    """Nothing is explained away where there is nothing: the canonical face comes back, facing the camera."""
    face = _seen({}, HeadPose(15.0, -5.0, 3.0))
    neutral = still_neutral(face)
    assert np.abs(neutral.shape.local - canonical.VERTICES).max() < 0.02
    assert np.array_equal(neutral.shape.rotation, np.eye(3))
    assert neutral.openness.mouth == 0.0


def test_an_expression_in_a_single_picture_is_read_against_its_estimated_rest() -> None:
    """A smiling, open-mouthed still drives as a smile with an open mouth, not as a resting face."""
    face = _seen({"AU12": 0.8, "AU25": 0.6, "AU26": 0.5}, HeadPose(0.0, 0.0, 0.0))
    neutral = still_neutral(face)
    aus = dict(zip(AU_NAMES, action_units.measure(fit_shape(face.points), neutral)))
    assert aus["AU12"] > 0.4
    assert aus["AU25"] + aus["AU26"] > 0.6
    assert aus["AU04"] < 0.2


def test_the_aus_of_a_single_face_are_those_against_its_own_estimated_rest() -> None:
    """One measure for stills: a dataset, a portrait and an edited frame are read by the same rule."""
    face = _seen({"AU12": 0.8, "AU01": 0.5}, HeadPose(5.0, 0.0, 0.0))
    shape = fit_shape(face.points)
    assert np.array_equal(static_aus(shape), action_units.measure(shape, still_neutral(face)))
