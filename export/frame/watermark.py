"""The invisible mark as a piece of a graph: the arithmetic of engine.watermark.spread, for pictures that are on a GPU.

The pattern is a port, so that one compiled graph marks every session's pictures with its own payload; given as an array
that nobody can write to, it goes to the GPU once (engine.backends.Graph.run).
"""

from __future__ import annotations

import numpy as np

from engine.bundle import PortInfo
from engine.errors import ConfigError
from engine.watermark.pattern import LEVEL
from engine.watermark.spread import BRIGHTER, CELL, DARK, HALVINGS, LEAST, MOST, RMS, SLOPE
from export.frame.graph import Written, finished
from export.frame.nodes import Nodes, Value


def watermark(size: tuple[int, int], strength: float = 1.0) -> Written:
    """A graph of one size (width, height): `luma` uint8 (B, H, W, 1) and `pattern` float32 (B, H, W, 1), which is
    SpreadEmbedder.pattern, to `marked` uint8 (B, H, W, 1). Raises ConfigError for a size that cannot be marked."""
    width, height = size
    if min(size) < CELL:
        raise ConfigError(f"watermark: size {width}x{height}, expected {CELL} pixels a side at least")
    graph = Nodes()
    luma = graph.input(PortInfo("luma", (1, height, width, 1), "uint8", (0.0, 255.0)))
    pattern = graph.input(PortInfo("pattern", (1, height, width, 1), "float32", None))
    levels = luma.cast("float32").shaped(-1, 1, height, width)
    chips = pattern.shaped(-1, 1, height, width)
    marked = (levels + change(graph, levels, chips, size, strength) + 0.5).clip(0.0, 255.0).floor()
    graph.output(
        PortInfo("marked", (1, height, width, 1), "uint8", (0.0, 255.0)), marked.shaped(-1, height, width, 1)
    )
    return finished(graph, "watermark")


def change(graph: Nodes, luma: Value, pattern: Value, size: tuple[int, int], strength: float) -> Value:
    """What is added to luma, levels, (B, 1, H, W). luma: levels, the same shape. In RGB it is 255 / 219 of that, in all
    three channels alike."""
    width, height = size
    gains = _allowed(graph, *_measured(graph, luma, size), strength)
    rows, columns = -(-height // CELL), -(-width // CELL)
    wide = graph.op(
        "Tile", gains.shaped(-1, 1, rows, 1, columns, 1), np.array([1, 1, 1, CELL, 1, CELL], np.int64)
    )
    whole = wide.shaped(-1, 1, rows * CELL, columns * CELL)
    return _part(graph, whole, (0, 0), (height, width)) * float(np.float32(1 / LEVEL)) * pattern


def _measured(graph: Nodes, luma: Value, size: tuple[int, int]) -> tuple[Value, Value]:
    """engine.watermark.spread.measure: gradients and means, (B, 1, cells down, cells across)."""
    width, height = size
    across = _part(graph, luma, (0, 1), (height, width)) - _part(graph, luma, (0, 0), (height, width - 1))
    down = _part(graph, luma, (1, 0), (height, width)) - _part(graph, luma, (0, 0), (height - 1, width))
    more = (-height % CELL, -width % CELL)
    total = _padded(graph, graph.op("Abs", across), (more[0], more[1] + 1)) + _padded(
        graph, graph.op("Abs", down), (more[0] + 1, more[1])
    )
    return _cells(graph, total), _cells(graph, _padded(graph, luma, more))


def _cells(graph: Nodes, value: Value) -> Value:
    return graph.op("AveragePool", value, kernel_shape=[CELL, CELL], strides=[CELL, CELL])


def _allowed(graph: Nodes, gradients: Value, means: Value, strength: float) -> Value:
    """engine.watermark.spread.allow."""
    least = graph.op("MaxPool", gradients * -1.0, kernel_shape=[3, 3], pads=[1, 1, 1, 1]) * -1.0
    light = graph.op("Min", means * BRIGHTER + DARK, graph.constant(1.0))
    gains = graph.op("Min", least * SLOPE + LEAST, graph.constant(MOST)) * light * strength
    low, high = graph.constant([[[[0.0]]]]), graph.constant([[[[MOST * strength]]]])
    for _ in range(HALVINGS):
        middle = (low + high) * 0.5
        held = graph.op("Min", gains, middle)
        over = graph.op("Greater", _mean(graph, held * held), graph.constant(RMS * RMS))
        low, high = graph.where(over, low, middle), graph.where(over, middle, high)
    return graph.op("Min", gains, low)


def _mean(graph: Nodes, value: Value) -> Value:
    return graph.op("ReduceMean", value, np.array([2, 3], np.int64), keepdims=1)


def _part(graph: Nodes, value: Value, first: tuple[int, int], end: tuple[int, int]) -> Value:
    """Rows and columns from `first` to before `end`."""
    return graph.op(
        "Slice", value, np.array(first, np.int64), np.array(end, np.int64), np.array([2, 3], np.int64)
    )


def _padded(graph: Nodes, value: Value, more: tuple[int, int]) -> Value:
    """So many rows and columns of 0 after the last ones."""
    return graph.op("Pad", value, np.array([0, 0, 0, 0, 0, 0, *more], np.int64), 0.0, mode="constant")
