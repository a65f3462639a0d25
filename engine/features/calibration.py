"""The driver's resting face, found while the driver is already moving the puppet.

Three steps, so that output never waits and a bad start is not kept:

- provisional: the first frame's face, replaced whenever a calmer one is seen;
- calibrated: the median over the first stable second, in which the mouth is nearly closed, the eyes are
  open (blinks are left out), the head looks roughly ahead and neither face nor head moves; again on request
  (`restart`), then with wider limits, because somebody asked for it;
- refined: a later stable second replaces it only when it is clearly more at rest, and in between frames
  that look like the neutral pull it slowly, never further than a stated distance from what was calibrated.

More at rest: action units only ever add, so of two faces of one person the one at rest is the one from
which the other is reached with fewer of them; and resting faces of different people resemble each other
more than expressions do. A held smile is therefore not taken for a better neutral, and a neutral taken from
a smile is given up once the driver has not smiled for a second.

Every change of the neutral is spread over a fraction of a second: the puppet does not jump.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from engine.errors import InputError
from engine.features.au_measures import warm_up
from engine.features.resting import Sample, between, is_calmer, median, observe, rms
from engine.types import Features, Neutral


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """When a face counts as resting, and how fast the neutral follows."""

    window_s: float = 1.0
    """Length of a stable second."""
    mouth: float = 0.05
    """Openness.mouth at rest is at most this."""
    eyes: float = 0.10
    """Openness of both eyes is at least this, and half of the widest seen."""
    gaze: float = 0.4
    """|Gaze.x|, mean of both eyes, is at most this."""
    pose_deg: tuple[float, float, float] = (20.0, 20.0, 25.0)
    """|yaw|, |pitch| and |roll| are at most these."""
    still_cm: float = 0.06
    """RMS over the window of how far the face's regions stray from their mean."""
    still_deg: float = 3.0
    """Standard deviation over the window of each of the head's angles."""
    on_request: float = 2.5
    """After `restart` the limits on mouth, pose and stillness are this many times wider."""
    margin: float = 0.3
    """Sum of AU intensities by which a face must be more at rest to replace a calibrated neutral."""
    glimpse_s: float = 0.2
    """A provisional neutral is replaced by a face held for this long, when it is more at rest by
    `glimpse_margin`."""
    glimpse_margin: float = 0.6
    near_cm: float = 0.08
    """RMS distance of the face's regions within which a frame looks like the neutral."""
    refine_s: float = 30.0
    """Time constant of the pull by such frames."""
    leash_cm: float = 0.06
    """RMS distance of the face's regions that the pull never exceeds."""
    settle_s: float = 0.25
    """Time constant with which a changed neutral is reached."""


class _State(Enum):
    """Its value is the confidence."""

    PROVISIONAL = 0.3
    ASKED = 0.4
    CALIBRATED = 0.9


_LONGEST_STEP_S = 0.5
_FEWEST_SAMPLES = 4


class Calibration:
    """One face's neutral in one session. Feed every frame to `update`; `neutral` is there from the first
    on."""

    def __init__(self, config: CalibrationConfig | None = None) -> None:
        self._config = config or CalibrationConfig()
        warm_up()
        self.reset()

    def reset(self) -> None:
        """Forget the person: for a new track."""
        self._state = _State.PROVISIONAL
        self._window: deque[Sample] = deque()
        self._taken: Sample | None = None  # as it was provided or calibrated
        self._goal: Sample | None = None  # refined
        self._shown: Sample | None = None  # on its way there
        self._time_s = self._compared_s = -math.inf
        self._widest_eyes = 0.0

    def restart(self) -> None:
        """Take the next stable second, whatever it shows; until then the old neutral stays in use."""
        self._state = _State.ASKED
        self._window.clear()

    @property
    def calibrated(self) -> bool:
        """Whether a stable second was seen, since `restart` if that was called."""
        return self._state is _State.CALIBRATED

    def neutral(self) -> Neutral:
        """The neutral as of the last update. Raises InputError before the first."""
        if self._shown is None:
            raise InputError("neutral: got no face yet, expected one frame at least; call update first")
        return self._shown.neutral(self._state.value)

    def update(self, features: Features) -> None:
        """Learn from one frame. Features without a shape are passed over."""
        if features.shape is None:
            return
        sample = observe(features, features.shape)
        step = sample.time_s - self._time_s
        self._time_s = sample.time_s
        if self._taken is None or self._goal is None or self._shown is None:
            self._adopt(sample)
            self._shown = sample
        elif not 0.0 < step <= _LONGEST_STEP_S:
            self._window.clear()
        else:
            self._improve(sample, step, self._taken, self._goal)
            self._settle(step, self._shown, self._goal)
        self._watch(sample)

    def _adopt(self, sample: Sample) -> None:
        self._taken = self._goal = sample

    def _improve(self, sample: Sample, step: float, taken: Sample, goal: Sample) -> None:
        """Between stable seconds: a calmer provisional face, or a slow pull by frames that look like the
        neutral."""
        if self._state is _State.PROVISIONAL:
            self._provide(goal)
        elif self._state is _State.CALIBRATED and self._like(sample, goal):
            pulled = between(goal, sample, 1.0 - math.exp(-step / self._config.refine_s))
            if rms(pulled.regions - taken.regions) <= self._config.leash_cm:
                self._goal = pulled

    def _provide(self, goal: Sample) -> None:
        """A face that speaks is no neutral: any resting moment will do. From one resting face to another
        takes more: a glimpse in which it holds still, and a wider margin."""
        held = [one for one in self._window if self._time_s - one.time_s <= self._config.glimpse_s]
        if len(held) < 2 or self._time_s - self._compared_s < self._config.glimpse_s:
            return
        self._compared_s = self._time_s
        if not self._ahead(goal, 1.0):  # a head turned away would turn the puppet's too
            self._adopt(held[-1])
            return
        if not (self._resting(goal, 1.0) and self._awake(goal)):
            margin = self._config.margin
        elif held[0] is not self._window[0] and self._still(held, 1.0):
            margin = self._config.glimpse_margin
        else:
            return
        if is_calmer(held[-1], goal, margin):
            self._adopt(held[-1])

    def _like(self, sample: Sample, goal: Sample) -> bool:
        resting = self._resting(sample, 1.0) and self._awake(sample)
        return resting and rms(sample.regions - goal.regions) <= self._config.near_cm

    def _settle(self, step: float, shown: Sample, goal: Sample) -> None:
        if shown is not goal:
            near = rms(shown.shape.local - goal.shape.local) < 1e-4
            self._shown = (
                goal if near else between(shown, goal, 1.0 - math.exp(-step / self._config.settle_s))
            )

    def _watch(self, sample: Sample) -> None:
        """Collect a stable second, and take it when it is complete."""
        loose = self._config.on_request if self._state is _State.ASKED else 1.0
        if not self._awake(sample):
            return
        if not self._resting(sample, loose):
            self._window.clear()
            return
        self._window.append(sample)
        while sample.time_s - self._window[0].time_s > self._config.window_s:
            self._window.popleft()
        if self._complete() and self._still(self._window, loose):
            self._take()

    def _take(self) -> None:
        window = list(self._window)
        self._window = deque(window[len(window) // 2 :])  # the next look is half a second away
        goal = self._goal if self._state is _State.CALIBRATED else None
        if goal is not None and not is_calmer(window[len(window) // 2], goal, self._config.margin):
            return
        self._state = _State.CALIBRATED
        self._adopt(median(window))

    def _complete(self) -> bool:
        count, span = len(self._window), self._window[-1].time_s - self._window[0].time_s
        return count >= _FEWEST_SAMPLES and span * count / (count - 1) >= 0.98 * self._config.window_s

    def _still(self, samples: Iterable[Sample], loose: float) -> bool:
        held = list(samples)
        regions = np.stack([sample.regions for sample in held])
        angles = np.array([(sample.pose.yaw, sample.pose.pitch, sample.pose.roll) for sample in held])
        strays = rms(regions - regions.mean(0))
        return bool(
            strays <= loose * self._config.still_cm and angles.std(0).max() <= loose * self._config.still_deg
        )

    def _resting(self, sample: Sample, loose: float) -> bool:
        looking = 0.5 * abs(sample.gaze.right_x + sample.gaze.left_x) <= loose * self._config.gaze
        return looking and sample.openness.mouth <= loose * self._config.mouth and self._ahead(sample, loose)

    def _ahead(self, sample: Sample, loose: float) -> bool:
        yaw, pitch, roll = self._config.pose_deg
        pose = sample.pose
        return (
            abs(pose.yaw) <= loose * yaw
            and abs(pose.pitch) <= loose * pitch
            and abs(pose.roll) <= loose * roll
        )

    def _awake(self, sample: Sample) -> bool:
        """Both eyes open: no blink."""
        eyes = min(sample.openness.right_eye, sample.openness.left_eye)
        self._widest_eyes = max(0.999 * self._widest_eyes, eyes)
        return eyes >= max(self._config.eyes, 0.5 * self._widest_eyes)
