"""Inverse kinematics: from the 33 points of one moment to the rotations of 24 joints, in closed form.

Points are metres in a camera's axes: x right, y down, z away from it. A person who stands upright and faces the camera
has a root rotation of diag(1, -1, -1). What a set of points cannot say stays at what it was before, or at rest.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.body import skeleton as s
from engine.body.landmarks import Figure
from engine.geometry import rotation_matrix, rotation_vector
from engine.types import F64

Seen = NDArray[np.bool_]

MOST_BENT: Final = math.radians(150.0)
"""An elbow or knee bends from 0 to this."""
HINGES: Final = {
    18: np.array([0.0, -1.0, 0.0]),
    19: np.array([0.0, 1.0, 0.0]),
    4: np.array([1.0, 0.0, 0.0]),
    5: np.array([1.0, 0.0, 0.0]),
}
"""About which axis, in the frame of the limb above it at rest, a joint bends."""
TURNED: Final = np.array([1.0, -1.0, -1.0])
"""Columns of a rotation out of the camera's axes become those of one out of the model's."""
UP: Final = np.array([0.0, -1.0, 0.0])
_STRAIGHT, _BENT = math.sin(math.radians(10.0)), math.sin(math.radians(30.0))
"""Below the first a limb is too straight to show how its upper half is twisted; from the second on it shows it."""


def solve(figure: Figure, points: F64, seen: Seen, before: F64) -> F64:
    """Local rotations (24, 3, 3). points: (33, 3). seen: (33,). before: (24, 3, 3), taken where points are not seen."""
    rotations = before.copy()
    rest = figure.points
    rotations[s.PELVIS] = root = _root(rest, points, seen, before[s.PELVIS])
    chest = root
    if seen[list(s.POINT_SHOULDERS)].all():
        if seen[list(s.POINT_HIPS)].all():
            chest = _trunk(points, s.POINT_SHOULDERS) @ _trunk(rest, s.POINT_SHOULDERS).T
        else:
            chest = _frame(_across(points), UP)
        third = rotation_matrix(rotation_vector(root.T @ chest) / 3.0)
        rotations[[s.SPINE1, s.SPINE2, s.SPINE3]] = third
    if seen[[s.NOSE, *s.EARS]].all():
        head = _head(points) @ _head(rest).T
        rotations[[s.NECK, s.HEAD]] = rotation_matrix(rotation_vector(chest.T @ head) / 2.0)
    for side in (0, 1):
        arm = s.POINT_SHOULDERS[side], s.POINT_ELBOWS[side], s.POINT_WRISTS[side]
        _limb(figure, points, seen, rotations, chest, arm, (s.SHOULDERS[side], s.ELBOWS[side]))
        leg = s.POINT_HIPS[side], s.POINT_KNEES[side], s.POINT_ANKLES[side]
        _limb(figure, points, seen, rotations, root, leg, (s.HIPS[side], s.KNEES[side]))
        _palm(rest, points, seen, rotations, chest, side)
        _foot(rest, points, seen, rotations, root, side)
    return rotations


def headed(rotations: F64, face: F64) -> F64:
    """Rotations (24, 3, 3) with the head turned as the face tracker has it, half of it from the chest by the neck.

    face: (3, 3) of `FaceShape.rotation`: the unit matrix looks at the camera.
    """
    made = rotations.copy()
    chest = made[s.PELVIS] @ made[s.SPINE1] @ made[s.SPINE2] @ made[s.SPINE3]
    made[[s.NECK, s.HEAD]] = rotation_matrix(rotation_vector(chest.T @ (face * TURNED)) / 2.0)
    return made


def _root(rest: F64, points: F64, seen: Seen, before: F64) -> F64:
    """The pelvis by hips and shoulders; where the hips are not seen upright, turned as the shoulders are."""
    shoulders, hips = list(s.POINT_SHOULDERS), list(s.POINT_HIPS)
    if seen[shoulders].all() and seen[hips].all():
        return _trunk(points, s.POINT_HIPS) @ _trunk(rest, s.POINT_HIPS).T
    if seen[shoulders].all():
        return _frame(_across(points) * np.array([1.0, 0.0, 1.0]), UP)
    return before


def _across(points: F64) -> F64:
    """From the right to the left shoulder."""
    between: F64 = points[s.POINT_SHOULDERS[0]] - points[s.POINT_SHOULDERS[1]]
    return between


def unleaned(points: F64) -> F64:
    """Points (33, 3) with the shoulders above the hips in depth, as the tracker, which guesses depth, often has them
    not: depth is sheared, so that what the picture shows stays."""
    trunk = points[list(s.POINT_SHOULDERS)].mean(0) - points[list(s.POINT_HIPS)].mean(0)
    made = points.copy()
    if abs(trunk[1]) > 0.5 * float(np.linalg.norm(trunk)):
        made[:, 2] -= points[:, 1] * (trunk[2] / trunk[1])
    return made


def _trunk(points: F64, pair: tuple[int, int]) -> F64:
    """Columns x, y, z: along a pair of points, and up the trunk as far as it is square to that."""
    shoulders, hips = points[list(s.POINT_SHOULDERS)].mean(0), points[list(s.POINT_HIPS)].mean(0)
    return _frame(points[pair[0]] - points[pair[1]], shoulders - hips)


def _head(points: F64) -> F64:
    ears = points[s.EARS[0]], points[s.EARS[1]]
    front = points[s.NOSE] - (ears[0] + ears[1]) / 2
    x = _unit(ears[0] - ears[1])
    z = _unit(front - (front @ x) * x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def _limb(
    figure: Figure, points: F64, seen: Seen, rotations: F64, above: F64, marks: tuple[int, int, int],
    joints: tuple[int, int],
) -> None:  # fmt: skip
    """Upper and lower half of an arm or a leg. above: the turn of what it hangs on, its collar left at rest."""
    if not seen[list(marks[:2])].all():
        return
    upper_joint, hinge_joint = joints
    end = s.WRISTS[joints[1] - 18] if hinge_joint >= 18 else s.ANKLES[joints[1] - 4]
    upper_bone = figure.joints[hinge_joint] - figure.joints[upper_joint]
    upper = above.T @ _unit(points[marks[1]] - points[marks[0]])
    swing = arc(upper_bone, upper)
    twist = _twist(upper_bone, rotations[upper_joint])
    if seen[marks[2]]:
        lower = above.T @ _unit(points[marks[2]] - points[marks[1]])
        normal, shown = np.cross(upper, lower), swing @ HINGES[hinge_joint]
        gain = (float(np.linalg.norm(normal)) - _STRAIGHT) / (_BENT - _STRAIGHT)
        flat = shown - (shown @ upper) * upper
        measured = math.atan2(float(upper @ np.cross(flat, normal)), float(flat @ normal))
        twist += min(1.0, max(0.0, gain)) * math.remainder(measured - twist, 2 * math.pi)
    rotations[upper_joint] = rotation_matrix(twist * upper) @ swing
    if not seen[marks[2]]:
        return
    axis = HINGES[hinge_joint]
    lower_bone = figure.joints[end] - figure.joints[hinge_joint]
    inside = rotations[upper_joint].T @ lower
    rotations[hinge_joint] = rotation_matrix(bent(axis, lower_bone, inside) * axis)


def _twist(bone: F64, rotation: F64) -> float:
    """How far a limb's upper half is turned about itself, beyond the shortest arc that brings it where it points."""
    along = _unit(rotation @ bone)
    return twisted(rotation @ arc(bone, along).T, along)


def bent(axis: F64, bone: F64, direction: F64) -> float:
    """By how much a hinge turns a bone towards a direction, in radians, 0..MOST_BENT."""
    flat_bone, flat = bone - (bone @ axis) * axis, direction - (direction @ axis) * axis
    angle = math.atan2(float(axis @ np.cross(flat_bone, flat)), float(flat_bone @ flat))
    if angle < -math.pi / 2:  # nearer to the far end of its range than to the straight limb
        angle += 2 * math.pi
    return min(max(angle, 0.0), MOST_BENT)


def _palm(rest: F64, points: F64, seen: Seen, rotations: F64, chest: F64, side: int) -> None:
    """The hand by its knuckles: half of its twist about the forearm is the forearm's own."""
    marks = s.POINT_WRISTS[side], s.INDICES[side], s.PINKIES[side]
    if not seen[[*marks, s.POINT_ELBOWS[side], s.POINT_SHOULDERS[side]]].all():
        return
    shoulder, elbow, wrist = s.SHOULDERS[side], s.ELBOWS[side], s.WRISTS[side]
    forearm = chest @ rotations[shoulder] @ rotations[elbow]
    hand = forearm.T @ _hand(points, marks) @ _hand(rest, marks).T
    along = _unit(rest[marks[0]] - rest[s.POINT_ELBOWS[side]])
    half = rotation_matrix(0.5 * twisted(hand, along) * along)
    rotations[elbow] = rotations[elbow] @ half
    rotations[wrist] = half.T @ hand


def _hand(points: F64, marks: tuple[int, int, int]) -> F64:
    wrist, index, pinky = (points[mark] for mark in marks)
    return _frame((index + pinky) / 2 - wrist, index - pinky)


def _foot(rest: F64, points: F64, seen: Seen, rotations: F64, root: F64, side: int) -> None:
    marks = s.HEELS[side], s.TOES[side]
    if not seen[[*marks, s.POINT_KNEES[side], s.POINT_ANKLES[side]]].all():
        return
    shin = root @ rotations[s.HIPS[side]] @ rotations[s.KNEES[side]]
    rotations[s.ANKLES[side]] = arc(
        rest[marks[1]] - rest[marks[0]], shin.T @ (points[marks[1]] - points[marks[0]])
    )


def arc(one: F64, other: F64) -> F64:
    """The shortest rotation that brings one direction to another; any of them for opposite ones."""
    one, other = _unit(one), _unit(other)
    normal, cosine = np.cross(one, other), float(one @ other)
    sine = float(np.linalg.norm(normal))
    if sine > 1e-9:
        return rotation_matrix(normal * (math.atan2(sine, cosine) / sine))
    if cosine > 0:
        return np.eye(3)
    aside = np.zeros(3)
    aside[int(np.argmin(np.abs(one)))] = 1.0
    return rotation_matrix(math.pi * _unit(np.cross(one, aside)))


def twisted(rotation: F64, axis: F64) -> float:
    """The angle of the part of a rotation that turns about a unit axis, in radians, -pi..pi."""
    skewed = np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    return 2.0 * math.atan2(float(skewed @ axis), 1.0 + float(np.trace(rotation)))


def _frame(x: F64, y: F64) -> F64:
    """Columns: x, what of y is square to it, and their cross product, of unit length."""
    x = _unit(x)
    y = _unit(y - (y @ x) * x)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _unit(vector: F64) -> F64:
    length = float(np.linalg.norm(vector))
    made: F64 = vector / length if length > 1e-12 else np.array([1.0, 0.0, 0.0])
    return made
