"""Bodies followed frame by frame: what is seen moves, what is not is held, and all of it without looking ahead."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from engine.body import skeleton as s
from engine.body.camera import Camera
from engine.body.fitter import UPRIGHT, BodyFit, BodyFitter, full_pose, standing
from engine.body.hands import Hands
from engine.body.model import BodyModel
from engine.body.steady import CameraSmoother, GroundLock, RotationSmoother, SteadyConfig
from engine.body.synthetic import synthetic_body
from engine.errors import InputError
from engine.geometry import rotation_matrix
from engine.mesh import rotations as forms
from engine.mesh.cameras import on_screen, project_with_depth
from engine.mesh.raster import rasterise
from engine.types import F64, Body
from tests.engine.body.bodies import SCALE, SIZE, natural_pose, points_of, seen

LEGS = list(s.LEGS)
BELOW = tuple(range(s.POINT_KNEES[0], s.POINTS))
HALF = (*s.POINT_HIPS, *BELOW)


def _walking(step: float) -> F64:
    """A pose in which legs and arms swing."""
    pose = standing()
    for side, sign in enumerate(s.SIDES):
        pose[s.HIPS[side]] = rotation_matrix(np.array([sign * 0.5 * np.sin(step), 0, 0]))
        pose[s.KNEES[side]] = rotation_matrix(np.array([0.4 + 0.3 * np.sin(step), 0, 0]))
        pose[s.ELBOWS[side]] = rotation_matrix(np.array([0, -sign * (0.6 + 0.3 * np.cos(step)), 0]))
    return pose


def _follow(fitter: BodyFitter, bodies: list[Body]) -> list[BodyFit]:
    fits = [fitter.follow(body, SIZE) for body in bodies]
    assert all(fit is not None for fit in fits)
    return [fit for fit in fits if fit is not None]


def _reprojected(fitter: BodyFitter, fit: BodyFit, body: Body) -> float:
    """Mean distance of the joints from their points in the picture, as a share of the body's height."""
    posed = fitter.posed(fit)
    points = list(s.OF_JOINT)
    away = fit.camera.seen(fitter.landmarks.of(posed))[points] - body.points[points, :2]
    height = fit.camera.scale * float(np.ptp(fitter.model.shaped(fit.betas).vertices[:, 1]))
    return float(np.linalg.norm(away, axis=1).mean()) / height


def test_a_posed_body_is_found_with_its_camera() -> None:
    """Joints reproject within 2 % of the height, at the scale that the picture was made with."""
    numbers = np.random.default_rng(1)
    fitter = BodyFitter(synthetic_body())
    for _ in range(8):
        body = seen(points_of(natural_pose(numbers)))
        fit = fitter.picture(body, SIZE)
        assert _reprojected(fitter, fit, body) < 0.02
        assert fit.camera.scale == pytest.approx(SCALE, rel=0.15)


@pytest.mark.parametrize("hidden", [HALF, BELOW, tuple(BELOW[2:])])
def test_the_legs_of_a_half_length_view_hang_down(hidden: tuple[int, ...]) -> None:
    """Whatever the tracker invents for them: no squat. The trunk stands upright; arms still move."""
    pose = natural_pose(np.random.default_rng(2))
    pose[s.PELVIS] = UPRIGHT
    fitter = BodyFitter(synthetic_body())
    fit = fitter.picture(seen(points_of(pose), hidden=hidden), SIZE)
    np.testing.assert_array_equal(fit.rotations[LEGS], np.repeat(np.eye(3)[None], len(LEGS), axis=0))
    assert not fit.moving[LEGS].any()
    assert fit.moving[list(s.ELBOWS)].all()
    assert fit.half == (hidden == HALF)
    down = UPRIGHT.T @ fit.rotations[s.PELVIS].astype(np.float64)
    assert np.degrees(np.arccos(np.clip(down[1, 1], -1, 1))) < 15


def test_legs_outside_of_the_picture_are_not_seen_however_sure_the_tracker_is() -> None:
    """Visibility is the tracker's opinion; the picture's edge is a fact."""
    body = seen(points_of(_walking(1.0)))
    cut = SIZE[0], int(body.points[list(s.POINT_KNEES), 1].min()) + 5
    fit = BodyFitter(synthetic_body()).picture(body, cut)
    assert not fit.moving[LEGS].any()
    np.testing.assert_array_equal(fit.rotations[LEGS], np.repeat(np.eye(3)[None], len(LEGS), axis=0))


def test_a_leg_that_was_seen_is_held_where_it_was() -> None:
    """When the view turns into a half-length one the last pose of the legs stays."""
    fitter = BodyFitter(synthetic_body(), steady=SteadyConfig())
    before = _follow(fitter, [seen(points_of(_walking(0.8)), k / 10) for k in range(12)])[-1]
    after = _follow(fitter, [seen(points_of(_walking(2.5)), 1.2 + k / 10, HALF) for k in range(10)])[-1]
    assert before.moving[LEGS[:4]].all()
    turned = np.degrees(forms.angles_between(before.rotations, after.rotations))
    assert turned[list(s.KNEES)].max() < 1
    assert turned[list(s.HIPS)].max() < 1


def test_a_hidden_arm_is_held() -> None:
    """Below visibility 0.5 the last value stays, while the other arm goes on."""
    fitter = BodyFitter(synthetic_body())
    before = _follow(fitter, [seen(points_of(_walking(0.0)), k / 10) for k in range(12)])[-1]
    hidden = (s.POINT_ELBOWS[1], s.POINT_WRISTS[1])
    after = _follow(fitter, [seen(points_of(_walking(3.0)), 1.2 + k / 10, hidden) for k in range(10)])[-1]
    turned = np.degrees(forms.angles_between(before.rotations, after.rotations))
    assert turned[s.ELBOWS[1]] < 1
    assert turned[s.ELBOWS[0]] > 10


def test_nobody_is_nothing_and_somebody_lost_is_held() -> None:
    """Without shoulders there is no body; once there was one, it stays where it was."""
    fitter = BodyFitter(synthetic_body())
    nobody = seen(points_of(standing()), 0.0, s.POINT_SHOULDERS)
    assert fitter.follow(nobody, SIZE) is None
    first = fitter.follow(seen(points_of(standing()), 0.1), SIZE)
    assert fitter.follow(seen(points_of(standing()), 0.2, s.POINT_SHOULDERS), SIZE) is first
    with pytest.raises(InputError, match="shoulders"):
        fitter.picture(nobody, SIZE)


def test_the_same_measurement_gives_the_same_answer() -> None:
    """The tracker runs less often than frames come: between its runs nothing is filtered again."""
    fitter = BodyFitter(synthetic_body())
    body = seen(points_of(standing()), 0.5)
    assert fitter.follow(body, SIZE) is fitter.follow(body, SIZE)


def test_what_comes_later_changes_nothing_before() -> None:
    """Every filter is causal: a stream's beginning is the same whatever follows it."""
    bodies = [seen(points_of(_walking(k / 3)), k / 10) for k in range(8)]
    other = [seen(points_of(natural_pose(np.random.default_rng(k))), k / 10) for k in range(4, 8)]
    one = _follow(BodyFitter(synthetic_body()), bodies)
    two = _follow(BodyFitter(synthetic_body()), bodies[:4] + other)
    for a, b in zip(one[:4], two[:4]):
        np.testing.assert_array_equal(a.rotations, b.rotations)
        assert a.camera == b.camera


def test_another_person_starts_anew() -> None:
    """After a reset nothing of the last body is left, neither pose nor shape."""
    fitter = BodyFitter(synthetic_body())
    body = seen(points_of(_walking(1.0)), 5.0)
    fresh = BodyFitter(synthetic_body()).follow(body, SIZE)
    _follow(fitter, [seen(points_of(natural_pose(np.random.default_rng(k))), k / 10) for k in range(3)])
    fitter.reset()
    again = fitter.follow(body, SIZE)
    assert fresh is not None
    assert again is not None
    np.testing.assert_array_equal(fresh.rotations, again.rotations)
    np.testing.assert_array_equal(fresh.betas, again.betas)


def test_jitter_at_rest_is_halved_and_a_fast_arm_is_not_late() -> None:
    """One-Euro: noise on a still body is damped; a quick turn is followed within 0.15 s to nine tenths."""
    numbers = np.random.default_rng(4)
    smoother = RotationSmoother(SteadyConfig())
    still = np.repeat(np.eye(3)[None], 2, axis=0)
    raw = [still @ forms.from_vectors(0.01 * numbers.standard_normal((2, 3))) for _ in range(120)]
    smooth = [smoother.step(one, 1 / 30) for one in raw]

    def jitter(rows: list[F64]) -> float:
        return float(np.mean([forms.angles_between(a, b) for a, b in pairwise(rows[20:])]))

    assert jitter(smooth) < 0.5 * jitter(raw)
    for step in range(20):
        angle = min(step / 30 * 6.0, 1.5)
        turned = smoother.step(still @ rotation_matrix(np.array([0, 0, angle])), 1 / 30)
    assert forms.to_vectors(turned)[0, 2] == pytest.approx(1.5, abs=0.15)
    np.testing.assert_allclose(turned @ turned.transpose(0, 2, 1), still, atol=1e-9)


def test_a_pause_lets_filters_start_anew() -> None:
    """After half a second without a measurement the next one passes as it is, rotations and camera."""
    config = SteadyConfig()
    rotations, camera = RotationSmoother(config), CameraSmoother(config)
    one, other = np.eye(3)[None], rotation_matrix(np.array([0.0, 1.0, 0.0]))[None]
    rotations.step(one, 0.0)
    camera.step(Camera(100.0, 10.0, 20.0), 0.0)
    np.testing.assert_array_equal(rotations.step(other, 0.6), other)
    assert camera.step(Camera(200.0, 0.0, 0.0), 0.6) == Camera(200.0, 0.0, 0.0)


def test_standing_feet_stay_and_jumping_ones_leave_the_ground() -> None:
    """The lower foot keeps its height against slow drift of up to 5 cm; a jump of 40 cm is seen in full."""
    lock, numbers = GroundLock(SteadyConfig()), np.random.default_rng(5)

    def at(height: float, seconds: float = 1 / 30) -> float:
        camera = lock.step(Camera(200.0, 0.0, 300.0 - 200.0 * height), 0.9, seconds)
        return (camera.scale * 0.9 + camera.y - 480.0) / -200.0

    wobble = 0.003 * numbers.standard_normal(60)
    stood = [at(float(height)) for height in wobble]
    assert np.ptp(stood) < 0.2 * np.ptp(wobble)
    jumped = [at(0.4 * np.sin(np.pi * min(step / 15, 1.0))) for step in range(16)]
    assert max(jumped) > 0.3
    drifted = [at(0.001 * step) for step in range(200)]
    assert abs(drifted[-1] - 0.199) < 0.051


def test_the_face_tracker_turns_the_head() -> None:
    """Its rotation is the head's in the camera's axes, whatever nose and ears say; neck and head share the way."""
    fitter = BodyFitter(synthetic_body())
    face = rotation_matrix(np.array([0.2, -0.6, 0.1]))
    fit = fitter.picture(seen(points_of(standing())), SIZE, face)
    head = np.linalg.multi_dot(
        [fit.rotations[joint] for joint in (s.PELVIS, s.SPINE1, s.SPINE2, s.SPINE3, s.NECK, s.HEAD)]
    )
    np.testing.assert_allclose(head, face @ UPRIGHT, atol=1e-5)
    np.testing.assert_allclose(fit.rotations[s.NECK], fit.rotations[s.HEAD], atol=1e-6)


@pytest.mark.parametrize(("yaw", "ahead"), [(0.0, True), (np.pi, False)])
def test_a_rasteriser_sees_the_side_that_faces_the_camera(yaw: float, ahead: bool) -> None:
    """Fit, mesh, camera and the drawn faces speak of the same axes: a chest from before, a back from behind."""
    pose = standing()
    pose[s.PELVIS] = UPRIGHT @ rotation_matrix(np.array([0.0, yaw, 0.0]))
    fitter = BodyFitter(synthetic_body())
    fit = fitter.picture(seen(points_of(pose)), SIZE)
    camera = fit.camera.in_square(79.5, -0.5, 480.0)
    drawn = rasterise(
        on_screen(project_with_depth(fitter.posed(fit).vertices, camera)), fitter.model.faces, 96
    )
    shown = np.unique(drawn.index[drawn.index >= 0])
    corners = fitter.model.template[fitter.model.faces[shown]]
    trunk = (
        fitter.model.weights[fitter.model.faces[shown]][:, :, [s.SPINE1, s.SPINE2, s.SPINE3]].sum((1, 2)) > 1
    )
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[trunk]
    assert trunk.sum() > 20
    assert ((normals[:, 2] > 0) == ahead).mean() > 0.85
    assert 0.05 < (drawn.index >= 0).mean() < 0.4


def test_a_camera_says_the_same_in_a_square() -> None:
    """s, tx, ty of the papers send a point to where the pixel camera does, in -1..1 across the square's edges."""
    camera = Camera(180.0, 300.0, 200.0)
    points = np.array([[0.2, -0.5, 0.1], [-0.3, 0.7, 0.0]])
    scale, x, y = camera.in_square(49.5, -0.5, 512.0)
    flat = scale * (points[:, :2] + [x, y])
    pixels = (flat + 1) / 2 * 512.0 + [49.5, -0.5]
    np.testing.assert_allclose(pixels, camera.seen(points), atol=1e-3)


def test_smpl_h_keeps_its_mean_hands() -> None:
    """52 joints are posed by 22 of the fit and by the file's mean hands."""
    model = synthetic_body()
    count = len(model.template)
    parents = (*s.PARENTS[:22], *([20] * 15), *([21] * 15))
    weights = np.zeros((count, 52), np.float32)
    weights[:, :22] = model.weights[:, :22]
    weights[:, 20:22] += model.weights[:, 22:]
    regressor = np.repeat(model.regressor[20:21], 52, axis=0)
    regressor[:22] = model.regressor[:22]
    regressor[37:] = model.regressor[21]
    bends = np.zeros((9 * 51, 3 * count), np.float32)
    hands = Hands(np.full((2, 45), 0.1, np.float32), np.zeros((2, 6, 45), np.float32))
    wide = BodyModel(
        model.template, model.shapes, bends, regressor, weights, parents, model.faces, hands=hands
    )
    fitter = BodyFitter(wide)
    body = seen(points_of(natural_pose(np.random.default_rng(3))))
    fit = fitter.picture(body, SIZE)
    pose = full_pose(wide, fit.rotations)
    assert pose.shape == (52, 3, 3)
    np.testing.assert_allclose(forms.to_vectors(pose[22:]), 0.1, atol=1e-5)
    assert _reprojected(fitter, fit, body) < 0.02
    assert fit.pose72.shape == (72,)
