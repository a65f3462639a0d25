"""Steadiness without looking ahead: One-Euro on 6-D rotations and on the camera; feet that stay where they stand."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from engine.body.camera import Camera
from engine.mesh import rotations as forms
from engine.smooth import Band
from engine.track.body_filter import smoothing
from engine.types import F64


@dataclass(frozen=True, slots=True)
class SteadyConfig:
    """Cutoffs in Hz at rest, and Hz gained per unit of speed."""

    rotation: Band = field(default_factory=lambda: Band(1.5, 3.0))
    """beta in Hz per radian/s of the joint's own turning."""
    camera: Band = field(default_factory=lambda: Band(1.5, 6.0))
    """beta in Hz per metre/s of the body's shift, or per 1/s of its growth."""
    speed_cutoff: float = 3.0
    """Hz, of the low-pass on the speeds."""
    longest_gap_s: float = 0.5
    """After a longer pause the filters start anew."""
    still: float = 0.2
    """Metres a second under which the lower foot counts as standing."""
    slack: float = 0.05
    """Metres by which a standing foot's place may differ from where it is seen."""
    release_s: float = 0.15
    """Seconds in which a foot that was let go comes to where it is seen."""


def _share(cutoff: F64 | float, seconds: float, strength: float) -> F64:
    """Weight in 0..1 of a new value for a low pass whose cutoff, in hertz, is divided by `strength`; 0 is none."""
    turns = 2.0 * math.pi * np.asarray(cutoff, np.float64) * seconds
    return turns / (strength + turns)


class RotationSmoother:
    """One-Euro (Casiez et al. 2012) on 6-D rotations. All six numbers of a joint share one cutoff, driven by how fast
    the joint turns; the result is made orthonormal again.

    strength: as in engine.smooth.FeatureSmoother. lag_s: delay that was added, the mean of the joints by how fast they
    turn.
    """

    def __init__(self, config: SteadyConfig) -> None:
        self._config = config
        self._value: F64 | None = None
        self.strength, self.lag_s = 1.0, 0.0

    def step(self, rotations: F64, seconds: float) -> F64:
        """The filtered rotations (J, 3, 3). seconds: since the last ones."""
        if self._value is None or not 0.0 < seconds <= self._config.longest_gap_s:
            self._value, self._raw = forms.to_6d(rotations), rotations
            self._speed, self.lag_s = np.zeros(len(rotations)), 0.0
            return rotations
        speed = forms.angles_between(self._raw, rotations) / seconds
        self._speed += smoothing(self._config.speed_cutoff, seconds) * (speed - self._speed)
        self._raw = rotations
        band = self._config.rotation
        cutoff = band.min_cutoff + band.beta * self._speed
        share = _share(cutoff, seconds, self.strength)
        lags = self._speed * (1.0 - share) / share * seconds
        self.lag_s = float(lags.sum() / max(float(self._speed.sum()), 1e-9))
        self._value = self._value + share[:, None] * (forms.to_6d(rotations) - self._value)
        smooth = forms.from_6d(self._value)
        self._value = forms.to_6d(smooth)
        return smooth


class CameraSmoother:
    """One-Euro on where the body is (in its own metres) and on the logarithm of how large it is. strength: as above."""

    def __init__(self, config: SteadyConfig) -> None:
        self._config = config
        self._value: F64 | None = None
        self.strength = 1.0

    def step(self, camera: Camera, seconds: float) -> Camera:
        raw = np.array([math.log(camera.scale), camera.x / camera.scale, camera.y / camera.scale])
        if self._value is None or not 0.0 < seconds <= self._config.longest_gap_s:
            self._value, self._raw, self._speed = raw, raw, np.zeros(3)
            return camera
        self._speed += smoothing(self._config.speed_cutoff, seconds) * (
            (raw - self._raw) / seconds - self._speed
        )
        self._raw = raw
        band = self._config.camera
        speeds = np.abs(self._speed)
        speeds[1:] = np.linalg.norm(self._speed[1:])
        share = _share(band.min_cutoff + band.beta * speeds, seconds, self.strength)
        self._value = self._value + share * (raw - self._value)
        scale = math.exp(self._value[0])
        return Camera(scale, self._value[1] * scale, self._value[2] * scale)


class GroundLock:
    """Keeps the lower foot's height in the picture while it hardly moves, and lets go of it smoothly when it does.

    The official code does this over a whole clip; here the past alone decides.
    """

    def __init__(self, config: SteadyConfig) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        self._seen: float | None = None
        self._offset = 0.0
        self._speed = 0.0

    def step(self, camera: Camera, foot: float, seconds: float) -> Camera:
        """The camera, moved so that a standing foot stays. foot: y of the lowest point, metres in the camera's axes."""
        seen = camera.scale * foot + camera.y
        if self._seen is None or not 0.0 < seconds <= self._config.longest_gap_s:
            self.reset()
            self._seen = seen
            return camera
        moved = seen - self._seen
        self._seen = seen
        speed = abs(moved) / camera.scale / seconds
        self._speed += float(smoothing(self._config.speed_cutoff, seconds)) * (speed - self._speed)
        if self._speed < self._config.still:
            most = self._config.slack * camera.scale
            self._offset = min(max(self._offset - moved, -most), most)
        else:
            self._offset *= math.exp(-seconds / self._config.release_s)
        return Camera(camera.scale, camera.x, camera.y + self._offset)
