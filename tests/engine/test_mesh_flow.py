"""The default generator as the pipeline uses it: prepare, begin, inputs, run, patch."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import cv2
import numpy as np
import pytest

from engine import canonical
from engine.errors import ConfigError, InputError, MarotteError, PortError
from engine.features import derive
from engine.features.au_basis import LIDS_LEFT, LIDS_RIGHT, LIPS, displacement
from engine.features.shape import fit_shape
from engine.generators import BUILT_IN, open_generator
from engine.generators.mesh_flow import warm_up
from engine.generators.motion.transfer import transfer
from engine.geometry import head_pose, pose_rotation
from engine.types import (
    AU_NAMES,
    Controls,
    Drive,
    Face,
    FaceShape,
    Features,
    Frame,
    HeadPose,
    Mode,
    Neutral,
    Signal,
    Source,
)

NEEDS = frozenset({Signal.SHAPE, Signal.GAZE, Signal.OPENNESS})
SIDE = 200
AHEAD = HeadPose(0.0, 0.0, 0.0)


def _shape(local=canonical.VERTICES, pose=AHEAD, scale=5.0, shift=(0.0, 0.0)):
    place = np.array([SIDE / 2 + shift[0], SIDE / 2 + shift[1], 0.0])
    return FaceShape(np.asarray(local, np.float32), pose_rotation(pose), scale, place)


def _features(shape):
    return derive(fit_shape(shape.points()), Features(0.0), NEEDS, None)


def _neutral(shape=None):
    features = _features(shape or _shape())
    return Neutral(features.shape, features.openness, features.gaze, 1.0)


def _drive(shape, controls=None, neutral=None, rgb=None):
    rgb = np.full((SIDE, SIDE, 3), 90, np.uint8) if rgb is None else rgb
    points = shape.points()
    face = Face(np.array([*points[:, :2].min(0), *points[:, :2].max(0)], np.float32), points, 1.0, 1)
    frame = Frame(rgb, 0, Fraction(1, 30), 0.0)
    return Drive(frame, face, _features(shape), neutral or _neutral(), controls or Controls())


def _acting(**aus):
    intensities = np.array([aus.get(name, 0.0) for name in AU_NAMES], np.float32)
    return canonical.VERTICES + displacement(intensities)


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    rgb = cv2.GaussianBlur(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), (0, 0), 3)
    rgb = cv2.normalize(rgb, None, 20, 235, cv2.NORM_MINMAX)
    person = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(person, (SIDE // 2, SIDE // 2), (60, 80), 0, 0, 360, 255, -1)
    return Source(rgb, _drive(_shape()).face, person, "key", "noise")


@pytest.fixture(scope="module")
def opened(source):
    generator, runner = open_generator("mesh_flow")
    return generator, runner, generator.prepare(source, Mode.PUPPET)


def _render(opened, drive):
    generator, runner, prepared = opened
    state = generator.begin(prepared)
    answer = runner.run([generator.inputs(state, drive)])[0]
    assert not isinstance(answer, Exception), answer
    return generator.patch(state, answer)


def _apart(a, b):
    return np.abs(a.astype(int) - b.astype(int))


def _target(opened, drive):
    prepared = opened[2]
    return transfer(prepared.shape, prepared.gaze, drive)


def test_an_unknown_name_is_refused_with_the_nearest():
    """A generator that is not there is an error that names what is."""
    assert open_generator(BUILT_IN[0])[0].name == BUILT_IN[0]
    with pytest.raises(ConfigError, match="did you mean 'mesh_flow'"):
        open_generator("meshflow")


def test_only_the_puppet_mode_is_served(opened, source):
    """The driver's own picture is never edited by this generator."""
    with pytest.raises(ConfigError, match="expected 'puppet'"):
        opened[0].prepare(source, Mode.EDIT)


def test_a_driver_at_rest_leaves_the_portrait_as_it_is(opened, source):
    """The first frame of a calibrated driver must not change the picture."""
    patch = _render(opened, _drive(_shape()))
    assert patch.canvas is source.rgb
    difference = _apart(patch.rgb, source.rgb)
    assert np.percentile(difference, 99) <= 6
    assert difference.mean() < 0.5


def test_the_drivers_head_motion_is_the_sources(opened):
    """Pose and translation within the limits are transferred exactly, relative to the neutral."""
    moved = _shape(pose=HeadPose(15.0, -8.0, 10.0), shift=(6.0, -4.0))
    target = _target(opened, _drive(moved))
    pose = head_pose(target.shape.rotation)
    np.testing.assert_allclose((pose.yaw, pose.pitch, pose.roll), (15.0, -8.0, 10.0), atol=0.1)
    np.testing.assert_allclose(target.points[1], fit_shape(moved.points()).points()[1], atol=0.3)


def test_a_blink_closes_the_eyes_of_a_source_that_opens_them_wider(source):
    """Lid gaps are scaled and not added, so that any driver's blink shuts any eye exactly."""
    wide = _shape(_acting(AU05=1.0))
    generator, _ = open_generator("mesh_flow")
    face = dataclasses.replace(source.face, points=wide.points())
    prepared = generator.prepare(dataclasses.replace(source, face=face), Mode.PUPPET)
    target = transfer(prepared.shape, prepared.gaze, _drive(_shape(_acting(AU45=1.0))))
    upper, lower = np.array(LIDS_RIGHT[0] + LIDS_LEFT[0]), np.array(LIDS_RIGHT[1] + LIDS_LEFT[1])
    gap = target.shape.local[lower, 1] - target.shape.local[upper, 1]
    assert np.abs(gap).max() < 0.03


def test_lips_never_cross(opened):
    """A neutral that was taken with an open mouth must not pinch the lips when the driver shuts it."""
    neutral = _neutral(_shape(_acting(AU26=1.0)))
    target = _target(opened, _drive(_shape(), neutral=neutral))
    gap = target.shape.local[list(LIPS[1]), 1] - target.shape.local[list(LIPS[0]), 1]
    assert gap.min() > -1e-4


def test_gains_of_zero_hold_the_source_still(opened):
    """Each region can be switched off while running."""
    off = Controls(pose=0.0, mouth=0.0, eyes=0.0, brows=0.0, gaze=0.0)
    moved = _shape(_acting(AU26=0.7, AU01=1.0, AU45=1.0), HeadPose(20.0, 5.0, 5.0), shift=(10.0, 0.0))
    target = _target(opened, _drive(moved, off))
    np.testing.assert_allclose(target.points, opened[2].shape.points(), atol=0.05)


def test_au_offsets_move_a_driver_at_rest(opened):
    """A smile can be asked for by name, whatever the driver does."""
    target = _target(opened, _drive(_shape(), Controls(au_offsets={"AU12": 1.0})))
    rest = opened[2].shape.local
    assert target.shape.local[291, 0] - rest[291, 0] > 0.2
    assert rest[291, 1] - target.shape.local[291, 1] > 0.2


@pytest.mark.parametrize("part", ["shape", "neutral"])
def test_motion_that_is_not_finite_is_an_error(opened, part):
    """NaN landmarks hold the last picture; they never reach a kernel."""
    drive = _drive(_shape())
    broken = drive.features.shape.local.copy()
    broken[5] = np.nan
    shape = dataclasses.replace(drive.features.shape, local=broken)
    if part == "shape":
        drive = dataclasses.replace(drive, features=dataclasses.replace(drive.features, shape=shape))
    else:
        drive = dataclasses.replace(drive, neutral=dataclasses.replace(drive.neutral, shape=shape))
    with pytest.raises(MarotteError, match="not finite"):
        opened[0].inputs(opened[0].begin(opened[2]), drive)


def test_points_that_are_no_face_are_an_error(opened):
    """A tracker gone astray holds the last picture too."""
    drive = _drive(_shape())
    blob = np.random.default_rng(5).normal(0, 30, (478, 3)).astype(np.float32)
    shape = dataclasses.replace(drive.features.shape, local=blob)
    drive = dataclasses.replace(drive, features=dataclasses.replace(drive.features, shape=shape))
    with pytest.raises(InputError, match="no face"):
        opened[0].inputs(opened[0].begin(opened[2]), drive)


def test_missing_signals_are_an_error_that_names_them(opened):
    """A pipeline that did not compute what is needed is told so."""
    drive = dataclasses.replace(_drive(_shape()), features=Features(0.0))
    with pytest.raises(InputError, match="without shape or gaze"):
        opened[0].inputs(opened[0].begin(opened[2]), drive)


def test_one_failing_entry_leaves_the_batch_alone(opened):
    """Several sessions share a runner: each answers for itself."""
    generator, runner, prepared = opened
    states = [generator.begin(prepared) for _ in range(2)]
    good, bad = (dict(generator.inputs(state, _drive(_shape()))) for state in states)
    bad["target"] = np.full_like(bad["target"], np.nan)
    answers = runner.run([bad, good])
    assert isinstance(answers[0], PortError)
    assert not isinstance(answers[1], Exception)


def test_an_output_that_does_not_fit_its_port_is_refused(opened):
    """A patch is made of the right array or not at all."""
    state = opened[0].begin(opened[2])
    with pytest.raises(PortError, match="port 'rgb'"):
        opened[0].patch(state, {"rgb": np.zeros((3, 3, 3), np.uint8)})


def test_driver_pixels_enter_only_when_asked_for(opened):
    """Without the option two drivers of other looks give the same puppet to the last bit; with it they do not."""
    rng = np.random.default_rng(3)
    looks = [cv2.GaussianBlur(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), (0, 0), 4) for _ in range(2)]
    for look in looks:
        look.setflags(write=False)
    moved = _shape(_acting(AU25=1.0, AU26=1.0))
    plain = [_render(opened, _drive(moved, rgb=look)).rgb for look in looks]
    np.testing.assert_array_equal(*plain)
    asked = [_render(opened, _drive(moved, Controls(driver_pixels=True), rgb=look)).rgb for look in looks]
    assert _apart(*asked).max() > 20


def test_the_drivers_light_is_relative_to_its_rest(opened):
    """A driver lit differently from the source, but at rest, leaves the source's skin alone."""
    generator, runner, prepared = opened
    state = generator.begin(prepared)
    bright = np.full((SIDE, SIDE, 3), 60, np.uint8)
    bright[:, SIDE // 2 :] = 200
    controls = Controls(driver_pixels=True)
    pictures = [
        runner.run([generator.inputs(state, _drive(_shape(), controls, rgb=bright))])[0]["rgb"].copy()
        for _ in range(2)
    ]
    assert _apart(pictures[1], _render(opened, _drive(_shape())).rgb).max() <= 2


def test_a_large_patch_keeps_the_pictures_resolution(source):
    """Skin detail stays: up to the stated side the patch is a plain cut of its canvas."""
    generator, _ = open_generator("mesh_flow")
    crop = generator.prepare(source, Mode.PUPPET).crop
    assert crop.matrix[0, 0] == 1.0
    assert crop.size == SIDE


def test_after_the_warm_up_no_frame_compiles(opened):
    """The first frame must not wait for the compiler, with or without driver pixels or a read-only picture."""
    from engine.generators.mesh_flow import borrowed, eyes, mouth, opening, raster, shading
    from engine.generators.motion import flow

    warm_up()
    kernels = [
        flow.rasterise,
        raster.composite,
        eyes.draw_eye,
        eyes.draw_lashes,
        mouth.draw_mouth,
        opening.box,
    ]
    kernels += [borrowed.draw_borrowed_mouth, shading.read_light, shading.shade]
    before = [len(kernel.signatures) for kernel in kernels]
    rgb = np.full((SIDE, SIDE, 3), 128, np.uint8)
    rgb.setflags(write=False)
    for driver_pixels in (False, True):
        _render(opened, _drive(_shape(), Controls(driver_pixels=driver_pixels), rgb=rgb))
    assert [len(kernel.signatures) for kernel in kernels] == before
