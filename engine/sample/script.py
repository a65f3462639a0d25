"""The demo's script: what the driver does and when, as overlapping cues.

A cue swells to its full moves, holds them and lets go. Cues add up. None is active in the first second,
which is neutral so that a calibration can take it, nor at the end, so that the performance loops.

Channels: yaw, pitch, roll in degrees and lean (share by which the head comes nearer); gaze_x, gaze_y in half
eye widths; AU names, for both sides, or for the person's own side as "AU12.right", "AU12.left".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DURATION_S = 12.0


@dataclass(frozen=True, slots=True)
class Cue:
    """start: seconds into the performance. rise, hold, fall: seconds that it swells, stays and lets go."""

    start: float
    rise: float
    hold: float
    fall: float
    moves: Mapping[str, float]

    @property
    def end(self) -> float:
        """When it is over."""
        return self.start + self.rise + self.hold + self.fall

    def level(self, time_s: float) -> float:
        """0..1, how far it is swollen; both ways minimum-jerk."""
        return minimum_jerk((time_s - self.start) / self.rise) * minimum_jerk((self.end - time_s) / self.fall)


def minimum_jerk(x: float) -> float:
    """From 0 at 0 to 1 at 1 with no velocity and no acceleration at either end; constant outside."""
    x = min(1.0, max(0.0, x))
    return x * x * x * (10 + x * (6 * x - 15))


def _blink(start: float, closure: float = 1.0) -> Cue:
    return Cue(start, 0.13, 0.03, 0.2, {"AU45": closure})


def _syllable(start: float, length: float, **moves: float) -> Cue:
    return Cue(start, 0.45 * length, 0.1 * length, 0.55 * length, moves)


_OPEN = {"AU25": 0.5, "AU26": 0.6}
_WIDE = {"AU25": 0.6, "AU26": 0.28, "AU20": 0.3}
_ROUND = {"AU12": -0.42, "AU25": 0.45, "AU26": 0.38, "AU23": 0.3}
_SHUT = {"AU23": 0.35, "AU17": 0.2}

_GREET = (
    Cue(1.05, 0.45, 0.35, 0.6, {"AU01": 0.65, "AU02": 0.6, "AU05": 0.25, "pitch": 5.0, "lean": 0.015}),
    Cue(1.25, 0.6, 1.4, 0.9, {"AU12": 0.42, "AU06": 0.4}),
    Cue(1.75, 0.4, 0.0, 0.55, {"pitch": -9.0}),
    _syllable(1.55, 0.34, **_WIDE),
    _syllable(1.8, 0.26, AU25=0.35, AU26=0.2),
    _syllable(1.98, 0.5, **_ROUND),
)
_LOOK_AROUND = (
    Cue(2.85, 0.26, 1.15, 0.3, {"gaze_x": -0.36, "gaze_y": -0.04}),
    Cue(2.95, 0.6, 0.6, 0.75, {"yaw": -13.0, "pitch": 2.0, "roll": -3.0}),
    Cue(3.3, 0.4, 0.5, 0.5, {"AU01.left": 0.5, "AU02.left": 0.8, "AU14.left": 0.25}),
    Cue(4.5, 0.28, 1.0, 0.3, {"gaze_x": 0.36, "gaze_y": -0.08}),
    Cue(4.58, 0.65, 0.5, 0.75, {"yaw": 14.0, "pitch": 4.0, "roll": 3.0}),
    Cue(4.9, 0.35, 0.4, 0.5, {"AU01": 0.55, "AU02": 0.5, "AU05": 0.3, "AU25": 0.22, "AU26": 0.2}),
)
_TALK = (
    Cue(5.9, 0.5, 1.2, 0.6, {"roll": -5.0, "lean": 0.03}),
    _syllable(6.05, 0.26, **_SHUT),
    _syllable(6.2, 0.34, **_OPEN),
    _syllable(6.45, 0.3, **_WIDE),
    _syllable(6.65, 0.24, **_SHUT),
    _syllable(6.8, 0.36, **_ROUND),
    _syllable(7.08, 0.34, AU25=0.55, AU26=0.65),
    _syllable(7.32, 0.28, **_WIDE),
    Cue(6.2, 0.22, 0.0, 0.3, {"pitch": -4.0, "AU01": 0.35, "AU02": 0.3}),
    Cue(7.05, 0.24, 0.0, 0.32, {"pitch": -4.5, "AU01": 0.4, "AU02": 0.4}),
    Cue(6.3, 0.5, 0.5, 0.5, {"yaw": -4.0, "gaze_x": 0.06}),
)
_WINK = (
    Cue(7.6, 0.45, 0.55, 0.7, {"roll": 9.0, "yaw": 5.0, "pitch": -2.0}),
    Cue(
        7.7,
        0.4,
        0.7,
        0.8,
        {"AU12.left": 0.6, "AU12.right": 0.25, "AU06.left": 0.6, "AU02.right": 0.5, "AU01.right": 0.3},
    ),
    Cue(7.98, 0.16, 0.16, 0.26, {"AU45.left": 1.0, "AU07.left": 0.4}),
)
_LAUGH = (
    Cue(
        8.75,
        0.5,
        0.75,
        0.85,
        {"AU12": 0.75, "AU06": 0.75, "AU07": 0.3, "AU25": 0.55, "AU26": 0.28, "AU45": 0.18},
    ),
    Cue(8.85, 0.5, 0.45, 0.9, {"pitch": 8.0, "roll": -3.0}),
    *(
        _syllable(8.95 + 0.27 * i, 0.27, AU26=0.42 - 0.05 * i, AU25=0.18, pitch=-2.5, lean=0.008)
        for i in range(5)
    ),
)
_SETTLE = (
    Cue(10.15, 0.5, 0.4, 0.7, {"AU12": 0.3, "AU06": 0.3, "roll": 3.0}),
    Cue(10.35, 0.24, 0.3, 0.28, {"gaze_x": -0.2, "gaze_y": 0.2}),
    Cue(10.6, 0.4, 0.0, 0.6, {"pitch": -5.0}),
)
_BLINKS = tuple(_blink(start) for start in (2.72, 3.95, 4.5, 5.75, 7.42, 9.95, 10.75, 11.55))

CUES: tuple[Cue, ...] = (*_GREET, *_LOOK_AROUND, *_TALK, *_WINK, *_LAUGH, *_SETTLE, *_BLINKS)
"""The whole performance of DURATION_S seconds: greet, look around, talk, wink, laugh, settle."""
