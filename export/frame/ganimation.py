"""GANimation's frame graph: engine/generators/ganimation/paint.py for every pixel of the frame."""

from __future__ import annotations

from collections.abc import Mapping

from engine.bundle import GraphInfo, Parameters
from engine.generators.ganimation.paint import OTHER, SAME
from export.frame import pieces
from export.frame.graph import Written, finished
from export.frame.nodes import Nodes, Value


def write(
    infos: Mapping[str, GraphInfo], files: Mapping[str, bytes], parameters: Parameters
) -> dict[str, Written]:
    """`frame`: a portrait or a driver's frame, and action units, to the frame with another face in it."""
    graph, size = Nodes(), parameters.crop.size
    frame = pieces.begin(graph)
    aus = graph.input(infos["generator"].input("aus"))
    square = pieces.cut(graph, frame, size)
    answer = graph.network(files["generator"], "generator", {"image": square.as_port(), "aus": aus})
    colour, attention = answer["colour"], answer["attention"]
    level = (127.5 * colour + 127.5).clip(0.0, 255.0)
    maps = graph.joined(
        (1.0 - attention) * pieces.open_share(square, size),
        _grain(graph, level, square.picture),
        level,
        square.picture,
    )
    here = pieces.at(graph, maps, pieces.placed(frame), size)
    top = here.channels(2, 5) + here.channels(1, 2) * (frame.levels - here.channels(5, 8))
    pieces.finish(graph, frame, top, here.channels(0, 1), (colour, attention))
    return {"frame": finished(graph, "frame")}


def _grain(graph: Nodes, level: Value, seen: Value) -> Value:
    """Which share of the frame's own grain stays, (B, 1, S, S)."""
    apart = graph.op("Abs", level - seen)
    most = graph.op("Max", *(apart.channels(channel, channel + 1) for channel in range(3)))
    share = ((OTHER - most) / (OTHER - SAME)).clip(0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)
