"""A Liquid Warping bundle of closed forms.

source: values_0 = filled, keys_0 the same        background: the picture where it is known, GREY elsewhere
generator: colour = the last source's values through its flow, mask = the condition's background, or as asked for
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.engine.bundle_files import _FLOAT, _Graph, _parameters, write_bundle

SIZE = 64
GREY = 0.25
"""What the background network answers for what it does not see, -1..1."""


def warp_graphs(size: int, sources: int, mask: float | None, broken: bool) -> dict[str, Any]:
    """By name. mask: the same everywhere, where one is asked for. broken: colours are NaN."""
    plane = [1, 3, size, size]
    source = _Graph()
    source.add("Mul", ["condition", source.constant("trace", 1e-9)], "traced")
    source.add("Add", ["filled", "traced"], "values_0")
    outputs = {"values_0": plane}
    if sources > 1:
        source.add("Identity", ["values_0"], "keys_0")
        outputs["keys_0"] = plane
    behind = _Graph()
    ends = [
        behind.constant(name, [value], np.int64) for name, value in (("a", 0), ("b", 3), ("c", 4), ("d", 1))
    ]
    behind.add("Slice", ["image", ends[0], ends[1], ends[3]], "seen")
    behind.add("Slice", ["image", ends[1], ends[2], ends[3]], "known")
    behind.add("Mul", ["known", behind.constant("grey", GREY)], "taken")
    behind.add("Sub", ["seen", "taken"], "less")
    behind.add("Add", ["less", "grey"], "background")
    return {
        "source": source.model({"filled": (_FLOAT, plane), "condition": (_FLOAT, plane)}, outputs),
        "background": behind.model({"image": (_FLOAT, [1, 4, size, size])}, {"background": plane}),
        "generator": _generator(size, sources, mask, broken),
    }


def _generator(size: int, sources: int, mask: float | None, broken: bool) -> Any:
    graph = _Graph()
    names = ["values_0"] if sources == 1 else ["values_0", "keys_0"]
    last, one = graph.constant("last", sources - 1, np.int64), graph.constant("axis", [1], np.int64)
    graph.add("Gather", ["values_0", last], "value", axis=1)
    graph.add("Gather", ["flow", last], "grid", axis=1)
    graph.add(
        "GridSample", ["value", "grid"], "sampled", mode="bilinear", padding_mode="zeros", align_corners=0
    )
    total = graph.mean("target", "mean")
    for name in names[1:]:
        graph.add("Gather", [name, last], f"{name}_last", axis=1)
        graph.add("Add", [total, graph.mean(f"{name}_last", f"{name}_mean")], f"{name}_sum")
        total = f"{name}_sum"
    graph.add("Mul", [total, graph.constant("nothing", 0.0)], "nil")
    if broken:
        graph.add("Div", ["nil", "nil"], "nan")
        graph.add("Add", ["sampled", "nan"], "colour")
    else:
        graph.add("Add", ["sampled", "nil"], "colour")
    graph.add(
        "Slice",
        ["target", graph.constant("from", [5], np.int64), graph.constant("to", [6], np.int64), one],
        "out",
    )
    if mask is None:
        graph.add("Identity", ["out"], "mask")
    else:
        graph.add("Mul", ["out", graph.constant("never", 0.0)], "blank")
        graph.add("Add", ["blank", graph.constant("asked", mask)], "mask")
    inputs = {"target": (_FLOAT, [1, 6, size, size]), "flow": (_FLOAT, [1, sources, size, size, 2])}
    inputs |= {name: (_FLOAT, [1, sources, 3, size, size]) for name in names}
    return graph.model(inputs, {"colour": [1, 3, size, size], "mask": [1, 1, size, size]})


def person_graph(pictures: Sequence[np.ndarray]) -> Any:
    """What holds the pictures (H, W, 3) of a bundle's own person: shown * picture, for each."""
    graph = _Graph()
    graph.add("Reshape", ["shown", graph.constant("one", [1, 1, 1, 1], np.int64)], "factor")
    outputs = {}
    for number, rgb in enumerate(pictures):
        name = f"picture_{number}"
        graph.add("Mul", ["factor", graph.constant(f"{name}_is", rgb[None], np.float32)], name)
        outputs[name] = [1, *rgb.shape]
    return graph.model({"shown": (_FLOAT, [1, 1])}, outputs)


def write_warp(
    folder: Path,
    size: int = SIZE,
    *,
    sources: int = 2,
    mask: float | None = None,
    broken: bool = False,
    rule: str = "bust",
    facts: Mapping[str, Any] | None = None,
    person: Sequence[np.ndarray] = (),
    **manifest: Any,
) -> Path:
    """The bundle in `folder`, which is made. facts: in place of those that the exporter states. person: pictures of the
    one that it holds."""
    stated = {"sources": sources, "mesh": "face", "background_erosion": 3, "blocks": 1, "texture": size}
    parameters = _parameters(rule, size, [], None, None, ["puppet"]) | {"facts": stated | dict(facts or {})}
    graphs = warp_graphs(size, sources, mask, broken)
    if person:
        graphs["person"] = person_graph(person)
    return write_bundle(folder, "liquid_warping", graphs, parameters, **manifest)
