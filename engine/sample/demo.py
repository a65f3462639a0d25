"""The demo driver: a scripted performance as tracked faces, motion without a single face pixel.

It takes the tracker's place: `DemoTracker` answers with the face of the frame's media time, whatever the
frame shows, and `demo_frames` brings blank ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np

from engine import canonical
from engine.features.au_basis import deform
from engine.geometry import pose_rotation
from engine.sample.script import CUES, DURATION_S
from engine.types import AU_NAMES, F32, Face, Frame, HeadPose

_FACE_SHARE = 0.26
_NECK_CM = np.array([0.0, 8.0, 7.0])
_SIDE_BLEND_CM = 0.8
_LID_FOLLOWS_GAZE = 0.35
_TICKS = 90000

_SIDES = {
    "right": (canonical.RIGHT_EYE_CORNERS, canonical.RIGHT_IRIS),
    "left": (canonical.LEFT_EYE_CORNERS, canonical.LEFT_IRIS),
}


def demo_face(time_s: float, size: tuple[int, int]) -> Face:
    """The performance at ``time_s`` seconds as a face in a picture of ``size`` (width, height).

    It repeats every 12 seconds, the first of them neutral. The face stands in the middle, its outer eye
    corners 0.26 of the shorter side apart.
    """
    acting = _channels(time_s % DURATION_S)
    pose = HeadPose(acting["yaw"], acting["pitch"], acting["roll"])
    scale = _FACE_SHARE * min(size) / canonical.EYE_DISTANCE_CM * (1 + acting["lean"])
    turned = (_expression(acting) - _NECK_CM) @ pose_rotation(pose).T + _NECK_CM
    points = (scale * turned + [(size[0] - 1) / 2, (size[1] - 1) / 2, 0.0]).astype(np.float32)
    mesh = points[: canonical.MESH_POINTS, :2]
    return Face(np.concatenate([mesh.min(0), mesh.max(0)]), points, 1.0, 1)


def demo_frames(size: tuple[int, int] = (512, 512), rate: int = 30) -> Iterator[Frame]:
    """One performance of blank frames of ``size`` (width, height) at ``rate`` frames per second."""
    blank = np.zeros((size[1], size[0], 3), np.uint8)
    blank.setflags(write=False)
    for number in range(round(DURATION_S * rate)):
        time_s = number / rate
        yield Frame(blank, round(time_s * _TICKS), Fraction(1, _TICKS), time_s)


class DemoTracker:
    """A tracker that sees the demo's performer in every frame."""

    main_id = 1

    def track(self, frame: Frame) -> tuple[Face, ...]:
        """The performer at the frame's media time."""
        return (demo_face(frame.time_s, frame.size),)

    def close(self) -> None:
        """Nothing is held."""


def _channels(time_s: float) -> Mapping[str, float]:
    """Every channel's value; those that rest are 0."""
    values: defaultdict[str, float] = defaultdict(float)
    for cue in CUES:
        if cue.start < time_s < cue.end:
            level = cue.level(time_s)
            for channel, amount in cue.moves.items():
                values[channel] += level * amount
    return values


def _expression(acting: Mapping[str, float]) -> F32:
    """The local shape (478, 3) in canonical centimetres: each half acts by its own units, blended midway."""
    right, left = (_side(acting, side) for side in ("right", "left"))
    share = 1 / (1 + np.exp(canonical.VERTICES[:, :1] / (_SIDE_BLEND_CM / 4)))
    return np.asarray(left + (right - left) * share, np.float32)


def _side(acting: Mapping[str, float], side: str) -> F32:
    """The whole face under the units of one side, with that side's iris turned."""
    aus = np.array([acting[name] + acting[f"{name}.{side}"] for name in AU_NAMES], np.float32)
    closure = AU_NAMES.index("AU45")
    aus[closure] = min(1.0, float(aus[closure]) + _LID_FOLLOWS_GAZE * max(0.0, acting["gaze_y"]))
    local = deform(canonical.VERTICES, aus)
    corners, iris = _SIDES[side]
    half_width = float(np.linalg.norm(canonical.VERTICES[corners[0]] - canonical.VERTICES[corners[1]])) / 2
    local[list(iris), :2] += half_width * np.array([acting["gaze_x"], acting["gaze_y"]], np.float32)
    return local
