"""A body model that follows a person: from the tracker's 33 points to rotations, shape and camera, frame by frame.

Only what is seen moves. A joint whose points are hidden or outside of the picture keeps its last rotation, or that of
somebody who stands where it never had one: the legs of a half-length view hang straight down instead of squatting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.body import inverse
from engine.body import skeleton as s
from engine.body.camera import Camera
from engine.body.landmarks import Landmarks, find_landmarks
from engine.body.model import BodyModel, Posed, Shaped
from engine.body.person import Person, Shaping, lengths
from engine.body.refine import Fit, refined, weak_perspective
from engine.body.steady import CameraSmoother, GroundLock, RotationSmoother, SteadyConfig
from engine.errors import InputError
from engine.geometry import rotation_matrix
from engine.mesh import rotations as forms
from engine.types import F32, F64, Body

Seen = NDArray[np.bool_]

VISIBLE: Final = 0.5
"""Visibility from which a point is used."""
_INSIDE: Final = np.full(s.POINTS, -0.05)
"""Share of the picture's longer side by which a point has to lie inside of it, or may lie outside. An elbow beyond the
edge is a fair guess; hips and legs are invented there, and so are the knees at the very edge."""
_INSIDE[list(s.POINT_HIPS)] = -0.02
_INSIDE[s.POINT_KNEES[0] :] = 0.005
_AGAIN: Final = (1, 8, 30)
"""After how many frames the person's shape is worked out; after the last it stays."""
_ROLES: Final[dict[int, tuple[int, ...]]] = {
    **dict.fromkeys((s.PELVIS, s.SPINE1, s.SPINE2, s.SPINE3), (*s.POINT_SHOULDERS, *s.POINT_HIPS)),
    **dict.fromkeys((s.NECK, s.HEAD), (s.NOSE, *s.EARS, *s.POINT_SHOULDERS)),
    **dict.fromkeys(s.COLLARS, s.POINT_SHOULDERS),
    **{
        joint: s.POINT_SHOULDERS[i : i + 1] + s.POINT_ELBOWS[i : i + 1] for i, joint in enumerate(s.SHOULDERS)
    },
    **{joint: s.POINT_ELBOWS[i : i + 1] + s.POINT_WRISTS[i : i + 1] for i, joint in enumerate(s.ELBOWS)},
    **{joint: (s.POINT_WRISTS[i], s.INDICES[i], s.PINKIES[i]) for i, joint in enumerate(s.WRISTS)},
    **{joint: s.POINT_HIPS[i : i + 1] + s.POINT_KNEES[i : i + 1] for i, joint in enumerate(s.HIPS)},
    **{joint: s.POINT_KNEES[i : i + 1] + s.POINT_ANKLES[i : i + 1] for i, joint in enumerate(s.KNEES)},
    **{joint: (s.POINT_ANKLES[i], s.HEELS[i], s.TOES[i]) for i, joint in enumerate(s.ANKLES)},
}
"""Points that have to be seen for a joint to be moved; those of the joints above it have to be as well."""
_HANGING: Final = math.radians(72.0)
"""From the T pose to an arm that hangs beside the body."""
UPRIGHT: Final = np.diag(np.array([1.0, -1.0, -1.0]))
"""The root's rotation of somebody who stands upright and faces the camera."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyFit:
    """One moment of a person. rotations: float32 (24, 3, 3), local, the root's in the camera's axes (x right, y down, z
    away). betas: float32 (S,). camera: of the whole picture. moving: bool (24,), joints that were measured; the others
    are held. half: the hips are not seen. time_s: of the frame that the points were measured on."""

    rotations: F32
    betas: F32
    camera: Camera
    moving: Seen
    half: bool
    time_s: float

    @property
    def pose72(self) -> F32:
        """As rotation vectors (72,)."""
        return forms.to_vectors(self.rotations).reshape(-1)


@dataclass(slots=True)
class _Memory:
    """What is kept from frame to frame."""

    rotations: F64
    measured: list[F64] = field(default_factory=list)
    person: Person | None = None
    fit: BodyFit | None = None


class BodyFitter:
    """Fits one person's body, frame by frame. Not for several threads at once.

    model: SMPL, SMPL-H (its hands stay as they are) or the synthetic body. Raises ConfigError for any other skeleton.
    strength: how calm motion is made, as in engine.smooth.FeatureSmoother; it may be set at any time.
    """

    def __init__(self, model: BodyModel, fit: Fit | None = None, steady: SteadyConfig | None = None) -> None:
        self.model = model
        self.landmarks: Landmarks = find_landmarks(model)
        self._shaping = Shaping(model, self.landmarks)
        self._shaped: tuple[F32, Shaped] | None = None
        self._fit, self._steady = fit or Fit(), steady or SteadyConfig()
        self.strength = 1.0
        self.reset()

    def reset(self) -> None:
        """Another person: shape, pose and filters start anew."""
        self._memory = _Memory(standing())
        self._turning, self._placing = RotationSmoother(self._steady), CameraSmoother(self._steady)
        self._ground = GroundLock(self._steady)

    @property
    def lag_s(self) -> float:
        """Delay that smoothing added to the motion of the last fit."""
        return self._turning.lag_s

    def picture(self, body: Body, size: tuple[int, int], face: F64 | None = None) -> BodyFit:
        """The body of a single picture, unfiltered; what follows a clip is left alone. size: (width, height). face:
        (3, 3), how the face tracker has the head (`FaceShape.rotation`), which knows better than nose and ears.

        Raises InputError when too little of the body is seen.
        """
        found = self._measured(body, size, _Memory(standing()), face)
        if found is None:
            raise InputError(
                "body: shoulders are hidden or outside of the picture; expected a person seen from the waist up or more"
            )
        return found

    def follow(self, body: Body, size: tuple[int, int], face: F64 | None = None) -> BodyFit | None:
        """The body in a frame of a stream, filtered by what came before. None until shoulders were seen once; after
        that, what cannot be seen is held. face: as for `picture`. The same measurement (by its time) gives the same
        answer."""
        memory = self._memory
        if memory.fit is not None and body.time_s == memory.fit.time_s:
            return memory.fit
        raw = self._measured(body, size, memory, face)
        if raw is None:
            return memory.fit
        seconds = 0.0 if memory.fit is None else body.time_s - memory.fit.time_s
        self._turning.strength = self._placing.strength = self.strength
        rotations = self._turning.step(raw.rotations.astype(np.float64), seconds)
        camera = self._placing.step(raw.camera, seconds)
        assert memory.person is not None  # _measured made it
        if raw.moving[list(s.KNEES)].any():
            _, _, points = memory.person.figure.placed(rotations)
            foot = float(points[[*s.HEELS, *s.TOES], 1].max())
            camera = self._ground.step(camera, foot, seconds)
        else:
            self._ground.reset()
        memory.fit = BodyFit(
            rotations.astype(np.float32), raw.betas, camera, raw.moving, raw.half, body.time_s
        )
        return memory.fit

    def posed(self, fit: BodyFit, betas: F32 | None = None) -> Posed:
        """The mesh of a fit in the camera's axes, metres. betas: of another person."""
        wanted = fit.betas if betas is None else betas
        if self._shaped is None or not np.array_equal(self._shaped[0], wanted):
            self._shaped = wanted.copy(), self.model.shaped(wanted)
        return self._shaped[1].posed(full_pose(self.model, fit.rotations))

    def _measured(
        self, body: Body, size: tuple[int, int], memory: _Memory, face: F64 | None
    ) -> BodyFit | None:
        points, flat = body.world[:, :3].astype(np.float64), body.points[:, :2].astype(np.float64)
        seen = _seen(body, size)
        if not seen[list(s.POINT_SHOULDERS)].all():
            return None
        person = self._person(points, seen, memory)
        moving = _moving(seen)
        half = not seen[list(s.POINT_HIPS)].all()
        standing_on = bool(moving[list(s.LEGS)].any())
        if not half and not standing_on:
            points = inverse.unleaned(points)
        rotations = inverse.solve(person.figure, points, seen, memory.rotations)
        free = moving.copy()
        free[s.PELVIS] = standing_on  # nothing else tells the pelvis' pitch from a bent back
        weights = np.where(seen & _carried(moving, person), body.points[:, 3], 0.0).astype(np.float64)
        rotations = refined(person.figure, rotations, points, weights, flat, self._fit, free)
        if face is not None:
            rotations = inverse.headed(rotations, face)
        memory.rotations = rotations
        _, _, posed = person.figure.placed(rotations)
        scale, offset = weak_perspective(posed, flat, weights)
        if not scale > 0:
            return None
        camera = Camera(scale, float(offset[0]), float(offset[1]))
        return BodyFit(rotations.astype(np.float32), person.betas, camera, moving, half, body.time_s)

    def _person(self, points: F64, seen: Seen, memory: _Memory) -> Person:
        """The shape, worked out again while few frames have been seen."""
        if len(memory.measured) < _AGAIN[-1]:
            memory.measured.append(lengths(points, seen))
            if memory.person is None or len(memory.measured) in _AGAIN:
                rows = np.array(memory.measured)
                known = np.isfinite(rows).any(axis=0)
                middle = np.full(rows.shape[1], np.nan)
                middle[known] = np.nanmedian(rows[:, known], axis=0)
                memory.person = self._shaping.person(middle)
        assert memory.person is not None
        return memory.person


def standing() -> F64:
    """How joints that were never seen are held, (24, 3, 3): upright before the camera, legs straight, arms hanging."""
    rotations = np.repeat(np.eye(3)[None], s.COUNT, axis=0)
    rotations[s.PELVIS] = UPRIGHT
    for joint, side in zip(s.SHOULDERS, s.SIDES):
        rotations[joint] = rotation_matrix(np.array([0.0, 0.0, -side * _HANGING]))
    return rotations


def full_pose(model: BodyModel, rotations: F32) -> F32:
    """24 rotations as those of a model: SMPL's as they are, SMPL-H's with the mean hands."""
    if model.hands is None:
        return rotations
    hands = forms.from_vectors_by_quaternions(model.hands.mean.reshape(-1, 3))
    return np.concatenate([rotations[: s.HANDS[0]], hands])


def _seen(body: Body, size: tuple[int, int]) -> Seen:
    """(33,): points to go by. A leg is seen down to its ankle or not at all: where a picture ends at the thighs the
    tracker is often sure of knees that it invents."""
    margin = _INSIDE[:, None] * max(size)
    inside = (body.points[:, :2] > margin) & (body.points[:, :2] < np.array(size) - margin)
    seen = np.asarray((body.points[:, 3] >= VISIBLE) & inside.all(axis=1))
    for side in (0, 1):
        if not seen[[s.POINT_KNEES[side], s.POINT_ANKLES[side]]].all():
            seen[s.POINT_KNEES[side] :: 2] = False
    return seen


def _moving(seen: Seen) -> Seen:
    """(24,): joints whose points are seen, and those of the limb above them."""
    moving = np.zeros(s.COUNT, bool)
    for joint in range(s.COUNT):
        if joint in _ROLES:
            above = joint in (*s.SPINE_AND_ROOT, *s.COLLARS, *s.SHOULDERS, s.NECK) or moving[s.PARENTS[joint]]
            moving[joint] = above and bool(seen[list(_ROLES[joint])].all())
    return moving


def _carried(moving: Seen, person: Person) -> Seen:
    """(33,): points that hang on nothing that is held, the trunk aside: a held knee says nothing of its foot."""
    held = ~moving
    held[[*s.SPINE_AND_ROOT, *s.COLLARS, s.NECK, s.HEAD]] = False
    carried = s.ancestors()[person.figure.fixed_to]
    for point, joint in s.OF_JOINT.items():
        carried[point, joint] = False  # the point is where the joint is, however that turns
    return np.asarray(~(carried & held).any(axis=1))
