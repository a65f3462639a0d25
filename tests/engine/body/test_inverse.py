"""Inverse kinematics: poses come back out of points, and what points cannot say is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from engine.body import inverse
from engine.body import skeleton as s
from engine.body.fitter import UPRIGHT, standing
from engine.body.landmarks import Figure, figure_of, find_landmarks
from engine.body.model import BodyModel
from engine.body.person import Shaping, lengths
from engine.body.refine import Fit, clamp, refined, weak_perspective
from engine.body.synthetic import synthetic_body
from engine.errors import ConfigError
from engine.geometry import rotation_matrix
from engine.mesh import rotations as forms
from engine.types import F64
from tests.engine.body.bodies import MOVABLE, landmarks, natural_pose, points_of

ALL = np.ones(s.POINTS, bool)
REST = np.repeat(np.eye(3)[None], s.COUNT, axis=0)


def _figure() -> Figure:
    return figure_of(synthetic_body().shaped(), landmarks())


def recovered(points: F64, steps: int = 6) -> F64:
    """The pose that points are explained by, all of them seen."""
    figure = _figure()
    first = inverse.solve(figure, points, ALL, REST)
    return refined(figure, first, points, np.ones(s.POINTS), fit=Fit(steps=steps))


def test_joint_angles_come_back_within_8_degrees_from_points_with_a_centimetre_of_noise() -> None:
    """Mean angle between true and recovered local rotations of the 20 joints that the points say something about."""
    numbers = np.random.default_rng(11)
    errors = []
    for _ in range(40):
        pose = natural_pose(numbers)
        points = points_of(pose)
        found = recovered(points + 0.01 * numbers.standard_normal(points.shape))
        errors.append(np.degrees(forms.angles_between(found, pose))[list(MOVABLE)])
    assert np.mean(errors) < 8.0


def test_steps_of_gauss_and_newton_bring_the_body_onto_its_points() -> None:
    """They halve what the closed form leaves, and end within 1.5 cm of every joint's point on the mean."""
    numbers = np.random.default_rng(12)
    away: dict[int, list[float]] = {0: [], 6: []}
    for _ in range(20):
        points = points_of(natural_pose(numbers))
        for steps, values in away.items():
            found = points_of(recovered(points, steps))
            shift = (points - found).mean(0)
            values.append(float(np.linalg.norm(found + shift - points, axis=1)[list(s.OF_JOINT)].mean()))
    assert np.mean(away[6]) < 0.5 * np.mean(away[0])
    assert np.mean(away[6]) < 0.015


def test_who_stands_upright_before_the_camera_has_the_usual_root() -> None:
    """Half a turn about x, as SMPL's fits have it, and nothing is bent."""
    pose = REST.copy()
    pose[s.PELVIS] = UPRIGHT
    found = inverse.solve(_figure(), points_of(pose), ALL, REST)
    np.testing.assert_allclose(np.degrees(forms.angles_between(found, pose))[list(MOVABLE)], 0, atol=2)


@pytest.mark.parametrize("joint", sorted(inverse.HINGES))
@pytest.mark.parametrize("bend", [5.0, 90.0, 145.0])
def test_hinges_bend_by_as_much_as_the_points_say(joint: int, bend: float) -> None:
    """Elbows and knees have one angle."""
    pose = REST.copy()
    pose[s.PELVIS] = UPRIGHT
    pose[joint] = rotation_matrix(np.radians(bend) * inverse.HINGES[joint])
    found = inverse.solve(_figure(), points_of(pose), ALL, REST)
    angle = np.degrees(inverse.twisted(found[joint], inverse.HINGES[joint]))
    assert angle == pytest.approx(bend, abs=3)


@pytest.mark.parametrize("joint", sorted(inverse.HINGES))
def test_hinges_do_not_bend_backwards_nor_beyond_150_degrees(joint: int) -> None:
    """Whatever the points say: neither in closed form nor after any step."""
    axis = inverse.HINGES[joint]
    pose = REST.copy()
    pose[s.PELVIS] = UPRIGHT
    for bend in (-40.0, 178.0):
        pose[joint] = rotation_matrix(np.radians(bend) * axis)
        for found in (inverse.solve(_figure(), points_of(pose), ALL, REST), recovered(points_of(pose))):
            assert -1e-6 <= inverse.twisted(found[joint], axis) <= inverse.MOST_BENT + 1e-6
    clamp(pose)
    assert inverse.twisted(pose[joint], axis) == pytest.approx(inverse.MOST_BENT)


def test_a_straight_arm_keeps_the_twist_that_it_had() -> None:
    """Points of a straight arm say nothing about its twist: it stays, and does not jump."""
    figure = _figure()
    before = standing()
    along = figure.joints[18] - figure.joints[16]
    twist = rotation_matrix(0.7 * along / np.linalg.norm(along))
    before[s.SHOULDERS[0]] = before[s.SHOULDERS[0]] @ twist
    found = inverse.solve(figure, points_of(before), ALL, before)
    assert np.degrees(forms.angles_between(found, before))[s.SHOULDERS[0]] < 3


def test_joints_whose_points_are_hidden_stay_as_they_were() -> None:
    """Nothing is moved by a guess."""
    pose = natural_pose(np.random.default_rng(5))
    seen = ALL.copy()
    seen[[s.POINT_KNEES[0], s.POINT_ELBOWS[1], s.NOSE]] = False
    before = natural_pose(np.random.default_rng(6))
    found = inverse.solve(_figure(), points_of(pose), seen, before)
    for joint in (s.HIPS[0], s.SHOULDERS[1], s.NECK, s.HEAD):
        np.testing.assert_array_equal(found[joint], before[joint])
    assert not np.allclose(found[s.HIPS[1]], before[s.HIPS[1]])


def test_no_step_is_taken_that_makes_a_fit_worse() -> None:
    """Points that are no body's leave the pose finite, and its cost no higher than it was."""
    numbers = np.random.default_rng(7)
    figure = _figure()
    for _ in range(5):
        points = numbers.standard_normal((s.POINTS, 3))
        first = inverse.solve(figure, points, ALL, REST)
        found = refined(figure, first, points, np.ones(s.POINTS))
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found @ found.transpose(0, 2, 1), REST, atol=1e-6)


def test_joints_that_may_not_move_do_not() -> None:
    """`free` holds joints through all steps; so does a lack of points."""
    figure = _figure()
    pose = natural_pose(np.random.default_rng(8))
    free = np.ones(s.COUNT, bool)
    free[list(s.LEGS)] = False
    found = refined(figure, REST, points_of(pose), np.ones(s.POINTS), free=free)
    np.testing.assert_array_equal(found[list(s.LEGS)], REST[list(s.LEGS)])
    assert not np.allclose(found[s.SHOULDERS[0]], np.eye(3))
    np.testing.assert_array_equal(refined(figure, REST, points_of(pose), np.zeros(s.POINTS)), REST)


def test_a_trunk_that_leans_in_depth_alone_is_set_upright() -> None:
    """Depth is sheared; what the picture shows is not touched."""
    points = points_of(
        np.where(
            np.arange(s.COUNT)[:, None, None] == 0, UPRIGHT @ rotation_matrix(np.array([0.5, 0, 0])), REST
        )
    )
    upright = inverse.unleaned(points)
    np.testing.assert_array_equal(upright[:, :2], points[:, :2])
    trunk = upright[list(s.POINT_SHOULDERS)].mean(0) - upright[list(s.POINT_HIPS)].mean(0)
    assert abs(trunk[2]) < 1e-9


@pytest.mark.parametrize(
    "other", [np.array([-2.0, 0.0, 0.0]), np.array([0.0, 3.0, 4.0]), np.array([5.0, 0.0, 0.0])]
)
def test_an_arc_brings_one_direction_to_any_other(other: F64) -> None:
    """Opposite and equal directions included."""
    turned = inverse.arc(np.array([1.0, 0.0, 0.0]), other)
    np.testing.assert_allclose(turned @ [1.0, 0.0, 0.0], other / np.linalg.norm(other), atol=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1.0)


def test_the_camera_is_the_one_that_sees_the_points_so() -> None:
    """Scale and shift come back by least squares; a point of no weight does not count."""
    points = points_of(natural_pose(np.random.default_rng(9)))
    flat = 180.0 * points[:, :2] + [320.0, 200.0]
    weights = np.ones(s.POINTS)
    flat[4], weights[4] = 9000.0, 0.0
    scale, shift = weak_perspective(points, flat, weights)
    assert scale == pytest.approx(180.0)
    np.testing.assert_allclose(shift, [320.0, 200.0])


def test_a_persons_proportions_come_out_of_the_lengths_of_bones() -> None:
    """Long arms and short legs are found from posed, noisy points: limbs within 1.5 cm."""
    model, numbers = synthetic_body(), np.random.default_rng(10)
    true = np.array([0.5, -1.5, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.5, -0.5], np.float32)
    rows = []
    for _ in range(30):
        points = points_of(natural_pose(numbers), betas=true)
        rows.append(lengths(points + 0.01 * numbers.standard_normal(points.shape)))
    person = Shaping(model, landmarks()).person(np.median(rows, axis=0))
    expected = lengths(landmarks().of(model.shaped(true)).astype(np.float64))
    found = lengths(landmarks().of(person.shaped).astype(np.float64))
    np.testing.assert_allclose(found[:4], expected[:4], atol=0.015)
    assert abs(found - expected).max() < abs(lengths(_figure().points) - expected).max()


def test_lengths_that_were_not_seen_leave_the_mean_body() -> None:
    """A bust says nothing of legs: without any length the body is the mean one."""
    person = Shaping(synthetic_body(), landmarks()).person(np.full(8, np.nan))
    np.testing.assert_allclose(person.betas, 0, atol=1e-6)
    points = points_of(standing())
    hidden = ALL.copy()
    hidden[s.POINT_HIPS[0] :] = False
    assert np.isnan(lengths(points, hidden)[[2, 3, 5, 7]]).all()
    assert np.isfinite(lengths(points, hidden)[[0, 1, 4, 6]]).all()


def test_a_skeleton_that_is_not_smpls_is_refused() -> None:
    """Points are fixed to joints by their number."""
    model = synthetic_body()
    other = BodyModel(
        model.template, model.shapes, model.pose_shapes, model.regressor, model.weights,
        (-1, *range(s.COUNT - 1)), model.faces,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="not SMPL"):
        find_landmarks(other)
