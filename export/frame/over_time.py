"""What lasts from frame to frame, as ports: `NAME_out` of one frame is `NAME` of the next.

The port `dt` (B,) is the seconds since the frame before, ANEW where there is none or nothing of it may count.
"""

from __future__ import annotations

import math

import numpy as np

from engine.bundle import PortInfo
from engine.generators.frame_limits import ANEW
from engine.generators.geogan import steady, tone
from export.frame.nodes import Nodes, Value


def passed(graph: Nodes) -> Value:
    """The port `dt`, (B, 1, 1, 1)."""
    return graph.input(PortInfo("dt", (1,), "float32", None)).shaped(-1, 1, 1, 1)


def steadied(graph: Nodes, raw: Value, dt: Value, shape: tuple[int, int, int]) -> tuple[Value, Value]:
    """engine.generators.geogan.steady.SteadyMap of a map (B, C, S, S), and what lasts of it: the port `steady`
    (B, 3 C, S, S), what was shown, what was seen, and how fast it changed."""
    count = shape[0]
    before = graph.input(PortInfo("steady", (1, 3 * count, *shape[1:]), "float32", None))
    value, seen, speed = (before.channels(part * count, (part + 1) * count) for part in range(3))
    follows = graph.op("And", graph.op("Greater", dt, 0.0), graph.op("LessOrEqual", dt, steady.LONGEST_GAP_S))
    span = graph.where(follows, dt, 1.0)
    speed = speed + ((raw - seen) / span - speed) * _alpha(steady.SPEED_CUTOFF, span)
    rms = graph.op("Sqrt", (speed * speed).total(1, 2, 3) / float(math.prod(shape)))
    stepped = value + (raw - value) * _alpha(steady.MIN_CUTOFF + steady.BETA * rms, span)
    shown = graph.where(follows, stepped, raw)
    speed = graph.where(follows, speed, 0.0)
    after = graph.joined(shown, raw, speed)
    graph.output(PortInfo("steady_out", (1, 3 * count, *shape[1:]), "float32", None), after)
    return shown, after


def _alpha(cutoff: Value | float, dt: Value) -> Value:
    """engine.smooth.alpha."""
    ratio = dt * (2.0 * math.pi) * cutoff
    return ratio / (ratio + 1.0)


def light(graph: Nodes, mask: Value, face: Value, laid: Value, dt: Value) -> tuple[Value, Value]:
    """engine.generators.geogan.tone.Tone: the factors (B, 3, 1, 1), and what lasts (B, 4, 1, 1). mask: (B, 1, S, S).
    face, laid: (B, 3, S, S), levels. Its state is the port `light` (B, 4): the logarithms, and the seconds since they
    were followed last."""
    before = graph.input(PortInfo("light", (1, 4), "float32", None)).shaped(-1, 4, 1, 1)
    logs, waited = before.channels(0, 3), before.channels(3, 4)
    logs = graph.where(graph.op("Less", dt, ANEW), logs, 0.0)
    slope = _slope(graph, mask)
    steepest = slope.largest(1, 2, 3)
    weight = graph.op("Max", slope - tone.SLIGHT * steepest, 0.0)
    whole = graph.op("Max", weight.total(1, 2, 3), 1e-12)
    here, there = ((weight * one).total(2, 3) / whole for one in (face, laid))
    limit, waited = math.log(tone.MOST), waited + dt
    target = graph.op("Log", (here + tone.DARK) / (there + tone.DARK)).clip(-limit, limit)
    settled = 1.0 - graph.op("Exp", graph.op("Max", waited, 0.0) * (-1.0 / tone.SETTLE_S))
    share = graph.where(graph.op("Greater", waited, 0.0), settled, 1.0)
    sharp = graph.op("Greater", steepest, tone.FAINT)
    logs = graph.where(sharp, logs + share * (target - logs), logs)
    after = graph.joined(logs, graph.where(sharp, 0.0, graph.op("Min", waited, ANEW)))
    graph.output(PortInfo("light_out", (1, 4), "float32", None), after.shaped(-1, 4))
    return graph.op("Exp", logs), after


def _slope(graph: Nodes, mask: Value) -> Value:
    """How steep a mask is per pixel: Sobel's, mirrored at the border."""
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32) / 8.0
    kernels = np.stack([across, across.T])[:, None]
    padded = graph.op("Pad", mask, np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode="reflect")
    both = graph.op("Conv", padded, kernels, kernel_shape=[3, 3])
    return graph.op("Sqrt", (both * both).total(1))
