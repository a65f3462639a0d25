"""An enrolled STIT bundle of closed forms.

e4e: every row of ws is the mean colour of the crop, -1..1      parsing: skin on a disc, background around it
moving: as export/enrol/moving.py says, with PERSON and two directions, and not a number above POISON of `warm`
synthesis: the mean of the rows on every pixel
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.engine.bundle_files import _BYTE, _FLOAT, _Graph, _parameters, write_bundle

SIZE, ENCODER, ROWS = 64, 32, 4
PERSON = (0.2, -0.4, 0.6)
POISON = 3.0
DIRECTIONS = ((0.5, 0.0, 0.0), (0.0, 0.0, -0.5))
DISC = 0.25
"""Radius of the disc, of the crop's side."""


def stit_graphs(size: int, outputs: Sequence[int], parser: bool, directions: Any) -> dict[str, Any]:
    """By name."""
    e4e = _Graph()
    e4e.picture("image", "seen")
    e4e.add("ReduceMean", ["seen"], "mean", axes=[2, 3], keepdims=0)
    e4e.add("Reshape", ["mean", e4e.constant("row", [1, 1, 3], np.int64)], "one")
    e4e.add("Expand", ["one", e4e.constant("rows", [1, ROWS, 3], np.int64)], "ws")
    found = {
        "e4e": e4e.model({"image": (_BYTE, [1, ENCODER, ENCODER, 3])}, {"ws": [1, ROWS, 3]}),
        "moving": _moving(np.asarray(directions, np.float32)),
    }
    for side in outputs:
        graph = _Graph()
        graph.add("ReduceMean", ["ws"], "mean", axes=[1], keepdims=0)
        graph.spread("mean", "image", [1, 3, side, side])
        name = "synthesis" if side == size else f"synthesis_{side}"
        found[name] = graph.model({"ws": (_FLOAT, [1, ROWS, 3])}, {"image": [1, 3, side, side]})
    if parser:
        found["parsing"] = _parsing(size)
    return found


def _moving(directions: np.ndarray) -> Any:
    graph, codes = _Graph(), [1, ROWS, 3]
    graph.add("Mul", ["strengths", graph.constant("half", 0.5)], "halves")
    graph.add("MatMul", ["halves", graph.constant("directions", directions)], "flat")
    graph.add("Reshape", ["flat", graph.constant("row", [1, 1, 3], np.int64)], "offset")
    graph.add("Sub", [graph.constant("person", np.reshape(PERSON, (1, 1, 3))), "neutral"], "other")
    graph.add("Reshape", ["puppet", graph.constant("single", [1, 1, 1], np.int64)], "share")
    graph.add("Mul", ["other", "share"], "exchanged")
    graph.add("Add", ["ws", "exchanged"], "shifted")
    first = np.zeros((len(directions), 1), np.float32)
    first[0] = -1.0
    graph.add("MatMul", ["strengths", graph.constant("first", first)], "minus")
    graph.add("Add", ["minus", graph.constant("poison", POISON)], "left")
    graph.add("Sqrt", ["left"], "root")  # not a number above POISON
    graph.add("Mul", ["root", graph.constant("nothing", 0.0)], "speck")
    graph.add("Add", ["shifted", "offset"], "sum")
    graph.add("Add", ["sum", "speck"], "moved")
    inputs = {
        "ws": (_FLOAT, codes),
        "strengths": (_FLOAT, [1, len(directions)]),
        "neutral": (_FLOAT, codes),
        "puppet": (_FLOAT, [1, 1]),
    }
    return graph.model(inputs, {"moved": codes})


def _parsing(size: int) -> Any:
    graph = _Graph()
    y, x = np.mgrid[:size, :size] - 0.5 * (size - 1)
    logits = np.zeros((1, 19, size, size), np.float32)
    logits[0, 1] = np.where(np.hypot(x, y) <= DISC * size, 1.0, -1.0)
    graph.picture("image", "seen")
    graph.mean("seen", "level")
    graph.add("Mul", ["level", graph.constant("nothing", 0.0)], "nil")
    graph.add("Add", [graph.constant("disc", logits), "nil"], "logits")
    return graph.model({"image": (_BYTE, [1, size, size, 3])}, {"logits": list(logits.shape)})


def write_stit(
    folder: Path,
    size: int = SIZE,
    *,
    outputs: Sequence[int] = (SIZE, SIZE // 2),
    parser: bool = True,
    directions: Any = DIRECTIONS,
    without: Sequence[str] = (),
    facts: Any = None,
    **manifest: Any,
) -> Path:
    """The bundle in `folder`, which is made, with the edits `warm` and `blue`. without: graphs that are left out.
    facts: in place of those that an enrolment states."""
    stated = {
        "outputs": list(outputs),
        "edits": ["warm", "blue"],
        "edits_low": [-2.0, -1.0],
        "edits_high": [4.0, 1.0],
        "alignment_scale": 1.0,
    }
    if parser:
        stated["classes"] = "bisenet"
    parameters = _parameters("celeba-hq", size, [], None, None, ["edit", "puppet"])
    parameters["facts"] = stated | (facts or {})
    graphs = stit_graphs(size, outputs, parser, directions)
    kept = {name: graph for name, graph in graphs.items() if name not in without}
    return write_bundle(folder, "stit", kept, parameters, **manifest)
