"""One-Euro smoothing of a face, per signal group, in seconds and in the face's own frame.

The filter (Casiez, Roussel and Vogel 2012) is a low-pass whose cutoff rises with speed, so that a resting
face is still and a moving one is not late:

    cutoff = min_cutoff + beta * speed        alpha = r / (1 + r), r = 2 pi cutoff dt        x += alpha (raw
    - x)

Rigid motion and local shape are filtered apart: rotation on SO(3), the logarithm of the scale, the place of
the upper face (about which turning and growing cancel best), and the 478 local points in five groups. All
points of one group share one cutoff, driven by the group's RMS speed: its shape is not distorted while it
moves, and a blink opens its filter at once. Time steps come from the frames, so any and varying frame rates
get the same filter.

Everything derived (landmarks, AUs, pose, gaze, openness) is read again from the smoothed shape and agrees
with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.features import derive, present
from engine.geometry import rotation_matrix, rotation_vector
from engine.types import F32, F64, U8, FaceShape, Features, Neutral


@dataclass(frozen=True, slots=True)
class Band:
    """One group's filter. min_cutoff: Hz at rest. beta: Hz gained per unit of speed."""

    min_cutoff: float
    beta: float


@dataclass(frozen=True, slots=True)
class SmoothingConfig:
    """Cutoffs per signal group.

    Tuned on tracked clips, the resting jitter of all points falls to three quarters while the delay it adds
    moves them by less than 0.002 of the eye distance, below what separates two trackings of the same
    picture.
    """

    enabled: bool = True
    rotation: Band = Band(2.0, 60.0)
    """beta in Hz per radian/s."""
    scale: Band = Band(1.0, 60.0)
    """beta in Hz per unit of d(log scale)/dt, 1/s."""
    translation: Band = Band(2.0, 12.0)
    """beta in Hz per cm/s, with the face's own centimetres (eye distance 8.89)."""
    mouth: Band = Band(2.0, 10.0)
    """Lips, chin and cheeks beside them; beta in Hz per cm/s, as for the groups below."""
    eyes: Band = Band(2.0, 20.0)
    """Lids and the skin next to them."""
    brows: Band = Band(1.5, 6.0)
    rest: Band = Band(1.5, 6.0)
    gaze: Band = Band(2.0, 14.0)
    """The irises."""
    mask: Band = Band(2.0, 4.0)
    """Person mask; beta in Hz per full swing of a pixel per second."""
    speed_cutoff: float = 6.0
    """Hz, of the low-pass on the speeds."""
    longest_gap_s: float = 0.5
    """After a longer pause the filters start anew."""


GROUPS = ("mouth", "eyes", "brows", "rest", "gaze")
"""The groups of local points, in the order of `GROUP_INDEX`."""


def _group_index() -> NDArray[np.intp]:
    place = canonical.VERTICES
    group = np.full(len(place), GROUPS.index("rest"))
    lids = place[list(canonical.RIGHT_EYE + canonical.LEFT_EYE)]
    from_lids = np.linalg.norm(place[:, None] - lids[None], axis=2).min(1)
    group[place[:, 1] > _UNDER_NOSE_CM] = GROUPS.index("mouth")
    group[list(canonical.RIGHT_BROW + canonical.LEFT_BROW)] = GROUPS.index("brows")
    group[(from_lids < _LID_SKIN_CM) & (group == GROUPS.index("rest"))] = GROUPS.index("eyes")
    group[canonical.MESH_POINTS :] = GROUPS.index("gaze")
    group.setflags(write=False)
    return group


_UNDER_NOSE_CM = 1.9
_LID_SKIN_CM = 0.75

GROUP_INDEX: NDArray[np.intp] = _group_index()
"""(478,) which of GROUPS each point belongs to."""

_SHARES = np.stack([g == GROUP_INDEX for g in range(len(GROUPS))]).astype(np.float32)
_SHARES /= _SHARES.sum(1, keepdims=True)
_POINT_SHARE = np.bincount(GROUP_INDEX, minlength=len(GROUPS)) / len(GROUP_INDEX)
_CENTRE: F64 = canonical.UPPER_FACE @ canonical.VERTICES.astype(np.float64) / canonical.UPPER_FACE.sum()
_STRENGTH_PER_S = 4.0
_LEVER_CM = 5.0  # distance at which a typical point is moved by a turn or by growth


def alpha(cutoff: float, dt: float) -> float:
    """Share of the way to the new value that a low-pass of `cutoff` Hz goes in `dt` seconds: 0..1."""
    ratio = 2.0 * math.pi * cutoff * dt
    return ratio / (1.0 + ratio)


def delay_s(share: float, dt: float) -> float:
    """Group delay in seconds, for slow motion, of a low-pass that goes `share` of the way every `dt`
    seconds."""
    return (1.0 - share) / share * dt


class FeatureSmoother:
    """Smooths one face's features over time. One per face and track; `reset` when the track changes.

    strength: 0 = none, 1 = as tuned, above = calmer: every cutoff is divided by it. It may be set at any time and is
    reached at `_STRENGTH_PER_S`, so that the face does not jump to where another filter would have it.
    """

    def __init__(self, config: SmoothingConfig | None = None) -> None:
        self._config = config or SmoothingConfig()
        self.strength = self._strength = 1.0
        bands = [getattr(self._config, name) for name in GROUPS]
        self._bands = np.array([(band.min_cutoff, band.beta) for band in bands], np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next features pass unchanged."""
        self._time_s: float | None = None
        self._lag_s = 0.0
        self._strength = self.strength

    @property
    def lag_s(self) -> float:
        """Seconds by which the last smoothed face is late: the groups' delays, weighted by how fast they
        move."""
        return self._lag_s

    def smooth(self, features: Features, neutral: Neutral | None = None) -> Features:
        """The smoothed features: the same signals, derived from the smoothed shape.

        neutral: needed when the features hold AUs. Features without a shape pass unchanged.
        """
        if features.shape is None or not self._config.enabled:
            return self._derived(features, features.shape, neutral)
        shape = features.shape
        dt = 0.0 if self._time_s is None else features.time_s - self._time_s
        self._time_s = features.time_s
        if 0.0 < dt <= self._config.longest_gap_s:
            shape = self._step(shape, dt)
        else:
            self._start(shape)
        return self._derived(features, shape, neutral)

    @staticmethod
    def _derived(features: Features, shape: FaceShape | None, neutral: Neutral | None) -> Features:
        return features if shape is None else derive(shape, features, present(features), neutral)

    def _start(self, shape: FaceShape) -> None:
        self._local, self._raw_local = shape.local.copy(), shape.local
        self._velocity = np.zeros_like(shape.local)
        self._rotation, self._raw_rotation, self._turning = shape.rotation, shape.rotation, np.zeros(3)
        self._log_scale = self._raw_log_scale = math.log(shape.scale)
        self._growing = 0.0
        self._centre = self._raw_centre = _centre(shape)
        self._moving = np.zeros(3)
        self._lag_s = 0.0

    def _step(self, shape: FaceShape, dt: float) -> FaceShape:
        follow = alpha(self._config.speed_cutoff, dt)
        self._strength = _eased(self._strength, self.strength, dt)
        turn = self._turn(shape.rotation, follow, dt)
        growth = self._grow(math.log(shape.scale), follow, dt)
        move = self._move(_centre(shape), shape.scale, follow, dt)
        local = self._deform(shape.local, follow, dt)
        lags = [turn, growth, move, *local]
        self._lag_s = sum(speed * lag for speed, lag in lags) / max(sum(speed for speed, _ in lags), 1e-9)
        scale = math.exp(self._log_scale)
        translation = self._centre - scale * (self._rotation @ _CENTRE)
        return FaceShape(self._local.copy(), self._rotation, scale, translation)

    def _turn(self, rotation: F64, follow: float, dt: float) -> tuple[float, float]:
        self._turning += follow * (rotation_vector(self._raw_rotation.T @ rotation) / dt - self._turning)
        speed = math.sqrt(float(self._turning @ self._turning))
        share = self._share(self._config.rotation, speed, dt)
        ahead = rotation_vector(self._rotation.T @ rotation)
        self._rotation, self._raw_rotation = self._rotation @ rotation_matrix(share * ahead), rotation
        return _LEVER_CM * speed, delay_s(share, dt)

    def _grow(self, log_scale: float, follow: float, dt: float) -> tuple[float, float]:
        self._growing += follow * ((log_scale - self._raw_log_scale) / dt - self._growing)
        share = self._share(self._config.scale, abs(self._growing), dt)
        self._log_scale += share * (log_scale - self._log_scale)
        self._raw_log_scale = log_scale
        return _LEVER_CM * abs(self._growing), delay_s(share, dt)

    def _move(self, centre: F64, scale: float, follow: float, dt: float) -> tuple[float, float]:
        self._moving += follow * ((centre - self._raw_centre) / (dt * scale) - self._moving)
        speed = math.sqrt(float(self._moving @ self._moving))
        share = self._share(self._config.translation, speed, dt)
        self._centre = self._centre + share * (centre - self._centre)
        self._raw_centre = centre
        return speed, delay_s(share, dt)

    def _deform(self, local: F32, follow: float, dt: float) -> list[tuple[float, float]]:
        self._velocity += follow * ((local - self._raw_local) / np.float32(dt) - self._velocity)
        speeds = np.sqrt(_SHARES @ np.einsum("ij,ij->i", self._velocity, self._velocity))
        ratio = (2.0 * math.pi * dt) * (self._bands[:, 0] + self._bands[:, 1] * speeds)
        shares = ratio / (self._strength + ratio)
        self._local += shares[GROUP_INDEX, None] * (local - self._local)
        self._raw_local = local
        weights = speeds * _POINT_SHARE
        return [(float(weight), delay_s(float(share), dt)) for weight, share in zip(weights, shares)]

    def _share(self, band: Band, speed: float, dt: float) -> float:
        ratio = 2.0 * math.pi * (band.min_cutoff + band.beta * speed) * dt
        return ratio / (self._strength + ratio)


def _eased(strength: float, goal: float, dt: float) -> float:
    """The strength `dt` seconds later on its way to another one."""
    change = goal - strength
    return strength + math.copysign(min(abs(change), _STRENGTH_PER_S * dt), change)


def _centre(shape: FaceShape) -> F64:
    """The place of the upper face in pixels (3,)."""
    return np.asarray(shape.translation + shape.scale * (shape.rotation @ _CENTRE))


class MaskSmoother:
    """One-Euro on every pixel of a mask, against the flicker of its edge. strength: as in FeatureSmoother."""

    def __init__(self, config: SmoothingConfig | None = None) -> None:
        self._config = config or SmoothingConfig()
        self.strength = self._strength = 1.0
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next mask passes unchanged."""
        self._time_s: float | None = None
        self._value: F32 | None = None
        self._strength = self.strength

    def smooth(self, mask: U8, time_s: float) -> U8:
        """The mask (H, W) uint8 as smoothed up to `time_s`; another size or a long pause starts anew."""
        raw = mask.astype(np.float32)
        dt = 0.0 if self._time_s is None else time_s - self._time_s
        self._time_s = time_s
        old = self._value
        if old is None or old.shape != raw.shape or not 0.0 < dt <= self._config.longest_gap_s:
            self._value, self._raw, self._velocity = raw.copy(), raw, np.zeros_like(raw)
            return mask.copy()
        self._velocity += alpha(self._config.speed_cutoff, dt) * ((raw - self._raw) / dt - self._velocity)
        band = self._config.mask
        ratio = (2.0 * math.pi * dt) * (band.min_cutoff + band.beta / 255.0 * np.abs(self._velocity))
        self._strength = _eased(self._strength, self.strength, dt)
        old += ratio / (self._strength + ratio) * (raw - old)
        self._raw = raw
        return np.asarray(np.rint(old), np.uint8)
