"""Linear blend skinning, by what has to hold for any body; the official numbers are those of the parity fixtures."""

from __future__ import annotations

import numpy as np
import pytest

from engine.body import skeleton as s
from engine.body.hands import Hands
from engine.body.model import BodyModel, read_pose
from engine.body.synthetic import SHAPE_NAMES, synthetic_body
from engine.errors import ConfigError
from engine.mesh import rotations as forms
from tests.engine.body.bodies import natural_pose


def _rest() -> np.ndarray:
    return np.repeat(np.eye(3, dtype=np.float32)[None], s.COUNT, axis=0)


def test_a_body_at_rest_is_its_template() -> None:
    """No rotation moves nothing."""
    model = synthetic_body()
    posed = model.shaped().posed(_rest())
    np.testing.assert_allclose(posed.vertices, model.template, atol=1e-6)
    np.testing.assert_allclose(posed.joints, model.regressor @ model.template, atol=1e-6)


def test_the_root_turns_the_whole_body_about_its_joint() -> None:
    """The root's rotation is rigid: it bends nothing."""
    shaped = synthetic_body().shaped(np.ones(10, np.float32))
    rotations = _rest()
    rotations[0] = forms.from_vectors(np.array([0.3, -1.2, 0.4], np.float32))
    turned = (shaped.vertices - shaped.joints[0]) @ rotations[0].T + shaped.joints[0]
    np.testing.assert_allclose(shaped.posed(rotations).vertices, turned, atol=1e-6)


def test_a_knee_moves_what_hangs_on_it_and_nothing_else() -> None:
    """Vertices without a share of a joint or of those below it stay where they are, but for the bulge beside it."""
    model = synthetic_body()
    rotations = _rest()
    rotations[s.KNEES[0]] = forms.from_vectors(np.array([1.0, 0.0, 0.0], np.float32))
    moved = np.abs(model.shaped().posed(rotations).vertices - model.template).max(1)
    below = model.weights[:, [s.KNEES[0], s.ANKLES[0], s.FEET[0]]].sum(1)
    assert moved[below == 0].max() == 0.0
    assert moved[below == 1].min() > 0.001
    assert moved.max() > 0.3


def test_joints_at_rest_cost_nothing_and_change_nothing() -> None:
    """Pose shapes are read for the joints that turn alone: the sum is that over all of them."""
    model = synthetic_body()
    rotations = natural_pose(np.random.default_rng(0)).astype(np.float32)
    rotations[[5, 6, 12]] = np.eye(3)
    shaped = model.shaped()
    features = (rotations[1:] - np.eye(3, dtype=np.float32)).reshape(-1)
    flat = shaped.vertices + (features @ model.pose_shapes).reshape(-1, 3)
    plain = BodyModel(
        flat, model.shapes, 0 * model.pose_shapes, model.regressor, model.weights, model.parents, model.faces
    )
    expected = type(shaped)(plain, flat, shaped.joints).posed(rotations).vertices
    np.testing.assert_allclose(shaped.posed(rotations).vertices, expected, atol=2e-6)


def test_the_synthetic_body_is_closed_and_faces_outwards() -> None:
    """Every edge belongs to two faces that go along it in opposite directions; the volume inside is positive."""
    model = synthetic_body()
    edges = np.concatenate([model.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    there = {tuple(edge) for edge in edges.tolist()}
    assert len(there) == len(edges)
    assert {(b, a) for a, b in there} == there
    a, b, c = (model.template[model.faces[:, corner]].astype(np.float64) for corner in range(3))
    assert 0.04 < float((np.cross(a, b) * c).sum() / 6) < 0.12  # cubic metres


def test_the_synthetic_body_is_even_and_weighted_whole() -> None:
    """Weights and the joints' regressor sum to one; left and right are mirror images; UV lie within their tile."""
    model = synthetic_body()
    np.testing.assert_allclose(model.weights.sum(1), 1.0, atol=1e-6)
    np.testing.assert_allclose(model.regressor.sum(1), 1.0, atol=1e-6)
    joints = model.shaped().joints
    for left, right in zip((*s.LEGS[::2], *s.COLLARS[:1]), (*s.LEGS[1::2], *s.COLLARS[1:])):
        np.testing.assert_allclose(joints[left] * [-1, 1, 1], joints[right], atol=1e-6)
    assert model.uv is not None
    assert model.uv.shape == (len(model.faces), 3, 2)
    assert model.uv.min() >= 0
    assert model.uv.max() <= 1


@pytest.mark.parametrize("shape", range(len(SHAPE_NAMES)))
def test_a_shape_of_the_synthetic_body_does_what_its_name_says(shape: int) -> None:
    """Each coefficient changes its own measure, and keeps joints in the middle of their rings."""
    model = synthetic_body()
    betas = np.zeros(10, np.float32)
    betas[shape] = 2.0
    rest, changed = model.shaped(), model.shaped(betas)

    def measures(shaped: object) -> dict[str, float]:
        joints, vertices = shaped.joints, shaped.vertices  # type: ignore[attr-defined]
        head = model.weights[:, s.HEAD] > 0.99
        waist = np.abs(model.template[:, 1] - 0.165) < 0.06
        return {
            "size": float(np.ptp(vertices[:, 1])),
            "leg length": float(joints[1, 1] - joints[7, 1]),
            "arm length": float(joints[20, 0] - joints[16, 0]),
            "trunk length": float(joints[12, 1] - joints[0, 1]),
            "shoulder width": float(joints[16, 0] - joints[17, 0]),
            "hip width": float(joints[1, 0] - joints[2, 0]),
            "girth": float(np.ptp(vertices[waist, 2])),
            "head size": float(np.ptp(vertices[head, 0])),
            "longer thighs": float(joints[1, 1] - joints[4, 1]),
            "longer upper arms": float(joints[18, 0] - joints[16, 0]),
        }

    name = SHAPE_NAMES[shape]
    assert measures(changed)[name] > measures(rest)[name] + 0.01


def test_encodings_of_a_pose_are_told_apart_by_their_length() -> None:
    """Rotation vectors, quaternions, 6-D and matrices of the same pose are the same pose."""
    rotations = natural_pose(np.random.default_rng(1)).astype(np.float32)
    quaternions = np.roll(forms.to_wxyz(rotations), -1, axis=-1)
    for numbers in (forms.to_vectors(rotations), quaternions, forms.to_6d(rotations), rotations):
        np.testing.assert_allclose(read_pose(numbers.reshape(-1), s.COUNT), rotations, atol=1e-5)
    with pytest.raises(ConfigError, match="71 numbers"):
        read_pose(np.zeros(71, np.float32), s.COUNT)


def test_a_pose_of_another_skeleton_is_refused() -> None:
    """The number of joints is said, both of them."""
    with pytest.raises(ConfigError, match=r"\(52, 3, 3\).*\(24, 3, 3\)"):
        synthetic_body().shaped().posed(np.zeros((52, 3, 3), np.float32))


def test_hands_beyond_their_components_are_refused() -> None:
    """More coefficients than the file has components is an error, not a cut."""
    hands = Hands(np.zeros((2, 45), np.float32), np.zeros((2, 6, 45), np.float32))
    with pytest.raises(ConfigError, match="7 coefficients"):
        hands.with_components(np.zeros(66 + 14, np.float32))
    assert hands.with_mean(np.ones(72, np.float32)).shape == (156,)
