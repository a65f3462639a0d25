"""The demo driver: a scripted performance as tracked faces, motion without a single face pixel.

It takes the tracker's place: `DemoTracker` answers with the face of the frame's media time, whatever the
frame shows, and `demo_frames` brings blank ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np

from engine.acting import Acting, acted_face
from engine.geometry import pose_rotation
from engine.sample.script import CUES, DURATION_S
from engine.types import AU_NAMES, F32, Face, Frame, Gaze, HeadPose

_TICKS = 90000


def demo_face(time_s: float, size: tuple[int, int]) -> Face:
    """The performance at ``time_s`` seconds as a face in a picture of ``size`` (width, height).

    It repeats every 12 seconds, the first of them neutral. The face stands in the middle, its outer eye
    corners 0.26 of the shorter side apart.
    """
    acting = _channels(time_s % DURATION_S)
    x, y = acting["gaze_x"], acting["gaze_y"]
    pose = HeadPose(acting["yaw"], acting["pitch"], acting["roll"])
    right, left = (_units(acting, side) for side in ("right", "left"))
    moment = Acting(right, left, Gaze(x, y, x, y), pose_rotation(pose), lean=1 + acting["lean"])
    return acted_face(moment, size)


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


def _units(acting: Mapping[str, float], side: str) -> F32:
    return np.array([acting[name] + acting[f"{name}.{side}"] for name in AU_NAMES], np.float32)
