"""What every frame graph is made of: where its pixels are, cutting the square, laying it back.

Each piece gives the numbers of the engine's own code, which it names, to float32's rounding. Pixel centres are
integers; a grid for GridSample with align_corners runs from -1 to 1 between the centres of the outermost pixels, and
beyond them the border goes on, as in `cut` and in the kernels. B entries have frames of
one size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.bundle import PortInfo
from engine.generators.feather import feather
from engine.generators.frame_limits import MOST_SIDE, most_shrink
from export.frame.nodes import Nodes, Value


class Frame(NamedTuple):
    """The picture that is painted on. levels: (B, 3, H, W). covered: (B, 1, H, W), levels of what stands in front.
    rows: (1, H, 1, 1) and columns: (1, 1, W, 1), pixels. last_row, last_column: (1,). matrix: its six numbers,
    (B, 1, 1, 1) each, frame pixels to those of the square."""

    levels: Value
    covered: Value
    rows: Value
    columns: Value
    last_row: Value
    last_column: Value
    matrix: tuple[Value, ...]


class Square(NamedTuple):
    """What the network sees, whole levels. picture: (B, 3, S, S). covered: (B, 1, S, S)."""

    picture: Value
    covered: Value

    def as_port(self) -> Value:
        """(B, S, S, 3), as a network's port has it."""
        return self.picture.turned(0, 2, 3, 1)


def begin(graph: Nodes) -> Frame:
    """The ports `frame`, `matrix` and `hidden`."""
    frame = graph.input(PortInfo("frame", (1, 0, 0, 3), "uint8", (0.0, 255.0)))
    matrix = graph.input(PortInfo("matrix", (1, 2, 3), "float32", None))
    hidden = graph.input(PortInfo("hidden", (1, 0, 0, 1), "uint8", (0.0, 255.0)))
    levels = frame.cast("float32")
    size = graph.op("Shape", levels)
    rows, last_row = _counted(graph, size, 1)
    columns, last_column = _counted(graph, size, 2)
    flat = matrix.shaped(-1, 6, 1, 1)
    numbers = tuple(flat.channels(index, index + 1) for index in range(6))
    return Frame(
        levels.turned(0, 3, 1, 2),
        hidden.cast("float32").turned(0, 3, 1, 2),
        rows.shaped(1, -1, 1, 1),
        columns.shaped(1, 1, -1, 1),
        last_row,
        last_column,
        numbers,
    )


def _counted(graph: Nodes, size: Value, axis: int) -> tuple[Value, Value]:
    """0, 1 .. of the frame's axis, and the last of them. No size is computed but that of a constant's part."""
    axes = np.array([0], np.int64)
    end = graph.op("Slice", size, np.array([axis], np.int64), np.array([axis + 1], np.int64), axes)
    all_of_them = graph.constant(np.arange(MOST_SIDE, dtype=np.float32))
    counted = graph.op("Slice", all_of_them, axes, end, axes)
    return counted, graph.op("ReduceMax", counted, keepdims=1)


def cut(graph: Nodes, frame: Frame, size: int) -> Square:
    """engine.crop.cut of the frame and of what covers it.

    A crop that shrinks is sampled a whole number of times finer and averaged; here always `most` times, of which those
    that are too many weigh nothing, so that no size depends on the matrix.
    """
    a, b, c, d, e, f = frame.matrix
    area = a * e - b * d
    most = most_shrink(size)
    times = graph.op("Ceil", 1.0 / graph.op("Sqrt", graph.op("Abs", area)) - 1e-6).clip(1.0, float(most))
    pixel = np.repeat(np.arange(size, dtype=np.float32), most)
    part = np.tile(np.arange(most, dtype=np.float32), size)
    place = (graph.op("Min", part, times - 1.0) + 0.5) / times + (pixel - 0.5)
    x, y = place.turned(0, 1, 3, 2) - c, place.turned(0, 3, 1, 2) - f  # along the grid's columns and rows
    across = (e * x - b * y) / area
    down = (a * y - d * x) / area
    grid = graph.joined(
        _between(graph, across, frame.last_column), _between(graph, down, frame.last_row), axis=3
    )
    both = graph.joined(frame.levels, frame.covered)
    fine = graph.sampled(both, grid).level()
    counts = graph.op("Less", part, times).cast("float32")
    apart = (fine * counts.turned(0, 1, 3, 2) * counts).shaped(-1, size, most, size, most)
    mean = apart.total(2, 4, keep=False).shaped(-1, 4, size, size) / (times * times)
    # OpenCV averages fours with halves going up, and all else with halves going to even levels.
    fours = graph.op("Equal", times, 2.0)
    whole = graph.where(fours, mean.level(), graph.op("Round", mean))
    return Square(whole.channels(0, 3), whole.channels(3, 4))


def _between(graph: Nodes, pixels: Value, last: Value) -> Value:
    """Pixels as a grid has them; a picture of one pixel has its centre anywhere."""
    return pixels * (2.0 / graph.op("Max", last, 1.0)) - 1.0


def open_share(square: Square, size: int) -> Value:
    """What a mask is multiplied by, (B, 1, S, S): the square's edge, and what stands in front of the face."""
    return (1.0 - square.covered / 255.0) * feather(size)[None, None]


class Place(NamedTuple):
    """Where the frame's pixels lie in the square: u and v (B, H, W, 1), its pixels."""

    u: Value
    v: Value


def placed(frame: Frame) -> Place:
    """engine.generators.square.placed for every pixel of the frame."""
    a, b, c, d, e, f = frame.matrix
    return Place(
        a * frame.columns + (b * frame.rows + c),
        d * frame.columns + (e * frame.rows + f),
    )


def at(graph: Nodes, maps: Value, place: Place, size: int) -> Value:
    """Maps (B, C, S, S) at the frame's pixels, (B, C, H, W): engine.generators.square.all_between."""
    step = 2.0 / (size - 1)
    grid = graph.joined(place.u * step - 1.0, place.v * step - 1.0, axis=3)
    return graph.sampled(maps, grid)


def finish(graph: Nodes, frame: Frame, top: Value, share: Value, answers: tuple[Value, ...]) -> None:
    """The ports `frame_out` and `answer_mean`: engine.blend.paste of levels `top` (B, 3, H, W) by `share` (B, 1, H, W),
    both brought to 8 bits first, as a patch is; and the mean of all that the network answered and of what lasts, (B,
    C, S, S) each, which is not finite where any of it is not. No mask reaches the square's edge: the feather is 0
    there."""
    above, weight = top.clip(0.0, 255.0).level(), (255.0 * share).clip(0.0, 255.0).level()
    mixed = ((weight * above + (255.0 - weight) * frame.levels + 127.5) / 255.0).floor()
    graph.output(PortInfo("frame_out", (1, 0, 0, 3), "uint8", (0.0, 255.0)), mixed.turned(0, 2, 3, 1))
    means = [answer.mean(1, 2, 3, keep=False) for answer in answers]
    together = means[0]
    for mean in means[1:]:
        together = together + mean
    graph.output(PortInfo("answer_mean", (1,), "float32", None), together / float(len(means)))
