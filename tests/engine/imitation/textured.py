"""A bundle for bodies whose network shows the texture at the mesh's places: what mesh and pictures do without a trained
one. docs/benchmarks/2026-11-22-body.md looks at it.

    python -m tests.engine.imitation.textured FOLDER [--size 384] [--sources 2] [--person PICTURE]...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.generators.liquid_warping.own import LONGEST_SIDE
from engine.media import read_picture, resize_within
from tests.engine.bundle_files import _FLOAT, _Graph, _parameters, write_bundle
from tests.engine.warp_files import person_graph, warp_graphs


def _generator(size: int, sources: int) -> Any:
    graph = _Graph()
    axis = graph.constant("axis", [1], np.int64)
    ends = [graph.constant(name, [at], np.int64) for name, at in (("a", 0), ("b", 3), ("c", 5), ("d", 6))]
    graph.add("Slice", ["target", ends[0], ends[1], axis], "texture")
    graph.add("Slice", ["target", ends[2], ends[3], axis], "mask")
    first = graph.constant("first", 0, np.int64)
    names = ["values_0"] if sources == 1 else ["values_0", "keys_0"]
    total = graph.mean("target", "total")
    for name in ("flow", *names):
        graph.add("Gather", [name, first], f"{name}_first", axis=1)
        graph.add("Add", [total, graph.mean(f"{name}_first", f"{name}_mean")], f"{name}_sum")
        total = f"{name}_sum"
    graph.add("Mul", [total, graph.constant("nothing", 0.0)], "nil")
    graph.add("Add", ["texture", "nil"], "colour")
    inputs = {"target": (_FLOAT, [1, 6, size, size]), "flow": (_FLOAT, [1, sources, size, size, 2])}
    inputs |= {name: (_FLOAT, [1, sources, 3, size, size]) for name in names}
    return graph.model(inputs, {"colour": [1, 3, size, size], "mask": [1, 1, size, size]})


def write_textured(folder: Path, size: int, sources: int, person: Sequence[np.ndarray] = ()) -> Path:
    """The bundle in `folder`, which is made. person: pictures (H, W, 3) of the one that it holds."""
    facts = {
        "sources": sources, "mesh": "smpl", "background_erosion": 5, "blocks": 1, "texture": 2 * size,
    }  # fmt: skip
    graphs = warp_graphs(size, sources, None, False) | {"generator": _generator(size, sources)}
    if person:
        graphs["person"] = person_graph(person)
    parameters = _parameters("box", size, [], None, None, ["puppet"]) | {"facts": facts}
    return write_bundle(folder, "liquid_warping", graphs, parameters)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--sources", type=int, default=2)
    parser.add_argument("--person", type=Path, action="append", default=[])
    asked = parser.parse_args()
    held = [resize_within(read_picture(path), LONGEST_SIDE) for path in asked.person]
    print(write_textured(asked.folder, asked.size, asked.sources, held))
