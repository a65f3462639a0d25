"""Low-pass filters for whole clips: Butterworth forwards and backwards, so that nothing is late, and a plain one.

Not causal: a live driver is smoothed by One-Euro filters instead.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np

from engine.errors import ConfigError
from engine.types import F64

RATE: Final = 2208.0
"""Hz, the notional rate at which the published cutoffs are meant: 300 of them are 0.136 of the frame rate."""
ORDER: Final = 5


def zero_phase(signal: F64, cutoff: float, order: int = ORDER, rate: float = RATE) -> F64:
    """Signals (n, ...) along their first axis through a Butterworth low-pass, once each way; float64.

    cutoff: Hz of `rate` at which half the power is left by one way. The ends are continued by their point reflections,
    3 (order + 1) frames of them or as many as there are, and the filter starts in its steady state. Raises ConfigError
    for a cutoff that is not within 0..rate / 2.
    """
    if not 0 < cutoff < 0.5 * rate:
        raise ConfigError(
            f"low-pass cutoff: expected more than 0 and less than {0.5 * rate:g} Hz, got {cutoff:g}"
        )
    b, a = (np.array(side) for side in coefficients(order, cutoff / rate))
    flat = np.asarray(signal, np.float64).reshape(len(signal), -1)
    margin = min(3 * (order + 1), len(flat) - 1)
    if margin < 1:
        return np.asarray(signal, np.float64).copy()
    before, after = 2 * flat[0] - flat[margin:0:-1], 2 * flat[-1] - flat[-2 : -margin - 2 : -1]
    wide = np.concatenate([before, flat, after])
    steady = _steady(b, a)
    for _ in range(2):
        wide = _filtered(b, a, wide, steady[:, None] * wide[0])[::-1]
    return wide[margin : margin + len(flat)].reshape(signal.shape)


@lru_cache(maxsize=16)
def coefficients(order: int, cutoff: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Numerator and denominator, highest power of z first, of a Butterworth low-pass. cutoff: cycles per frame, 0..0.5.

    The analogue poles lie evenly on the left half circle; the bilinear transform z = (2 + s) / (2 - s) with the cutoff
    warped by the tangent brings them to the z plane, and all zeros to z = -1. The gain at rest is 1.
    """
    warped = 2.0 * math.tan(math.pi * cutoff)
    angles = math.pi * (2.0 * np.arange(order) + 1.0 + order) / (2.0 * order)
    poles = warped * np.exp(1j * angles)
    turned = (2.0 + poles) / (2.0 - poles)
    a = np.real(np.poly(turned))
    b = np.poly(-np.ones(order))
    b *= a.sum() / b.sum()
    return tuple(b.tolist()), tuple(a.tolist())


def _steady(b: F64, a: F64) -> F64:
    """The state (order,) in which a signal that was 1 for ever leaves the filter."""
    order = len(a) - 1
    companion = np.zeros((order, order))
    companion[:, 0] = -a[1:]
    companion[:-1, 1:] = np.eye(order - 1)
    state: F64 = np.linalg.solve(np.eye(order) - companion, b[1:] - a[1:] * b[0])
    return state


def _filtered(b: F64, a: F64, signal: F64, state: F64) -> F64:
    """Direct form II transposed, along the first axis. state: (order, channels)."""
    out = np.empty_like(signal)
    for frame, x in enumerate(signal):
        y = b[0] * x + state[0]
        state = np.concatenate([state[1:], np.zeros_like(state[:1])]) + b[1:, None] * x - a[1:, None] * y
        out[frame] = y
    return out


def first_order(signal: F64, keep: float = 0.7) -> F64:
    """y_0 = x_0, y_n = keep y_(n-1) + (1 - keep) x_n along the first axis: causal, late by keep / (1 - keep) frames."""
    out = np.array(signal)
    for frame in range(1, len(out)):
        out[frame] = keep * out[frame - 1] + (1 - keep) * signal[frame]
    return out
