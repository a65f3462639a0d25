"""How much a graph holds in memory while it runs, told from its file before a runtime sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from engine.graph_nodes import INT64, Constant, Given, Node, Shape
from engine.graph_rules import RULES

MOST_ELEMENTS: Final = 1 << 28
"""Most entries of one port, one weight, or one result."""
MOST_BYTES: Final = 4 << 30
"""Most that one entry of a batch may take at once beside its weights: results that are still needed, and what can be
computed from the weights alone, which a runtime computes when it opens the graph, and keeps."""
FREE_SIZES: Final = (1080, 1920)
"""What is taken for the free height and width of a frame: both frames and what is computed from them grow alike."""
MOST_RANK: Final = 8

_FLOAT_BYTES, _LONG_BYTES = 4, 8


def check_size(sizes: Sequence[int], what: str, least: int = 0) -> None:
    """Raises ValueError for a shape of too many sizes or entries."""
    if len(sizes) > MOST_RANK or any(size < least for size in sizes):
        raise ValueError(f"{what} has the shape {tuple(sizes)[:16]}, expected up to {MOST_RANK} fixed sizes")
    if math.prod(sizes) > MOST_ELEMENTS:
        raise ValueError(f"{what} has the shape {tuple(sizes)}, expected {MOST_ELEMENTS} entries at most")


def check_memory(
    nodes: Sequence[Node],
    constants: Mapping[str, Constant],
    inputs: Mapping[str, Shape],
    outputs: Sequence[str],
) -> None:
    """Raises ValueError where a result, or all that is needed at one time, is too large. inputs: by name, a free size
    as 0."""
    sizes = shapes_of(nodes, constants, inputs)
    last = {name: index for index, node in enumerate(nodes) for name in node.inputs}
    last |= dict.fromkeys(outputs, len(nodes))
    fixed, longs = set(constants), {name for name, one in constants.items() if one.dtype == INT64}
    live: dict[str, int] = {}
    kept = held = 0
    for index, node in enumerate(nodes):
        if _is_long(node, longs):
            longs.update(node.outputs)
        width = _LONG_BYTES if node.outputs[0] in longs else _FLOAT_BYTES
        taken = {name: width * math.prod(sizes[name]) for name in node.outputs if name}
        if all(name in fixed for name in node.inputs if name):
            fixed.update(taken)
            kept += sum(taken.values())
        else:
            live |= taken
            held += sum(taken.values())
        if kept + held > MOST_BYTES:
            raise ValueError(f"it needs more than {MOST_BYTES >> 30} GB at once, at a {node.kind}")
        for name in (*node.inputs, *node.outputs):
            if last.get(name, index) <= index:
                held -= live.pop(name, 0)


def shapes_of(
    nodes: Sequence[Node], constants: Mapping[str, Constant], inputs: Mapping[str, Shape]
) -> dict[str, Shape]:
    """The largest sizes of everything in a graph, by name. Raises ValueError where one is too large or makes no
    sense."""
    found = {name: one.dims for name, one in constants.items()}
    found |= {name: _settled(shape) for name, shape in inputs.items()}
    for node in nodes:
        given = Given(node, [found[name] if name else None for name in node.inputs], constants)
        try:
            shapes = RULES[node.kind](given)
        except (IndexError, ZeroDivisionError, OverflowError) as error:
            raise ValueError(f"the sizes of a {node.kind} make no sense") from error
        for number, name in enumerate(node.outputs):
            shape = shapes[min(number, len(shapes) - 1)]
            check_size(shape, f"the result of a {node.kind}")
            if name:
                found[name] = shape
    return found


def _settled(shape: Shape) -> Shape:
    free = iter(FREE_SIZES)
    return tuple(size or next(free, FREE_SIZES[-1]) for size in shape)


def _is_long(node: Node, longs: set[str]) -> bool:
    """Whether a result has 8 bytes an entry; all others are counted as 4."""
    if node.kind == "Cast":
        return bool(node.attributes.get("to") == INT64)
    first = 1 if node.kind == "Where" else 0
    return node.kind in ("ArgMax", "Shape") or (len(node.inputs) > first and node.inputs[first] in longs)
