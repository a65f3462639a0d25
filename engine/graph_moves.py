"""Rules on sizes: operators that put entries elsewhere, leave some out or repeat them, and compute nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from engine.graph_nodes import INT64, Given, Rule, Shape, axis_of, paired

_MOST_STEP: Final = 1 << 20
"""Of a Slice; OpenVINO 2026.4 reads elsewhere where one is beyond its whole numbers."""


def _concat(given: Given) -> list[Shape]:
    axis = axis_of(given.number("axis", 0), len(given(0)))
    sizes = [max(found) for found in paired(*given.all)]
    sizes[axis] = sum(shape[axis] for shape in given.all)
    return [tuple(sizes)]


def _gather(given: Given) -> list[Shape]:
    data, axis = given(0), axis_of(given.number("axis", 0), len(given(0)))
    return [(*data[:axis], *given(1), *data[axis + 1 :])]


def _check_places(given: Given, sizes: Sequence[int]) -> None:
    """That the indices of input 1 lie within `sizes`, one for each entry of their last axis. OpenVINO 2026.4 takes them
    unseen, and reads or writes outside of its memory, so that computed ones cannot be allowed at all."""
    constant = given.constant(1)
    if constant is None or constant.dtype != INT64:
        raise ValueError(f"the indices of a {given.node.kind} are computed, expected int64 constants")
    places = np.frombuffer(constant.data, "<i8").reshape(-1, len(sizes))
    most = np.array(sizes, np.int64)
    if ((places < -most) | (places >= most)).any():
        raise ValueError(f"a {given.node.kind} has indices beyond what it takes them from")


def _gather_nd(given: Given) -> list[Shape]:
    skipped = given.number("batch_dims", 0)
    depth = given(1)[-1] + skipped
    if skipped < 0 or not skipped < depth <= len(given(0)) or given(0)[:skipped] != given(1)[:skipped]:
        raise IndexError(depth)
    _check_places(given, given(0)[skipped:depth])
    return [(*given(1)[:-1], *given(0)[depth:])]


def _gather_elements(given: Given) -> list[Shape]:
    data, places, axis = given(0), given(1), axis_of(given.number("axis", 0), len(given(0)))
    if any(size > data[k] for k, (_, size) in enumerate(paired(data, places)) if k != axis):
        raise IndexError(places)
    _check_places(given, data[axis : axis + 1])
    return [places]


def _scatter_nd(given: Given) -> list[Shape]:
    data, places, depth = given(0), given(1), given(1)[-1]
    if not 0 < depth <= len(data) or given(2) != (*places[:-1], *data[depth:]):
        raise IndexError(depth)
    _check_places(given, data[:depth])
    return [data]


def _flatten(given: Given) -> list[Shape]:
    shape, axis = given(0), given.number("axis", 1)
    axis += len(shape) if axis < 0 else 0
    return [(math.prod(shape[:axis]), math.prod(shape[axis:]))]


def _transpose(given: Given) -> list[Shape]:
    shape = given(0)
    order = given.numbers("perm", range(len(shape))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise IndexError(order)
    return [tuple(shape[k] for k in order)]


def _reshape(given: Given) -> list[Shape]:
    shape, wanted = given(0), given.stated(1)
    if not given.number("allowzero", 0):
        wanted = [shape[k] if size == 0 else size for k, size in enumerate(wanted)]
    if wanted.count(-1) > 1 or any(size < -1 for size in wanted):
        raise IndexError(wanted)
    others = math.prod(size for size in wanted if size != -1)
    rest = -(-math.prod(shape) // others) if -1 in wanted and others else 0
    return [tuple(rest if size == -1 else size for size in wanted)]


def _slice(given: Given) -> list[Shape]:
    shape = given(0)
    starts, ends = given.values(1), given.values(2)
    axes = given.values(3) if given.has(3) else list(range(len(starts or ())))
    steps = given.stated(4) if given.has(4) else [1] * len(starts or ())
    if any(not 0 < abs(step) <= _MOST_STEP for step in steps):
        raise IndexError(steps)
    if starts is None or ends is None or axes is None:
        return [shape]
    found = list(shape)
    for start, end, axis, step in paired(starts, ends, axes, steps):
        place = axis_of(axis, len(shape))
        found[place] = len(range(*slice(start, end, step).indices(shape[place])))
    return [tuple(found)]


def _split(given: Given) -> list[Shape]:
    shape, count = given(0), len(given.node.outputs)
    axis = axis_of(given.number("axis", 0), len(shape))
    part = -(-shape[axis] // count)
    sizes = given.stated(1) if given.has(1) else [part] * (count - 1) + [shape[axis] - part * (count - 1)]
    if len(sizes) != count or min(sizes) < 0:
        raise IndexError(count)
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _squeeze(given: Given) -> list[Shape]:
    shape = given(0)
    axes = given.stated(1) if given.has(1) else [k for k, size in enumerate(shape) if size == 1]
    gone = {axis_of(axis, len(shape)) for axis in axes}
    return [tuple(size for k, size in enumerate(shape) if k not in gone)]


def _unsqueeze(given: Given) -> list[Shape]:
    axes = given.stated(1)
    rank = len(given(0)) + len(axes)
    new, sizes = {axis_of(axis, rank) for axis in axes}, iter(given(0))
    return [tuple(1 if k in new else next(sizes, 1) for k in range(rank))]


def _tile(given: Given) -> list[Shape]:
    return [tuple(size * times for size, times in paired(given(0), given.stated(1)))]


def _pad(given: Given) -> list[Shape]:
    shape, pads = list(given(0)), given.stated(1)
    axes = given.stated(3) if given.has(3) else list(range(len(shape)))
    if len(pads) != 2 * len(axes):
        raise IndexError(pads)
    for k, axis in enumerate(axes):
        place, before, after = axis_of(axis, len(shape)), pads[k], pads[k + len(axes)]
        if (
            shape[place] + min(0, before) + min(0, after) < 0
        ):  # OpenVINO 2026.4 writes outside of its memory there
            raise IndexError(pads)
        shape[place] += before + after
    return [tuple(shape)]


MOVES: Final[Mapping[str, Rule]] = {
    "Concat": _concat, "Flatten": _flatten, "Gather": _gather, "GatherElements": _gather_elements,
    "GatherND": _gather_nd, "Pad": _pad, "Reshape": _reshape, "ScatterND": _scatter_nd, "Slice": _slice,
    "Split": _split, "Squeeze": _squeeze, "Tile": _tile, "Transpose": _transpose, "Unsqueeze": _unsqueeze,
}  # fmt: skip
"""By operator."""
