"""What moves a puppet while its driver's camera is off: a face at rest that breathes, sways a little and blinks."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from engine.acting import Acting, packed
from engine.sample.script import minimum_jerk
from engine.types import AU_NAMES, F32, F64, U8

RATE: Final = 15.0
"""Moments a second: it moves slowly."""
_SWAYS: Final = ((1.6, 7.3, 2.9), (1.1, 5.1, 0.7), (0.7, 9.7, 4.1))
"""Of yaw, pitch and roll: degrees, and the seconds of two waves that never meet again."""
_BREATH: Final = (0.004, 4.2)  # share of the shorter side, seconds
_BLINK_EVERY_S: Final = 4.3
_BLINK_S: Final = 0.32
_SWELL_S: Final = 2.0  # it begins and ends nowhere but in the neutral face
_CLOSURE: Final = AU_NAMES.index("AU45")


def resting(time_s: float) -> Acting:
    """The face so long after it began to rest: exactly neutral at first, and never more than a few degrees off."""
    swell = minimum_jerk(time_s / _SWELL_S)
    yaw, pitch, roll = (swell * degrees * _wave(time_s, period) for degrees, period, _ in _SWAYS)
    aus: F32 = np.zeros(len(AU_NAMES), np.float32)
    aus[_CLOSURE] = _blink(time_s)
    share, period = _BREATH
    shift = (0.0, swell * share * math.sin(2 * math.pi * time_s / period))
    return Acting(aus, aus, rotation=_turned(yaw, pitch, roll), shift=shift)


def _wave(time_s: float, period_s: float) -> float:
    """-1 .. 1, from 0; two waves whose periods have no common multiple within a day."""
    slow = math.sin(2 * math.pi * time_s / period_s)
    return 0.6 * slow + 0.4 * math.sin(2 * math.pi * time_s / (period_s * 1.618034))


def _blink(time_s: float) -> float:
    """0..1, how far the eyes are shut."""
    since = (time_s % _BLINK_EVERY_S) - (_BLINK_EVERY_S - _BLINK_S)
    return minimum_jerk(since / (0.4 * _BLINK_S)) * minimum_jerk((_BLINK_S - since) / (0.5 * _BLINK_S))


def _turned(yaw: float, pitch: float, roll: float) -> F64:
    """Of so few degrees the order of the axes does not matter."""
    y, p, r = (math.radians(angle) for angle in (yaw, pitch, roll))
    about_x = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    turned: F64 = about_z @ about_x @ about_y
    return turned


class Again:
    """Does something at once, and every `period_s` until `end`; on the event loop."""

    def __init__(self, period_s: float, do: Callable[[], None]) -> None:
        self._period_s, self._do = period_s, do
        self._task = asyncio.get_running_loop().create_task(self._on(), name="rest")

    def end(self) -> None:
        """Nothing is done from now on."""
        self._task.cancel()

    async def _on(self) -> None:
        while True:
            self._do()
            await asyncio.sleep(self._period_s)


class Rest(Again):
    """Tells of the resting face. acted: as Intake.acted."""

    def __init__(self, acted: Callable[[U8, float], None]) -> None:
        self._acted, self._begun_s = acted, time.perf_counter()
        super().__init__(1 / RATE, self._tell)

    def _tell(self) -> None:
        now = time.perf_counter()
        self._acted(packed(resting(now - self._begun_s)), now)
