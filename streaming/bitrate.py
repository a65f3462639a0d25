"""How many bits per second a picture is sent with: limits that fit it, and when a new estimate is followed."""

from __future__ import annotations

from dataclasses import dataclass, replace

START_BITS = 1_500_000
"""Bits per second of 640x480 at 30 frames a second."""
LEAST_BITS = 250_000
MOST_STARTS = 1.75
"""The most is so many times the start: 2.6 Mb/s at 640x480, 6.0 Mb/s at 1280x720."""
GROWTH = 0.75
"""Bits grow slower than pixels: the larger a picture, the more its neighbouring blocks are alike."""

FALL = 0.97
"""An estimate below so much of the target is followed at once: what exceeds the way's width waits in a queue."""
STEP = 1.04
STEADY_S = 0.25
"""How long estimates must stand a step above the target before it rises by that step: 16 % a second."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bits per second."""

    least: int
    start: int
    most: int

    def clamp(self, bits: int) -> int:
        return max(self.least, min(bits, self.most))


def limits(width: int, height: int, fps: float = 30.0) -> Limits:
    """start = 1.5 Mb/s x (width x height x fps / (640 x 480 x 30)) ^ 0.75, most = 1.75 x start, least = 250 kb/s, and
    half the start where that is less (small pictures)."""
    start = START_BITS * (width * height * fps / (640 * 480 * 30)) ** GROWTH
    return Limits(min(LEAST_BITS, round(start / 2)), round(start), round(start * MOST_STARTS))


@dataclass(frozen=True, slots=True)
class Target:
    """bits: what is sent, per second. above_since: since when (seconds) every estimate stood a step above it, None
    when the last one did not."""

    bits: int
    above_since: float | None = None


def follow(target: Target, estimate: int, now: float) -> Target:
    """The target after one more estimate of what the way carries, in bits per second, made at `now` in seconds.

    A fall is taken at once. A rise is taken in steps, each after the estimates stood that high for STEADY_S. What
    lies between changes nothing.
    """
    if estimate < FALL * target.bits:
        return Target(estimate)
    step = round(STEP * target.bits)
    if estimate < step:
        return target if target.above_since is None else replace(target, above_since=None)
    if target.above_since is None:
        return replace(target, above_since=now)
    if now - target.above_since < STEADY_S:
        return target
    return Target(step, now)
