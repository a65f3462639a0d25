"""From the driver's motion to the source's: what the face should look like in this frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine import canonical
from engine.errors import InputError
from engine.features.au_basis import LIDS_LEFT, LIDS_RIGHT, LIPS, deform
from engine.generators.motion import limits
from engine.generators.motion.regions import LID_PULL, LIP_PULL, NEIGHBOURS, REGIONS
from engine.geometry import rotation_matrix, rotation_vector
from engine.types import AU_NAMES, F32, F64, Controls, Drive, FaceShape, Gaze, Neutral

Limit = Callable[[F64, F64], F64]

_UPPER_LIDS = np.array(LIDS_RIGHT[0] + LIDS_LEFT[0])
_LOWER_LIDS = np.array(LIDS_RIGHT[1] + LIDS_LEFT[1])
_UPPER_LIP, _LOWER_LIP = np.array(LIPS[0]), np.array(LIPS[1])
_CORNERS = np.array([canonical.RIGHT_EYE_CORNERS, canonical.LEFT_EYE_CORNERS])
_IRISES = np.array([canonical.RIGHT_IRIS[0], canonical.LEFT_IRIS[0]])

_OPEN_LID_GAP_CM = 0.5
"""Middle lid gap from half of which on an eye counts as open."""

_SMILE_CM = 0.45
"""Lip gap of a smile, which a source may keep while the driver's mouth rests."""

_WIDEST_GAZE = np.array([0.75, 0.45])
_SQUINT = 0.15
"""Gaze units: how far an iris goes from the middle of its eye, and one eye from the other."""

_WIDEST_LIDS = 1.4
"""Share of its own opening to which an eye may be torn open."""

_TOUCH_CM = 0.05
"""Lip gap that the tracker reports between closed lips."""

_NOISE_CM = 0.075
"""Motion of a point that the tracker alone makes."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """shape: the source's face as it should be, in patch pixels. irises: float32 (2, 2), where the iris centres
    (right, left) belong, in patch pixels."""

    shape: FaceShape
    points: F32
    irises: F32


def transfer(
    source: FaceShape, rest_gaze: Gaze, drive: Drive, limit: Limit = limits.limit_rotation
) -> Target:
    """Move `source` (its shape in patch pixels) as the driver moves relative to the driver's neutral.

    rest_gaze: the source's own. limit: brings a wanted rotation, given beside the source's, to one that can be shown.
    Raises InputError when the driver's features are missing or not finite.
    """
    driver, look = drive.features.shape, drive.features.gaze
    if driver is None or look is None:
        raise InputError(
            "drive: got one without shape or gaze, expected both; ask for what the generator needs"
        )
    check_shape(driver, "driver")
    check_shape(drive.neutral.shape, "neutral")
    local = expression(source.local, driver.local, drive.neutral, drive.controls)
    moved = _rigid(source, driver, drive.neutral.shape, drive.controls, local, limit)
    points = moved.points()
    irises = _irises(moved, _gaze(rest_gaze, look, drive.neutral.gaze, drive.controls))
    if not (np.isfinite(points).all() and np.isfinite(irises).all()):
        raise InputError("drive: the driver's motion is not finite; expected a tracked face")
    return Target(moved, points, irises)


def check_shape(shape: FaceShape, whose: str) -> None:
    """Raise InputError where a fitted face is not finite or no face."""
    numbers = (shape.local.sum(), shape.rotation.sum(), shape.translation.sum(), shape.scale)
    if not (all(math.isfinite(float(number)) for number in numbers) and shape.scale > 0):
        raise InputError(f"drive: the {whose} face is not finite or has no size; expected a tracked face")
    right, left = canonical.OUTER_EYE_CORNERS
    apart = float(np.linalg.norm(shape.local[right] - shape.local[left])) / canonical.EYE_DISTANCE_CM
    if not 0.5 < apart < 2.0:
        raise InputError(
            f"drive: the {whose} points are no face (eye corners {apart:.2g} times as far apart as expected); "
            "expected a tracked face"
        )


def expression(source: F32, driver: F32, neutral: Neutral, controls: Controls) -> F32:
    """A source's local shape (478, 3) with the change of expression from the driver's neutral to `driver`, its local
    shape."""
    rest = neutral.shape.local
    gain = REGIONS @ np.array([controls.mouth, controls.eyes, controls.brows], np.float32)
    delta = _believed(driver - rest) * gain[:, None]
    delta[:, 0] *= _mouth_width_gain(source, rest)
    local = source + delta
    _set_lids(local, source, driver, rest, controls)
    _set_lips(local, source, driver, neutral, controls)
    if controls.au_offsets:
        offsets = np.array([controls.au_offsets.get(name, 0.0) for name in AU_NAMES], np.float32)
        local = deform(local, offsets)
    return local


def _believed(delta: F32) -> F32:
    """The driver's change without the tracker's trembling: a point keeps its motion where it and its neighbours
    move clearly more than the noise, and rests where they do not (a Wiener gain on the local energy)."""
    energy = NEIGHBOURS @ (delta[:, 0] ** 2 + delta[:, 1] ** 2)
    return np.asarray(delta * (energy / (energy + _NOISE_CM**2))[:, None], np.float32)


def _mouth_width_gain(source: F32, rest: F32) -> F32:
    """Lips move sideways in proportion to the mouth that they belong to."""
    ratio = float((source[291, 0] - source[61, 0]) / max(1e-3, rest[291, 0] - rest[61, 0]))
    return np.asarray(1.0 + (min(1.3, max(0.75, ratio)) - 1.0) * REGIONS[:, 0], np.float32)


def _set_lids(local: F32, source: F32, driver: F32, rest: F32, controls: Controls) -> None:
    """Scale the opening of each eye instead of adding to it, so that the driver's blink closes any eye exactly."""
    if controls.eyes == 0.0:
        return
    gap_source, gap_driver, gap_rest = (
        face[_LOWER_LIDS, 1] - face[_UPPER_LIDS, 1] for face in (source, driver, rest)
    )
    ratio = np.clip(gap_source / np.maximum(gap_rest, 1e-3), 0.5, 2.0)
    if controls.absolute_eyes:
        # A gap seen in a blink says nothing about how wide this eye stands open: then both eyes count as equal.
        sure = np.clip(np.minimum(gap_source, gap_rest) / (_OPEN_LID_GAP_CM * _LID_PROFILE) - 0.5, 0.0, 1.0)
        wanted = np.maximum(gap_driver, 0.0) * (1.0 + sure * (ratio - 1.0))
        awake = np.clip((gap_source / _LID_PROFILE - 0.35) / 0.3, 0.0, 1.0)
        widest = _WIDEST_LIDS * gap_source + (1.0 - awake) * _OPEN_LID_GAP_CM
        wanted = gap_source + controls.eyes * (np.minimum(wanted, widest) - gap_source)
    else:
        wanted = gap_source + controls.eyes * (gap_driver - gap_rest) * ratio
    excess = np.maximum(wanted, 0.0) - (local[_LOWER_LIDS, 1] - local[_UPPER_LIDS, 1])
    local[:, 1] += LID_PULL @ excess.astype(np.float32)


_LID_PROFILE = np.array(2 * (0.45, 0.8, 0.95, 1.0, 0.95, 0.8, 0.5), np.float32)


def _set_lips(local: F32, source: F32, driver: F32, rest: Neutral, controls: Controls) -> None:
    """Set the gap between the lips so that the driver's closed mouth closes them, and never let them cross."""
    gap = local[_LOWER_LIP, 1] - local[_UPPER_LIP, 1]
    wanted = gap
    if controls.absolute_mouth:
        resting = rest.shape.local
        gap_source, gap_driver, gap_rest = (
            np.maximum(face[_LOWER_LIP, 1] - face[_UPPER_LIP, 1], 0.0) for face in (source, driver, resting)
        )
        width = (source[308, 0] - source[78, 0]) / max(1e-3, float(resting[308, 0] - resting[78, 0]))
        width = min(1.3, max(0.75, float(width)))
        settled = _from_rest(gap_source, gap_driver, gap_rest, width)
        wanted = gap_driver * width + math.sqrt(rest.confidence) * (settled - gap_driver * width)
        wanted = gap_source + controls.mouth * (wanted - gap_source)
    local[:, 1] += LIP_PULL @ (np.maximum(wanted, 0.0) - gap).astype(np.float32)


def _from_rest(source: F32, driver: F32, rest: F32, width: float) -> F32:
    """Lip gaps when the driver's rest is known: the source's own there, shut where the driver shuts, and beyond it
    open by as much. A source that stands open far wider than the driver at rest comes part of the way back."""
    excess = np.maximum(source - rest - _SMILE_CM, 0.0)
    own = source - 0.7 * excess
    return np.asarray(
        own * np.minimum(1.0, (driver + _TOUCH_CM) / (rest + _TOUCH_CM))
        + np.maximum(driver - rest, 0.0) * width
    )


def _rigid(
    source: FaceShape, driver: FaceShape, rest: FaceShape, controls: Controls, local: F32, limit: Limit
) -> FaceShape:
    """The driver's head motion since its neutral, on the source's head, within limits."""
    wanted = driver.rotation @ rest.rotation.T @ source.rotation
    rotation = limit(_partly(wanted, source.rotation, controls.pose), source.rotation)
    grown = limits.soft(controls.pose * math.log(driver.scale / rest.scale), limits.SCALE)
    shift = controls.pose * (driver.translation - rest.translation)[:2] * (source.scale / rest.scale)
    width = source.scale * float(np.linalg.norm(canonical.VERTICES[234] - canonical.VERTICES[454]))
    translation = source.translation.copy()
    translation[:2] += limits.limit_shift(shift, width)
    return FaceShape(local, rotation, source.scale * math.exp(grown), translation)


def _partly(wanted: F64, start: F64, gain: float) -> F64:
    if gain == 1.0:
        return wanted
    return rotation_matrix(gain * rotation_vector(wanted @ start.T)) @ start


def _gaze(source: Gaze, driver: Gaze, rest: Gaze, controls: Controls) -> F64:
    """Where the irises should look, (2, 2) in Gaze units: right and left eye, x and y."""
    own, now, still = (
        np.array([[g.right_x, g.right_y], [g.left_x, g.left_y]]) for g in (source, driver, rest)
    )
    turn = controls.gaze * (now - (own if controls.absolute_gaze else still))
    both = turn.mean(0)  # eyes turn together; where they seem not to, one of them was misread
    look = own + both + np.clip(turn - both, -_SQUINT, _SQUINT)
    limit = np.maximum(_WIDEST_GAZE, np.abs(own))
    return np.asarray(np.clip(look, -limit, limit))


def _irises(moved: FaceShape, look: F64) -> F32:
    """Iris centres in pixels, (2, 2), for a gaze as engine/features/gaze.py defines it."""
    corners = moved.local[_CORNERS]
    axis = corners[:, 1, :2] - corners[:, 0, :2]
    half = 0.5 * np.column_stack([axis[:, 0], axis[:, 1], -axis[:, 1], axis[:, 0]]).reshape(2, 2, 2)
    places = moved.local[_IRISES].astype(np.float64)
    places[:, :2] = 0.5 * (corners[:, 0, :2] + corners[:, 1, :2]) + (look[:, :, None] * half).sum(1)
    return np.asarray((moved.scale * (places @ moved.rotation.T) + moved.translation)[:, :2], np.float32)
