"""The driver of bodies for those without a camera: who waves, leans and bends a knee, in numbers and not in pixels."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from engine.body import skeleton as s
from engine.body.camera import Camera
from engine.body.fitter import full_pose, standing
from engine.body.landmarks import find_landmarks
from engine.body.model import BodyModel
from engine.mesh import rotations as forms
from engine.types import F32, F64, Body, Frame

_TURN_S: Final = 4.0
"""Seconds of one round of the performance."""
_TALL: Final = 0.7
"""Share of the frame's height that the performer takes."""


class BodyPerformer:
    """A tracker that sees the performer in every frame, from the performance's start on."""

    def __init__(self, model: BodyModel) -> None:
        self._shaped, self._model = model.shaped(), model
        self._landmarks = find_landmarks(model)
        self._began_s: float | None = None

    def track(self, frame: Frame) -> Body:
        """The performer as long after the first frame as this one is."""
        if self._began_s is None:
            self._began_s = frame.time_s
        posed = self._shaped.posed(full_pose(self._model, performed(frame.time_s - self._began_s)))
        points = self._landmarks.of(posed).astype(np.float64)
        world = points - points[list(s.POINT_HIPS)].mean(axis=0)
        seen = _camera(world, frame.size)
        flat = np.column_stack([seen.seen(world), seen.scale * world[:, 2]])
        sure = np.ones((s.POINTS, 1))
        return Body(_row(flat, sure), _row(world, sure), frame.time_s)

    def reset(self) -> None:
        """The performance begins anew."""
        self._began_s = None

    def close(self) -> None:
        """It holds nothing."""


def performed(seconds: float) -> F32:
    """The pose (24, 3, 3) after so many seconds: an arm is lifted and lowered, then the other, then a knee bends."""
    phase = 2.0 * math.pi * seconds / _TURN_S
    lifts = (0.5 - 0.5 * math.cos(phase), 0.5 - 0.5 * math.cos(phase + math.pi))
    pose = standing()
    for place, (side, lift) in enumerate(zip(s.SIDES, lifts)):
        _turn(pose, s.SHOULDERS[place], (0.0, 0.0, side * 1.6 * lift))
        _turn(pose, s.ELBOWS[place], (0.0, 0.0, side * 0.6 * lift))
    bend = 0.5 * max(0.0, math.sin(0.5 * phase))
    _turn(pose, s.HIPS[0], (-bend, 0.0, 0.0))
    _turn(pose, s.KNEES[0], (2.0 * bend, 0.0, 0.0))
    _turn(pose, s.SPINE2, (0.0, 0.25 * math.sin(0.5 * phase), 0.0))
    return pose.astype(np.float32)


def _turn(pose: F64, joint: int, vector: tuple[float, float, float]) -> None:
    pose[joint] = pose[joint] @ forms.from_vectors(np.array(vector))


def _camera(world: F64, size: tuple[int, int]) -> Camera:
    """In the middle of the frame; a body's points lie about its hips, from the head to the feet 1.6 metres."""
    scale = _TALL * size[1] / 1.6
    return Camera(scale, 0.5 * size[0], 0.5 * size[1] - 0.05 * scale)


def _row(points: F64, sure: F64) -> F32:
    return np.hstack([points, sure]).astype(np.float32)
