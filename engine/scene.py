"""What a session moves or edits, and what it keeps about each face between frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.fallback import Fallback
from engine.features.calibration import Calibration
from engine.smooth import FeatureSmoother, SmoothingConfig
from engine.types import U8, Face, Features, Neutral


class Slot:
    """One face of the source, and what it keeps about the driver's face that moves it."""

    def __init__(self, state: Any, smoothing: SmoothingConfig, neutral: Neutral | None) -> None:
        self.state = state
        self.track_id: int | None = None
        self.driven_s = -math.inf
        self.pinned = neutral
        self.calibration = Calibration()
        self.smoother = FeatureSmoother(smoothing)

    def forget(self) -> None:
        """The driver is another one."""
        self.track_id, self.calibration, self.driven_s = None, Calibration(), -math.inf
        self.smoother.reset()

    def succeed(self, old: Slot) -> None:
        """Take over what was learnt about the driver, who stays when the source changes."""
        self.track_id, self.calibration, self.smoother = old.track_id, old.calibration, old.smoother
        self.driven_s = old.driven_s

    def follow(self, face: Face) -> None:
        """A new track is a new person: nothing of the last one may colour its motion."""
        if face.track_id != self.track_id:
            self.forget()
            self.track_id = face.track_id

    def neutral(self, features: Features) -> Neutral:
        """The driver's resting face as of these features."""
        if self.pinned is not None:
            return self.pinned
        self.calibration.update(features)
        return self.calibration.neutral()


class Drawn:
    """Two arrays for pictures by turns, made anew when their size changes; none when callers keep what they get."""

    def __init__(self, reuse: bool) -> None:
        self._reuse, self._arrays = reuse, list[U8]()

    def room(self, shape: tuple[int, ...], held: U8 | None) -> U8 | None:
        """Where a picture of `shape` may be drawn: not where the one lies that is held."""
        if not self._reuse:
            return None
        if not self._arrays or self._arrays[0].shape != shape:
            self._arrays = [np.empty(shape, np.uint8), np.empty(shape, np.uint8)]
        return next(array for array in self._arrays if array is not held)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What is moved or edited: its faces, main face first, and what is shown where nothing can be generated."""

    slots: tuple[Slot, ...]
    fallback: Fallback
    drawn: Drawn
