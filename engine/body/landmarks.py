"""Where the tracker's 33 points lie on a body model, read off its shape at rest, so that it holds for any such file.

Points that lie at joints (shoulders, elbows, wrists, hips, knees, ankles) are the model's joints. The others are
vertices, found by where they are: the nose is the foremost of the head, ears are its outermost, heel and toe the
hindmost and foremost of a foot, knuckles the outermost of a hand beside the hand's joint. Models are in a T pose at
rest, x to the person's left, y up, z to the front.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.body import skeleton
from engine.body.model import BodyModel, Posed, Shaped, chained
from engine.errors import ConfigError
from engine.types import F32, F64

_EYES = {1: 0.012, 2: 0.03, 3: 0.045, 4: -0.012, 5: -0.03, 6: -0.045}
"""Sideways places of the eyes' points in metres; nothing is fitted to them."""


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """joint: (33,), what each point is fixed to. vertex: (33,), which vertex it is, -1 for the joint itself."""

    joint: NDArray[np.intp]
    vertex: NDArray[np.intp]

    def of(self, posed: Posed | Shaped) -> F32:
        """The points of a body, (33, 3) metres in its axes."""
        return np.where(self.vertex[:, None] < 0, posed.joints[self._at], posed.vertices[self.vertex])

    @property
    def _at(self) -> NDArray[np.intp]:
        at = self.joint.copy()
        for point, joint in skeleton.OF_JOINT.items():
            at[point] = joint
        return at


def find_landmarks(model: BodyModel) -> Landmarks:
    """Raises ConfigError for a model without SMPL's joints (SMPL-H has them, and fingers after)."""
    if model.parents[: skeleton.HANDS[0]] != skeleton.PARENTS[: skeleton.HANDS[0]]:
        raise ConfigError(
            f"body model: its {len(model.parents)} joints are not SMPL's or SMPL-H's; no pose can be fitted to it"
        )
    rest = model.shaped()
    vertices, joints = rest.vertices, rest.joints
    owner = model.weights.argmax(axis=1)
    joint = np.zeros(skeleton.POINTS, np.intp)
    vertex = np.full(skeleton.POINTS, -1, np.intp)
    for point, at in skeleton.OF_JOINT.items():
        joint[point] = skeleton.PELVIS if point in skeleton.POINT_HIPS else at
        if point in skeleton.POINT_SHOULDERS:
            joint[point] = skeleton.PARENTS[at]
    head = np.flatnonzero(owner == skeleton.HEAD)
    nose = vertex[skeleton.NOSE] = head[vertices[head, 2].argmax()]
    level = head[np.abs(vertices[head, 1] - vertices[nose, 1]) < 0.06]
    for ear, side in zip(skeleton.EARS, skeleton.SIDES):
        vertex[ear] = level[
            (side * vertices[level, 0] - 0.5 * np.abs(vertices[level, 2] - joints[15, 2])).argmax()
        ]
    for point, x in _EYES.items():
        place = vertices[nose] + np.array([x, 0.035, -0.02], np.float32)
        vertex[point] = head[((vertices[head] - place) ** 2).sum(1).argmin()]
    for point, x in ((9, 0.02), (10, -0.02)):
        place = vertices[nose] + np.array([x, -0.035, -0.01], np.float32)
        vertex[point] = head[((vertices[head] - place) ** 2).sum(1).argmin()]
    joint[: skeleton.POINT_SHOULDERS[0]] = skeleton.HEAD
    for place, side in enumerate(skeleton.SIDES):
        _hand(place, side, vertices, joints, owner, vertex)
        wrist, ankle = skeleton.WRISTS[place], skeleton.ANKLES[place]
        joint[[points[place] for points in (skeleton.PINKIES, skeleton.INDICES, skeleton.THUMBS)]] = wrist
        foot = np.flatnonzero(np.isin(owner, (ankle, skeleton.FEET[place])))
        low = foot[vertices[foot, 1] < np.median(vertices[foot, 1])]
        vertex[skeleton.HEELS[place]] = low[vertices[low, 2].argmin()]
        vertex[skeleton.TOES[place]] = low[vertices[low, 2].argmax()]
        joint[[skeleton.HEELS[place], skeleton.TOES[place]]] = ankle
    return Landmarks(joint, vertex)


def _hand(
    place: int, side: float, vertices: F32, joints: F32, owner: NDArray[np.intp], vertex: NDArray[np.intp]
) -> None:
    """Knuckles of the little finger, the index and the thumb: the hand's outermost about where its joint is."""
    wrist = joints[skeleton.WRISTS[place]]
    reach = side * (vertices[:, 0] - wrist[0])
    hand = np.flatnonzero((owner >= 20) & (side * vertices[:, 0] > 0) & (reach > 0))
    if not len(hand):
        raise ConfigError("body model: no vertex follows a hand; points cannot be fitted to it")
    share = reach[hand] / reach[hand].max()
    knuckles = hand[np.abs(share - 0.45) < 0.2]
    inner = hand[np.abs(share - 0.25) < 0.2]
    if not len(knuckles) or not len(inner):
        raise ConfigError("body model: a hand has no vertices at its knuckles; points cannot be fitted to it")
    vertex[skeleton.PINKIES[place]] = knuckles[vertices[knuckles, 2].argmin()]
    vertex[skeleton.INDICES[place]] = knuckles[vertices[knuckles, 2].argmax()]
    vertex[skeleton.THUMBS[place]] = inner[vertices[inner, 2].argmax()]


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A person as what poses are fitted to: the first 24 joints at rest (24, 3), and the 33 points, each fixed to a
    joint at an offset (33, 3) from it at rest. float64 metres."""

    joints: F64
    fixed_to: NDArray[np.intp]
    offsets: F64

    @property
    def points(self) -> F64:
        """The points at rest (33, 3)."""
        return self.joints[self.fixed_to] + self.offsets

    def placed(self, rotations: F64) -> tuple[F64, F64, F64]:
        """Turns (24, 3, 3), joints (24, 3) and points (33, 3) under local rotations (24, 3, 3), root at its place."""
        turns, places = chained(rotations, self.joints, skeleton.PARENTS)
        points = places[self.fixed_to] + (turns[self.fixed_to] @ self.offsets[..., None])[..., 0]
        return turns, places, points


def figure_of(shaped: Shaped, landmarks: Landmarks) -> Figure:
    """The stick figure of one person's body."""
    joints = shaped.joints[: skeleton.COUNT].astype(np.float64)
    if (
        len(shaped.model.parents) > skeleton.COUNT
    ):  # SMPL-H: the hands' own joints stand where SMPL has its two
        joints = np.concatenate([joints[:22], joints[20:22] + 0.08 * (joints[20:22] - joints[18:20])])
    offsets = landmarks.of(shaped).astype(np.float64) - joints[landmarks.joint]
    return Figure(joints, landmarks.joint, offsets)
