"""Squares smoothed over time: with the future at hand (off-line), and without (live)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.align.quad import Squares
from engine.errors import ConfigError
from engine.smooth import Band, alpha, delay_s
from engine.types import F64

CENTRE_SIGMA, AXES_SIGMA = 1.0, 3.0
"""Frames: the official widths for the centre, and for the two axes."""
_TRUNCATE = 4.0
_CENTRE, _AXES = Band(1.5, 12.0), Band(0.5, 6.0)


def smoothed(squares: Squares, centre_sigma: float = CENTRE_SIGMA, axes_sigma: float = AXES_SIGMA) -> Squares:
    """Gaussian over time, past and future alike. sigmas: in frames, 0 = as they are.

    Cut off at 4 sigma; beyond its ends the clip is mirrored, its first and last frame repeated (d c b a | a b c d).
    """
    return Squares(
        gaussian(squares.centre, centre_sigma),
        gaussian(squares.along, axes_sigma),
        gaussian(squares.down, axes_sigma),
    )


def gaussian(values: F64, sigma: float) -> F64:
    """The filter of `smoothed` along the first axis of (frames, channels), float64. Raises ConfigError below 0."""
    if not 0.0 <= sigma < 1e6:
        raise ConfigError(f"alignment: a smoothing of {sigma} frames, expected 0 or more")
    if sigma == 0.0 or len(values) == 0:
        return values.copy()
    radius = int(_TRUNCATE * sigma + 0.5)
    place = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 / (sigma * sigma) * place**2)
    kernel /= kernel.sum()
    around = np.pad(values, ((radius, radius), (0, 0)), mode="symmetric")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in around.T], axis=1)


@dataclass(frozen=True, slots=True)
class SquareSmoothing:
    """Cutoffs of the live filter; speeds are counted in half sides of the square, per second."""

    centre: Band = _CENTRE
    axes: Band = _AXES
    speed_cutoff: float = 3.0
    """Hz, of the low-pass on the speeds."""
    longest_gap_s: float = 0.5
    """After a longer pause the filters start anew."""


class SquareSmoother:
    """The causal filter of one face: One-Euro on the centre and on the axes. `reset` when the track changes.

    A low-pass whose cutoff rises with speed (engine/smooth.py), so that the crop of a resting face is still, as under
    the official Gaussian, and that of a moving one is not late, which a Gaussian without the future would be.
    """

    def __init__(self, config: SquareSmoothing | None = None) -> None:
        self._config = config or SquareSmoothing()
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next square passes unchanged."""
        self._time_s: float | None = None
        self._lag_s = 0.0

    @property
    def lag_s(self) -> float:
        """Seconds by which the centre of the last square is late."""
        return self._lag_s

    def smooth(self, squares: Squares, time_s: float) -> Squares:
        """One frame's square (arrays of length 1), smoothed up to `time_s`, seconds of media time."""
        state = np.concatenate([squares.centre[0], squares.along[0]])
        dt = 0.0 if self._time_s is None else time_s - self._time_s
        self._time_s = time_s
        if 0.0 < dt <= self._config.longest_gap_s:
            self._step(state, dt)
        else:
            self._value, self._raw, self._speed = state.copy(), state, np.zeros(4)
            self._lag_s = 0.0
        c, x = self._value[None, :2].copy(), self._value[None, 2:].copy()
        return Squares(c, x, np.column_stack([-x[:, 1], x[:, 0]]))

    def _step(self, state: F64, dt: float) -> None:
        config = self._config
        half = max(math.hypot(*self._value[2:]), 1e-9)
        self._speed += alpha(config.speed_cutoff, dt) * ((state - self._raw) / (dt * half) - self._speed)
        self._raw = state
        shares = [
            alpha(band.min_cutoff + band.beta * math.hypot(*self._speed[part]), dt)
            for band, part in ((config.centre, slice(0, 2)), (config.axes, slice(2, 4)))
        ]
        self._value += np.repeat(shares, 2) * (state - self._value)
        self._lag_s = delay_s(shares[0], dt)
