"""GeoGAN's frame graphs: `frame` brings one donor's attribute, `frame_removal` takes the face's own away.

What engine/generators/geogan does between the network and the frame: the maps steadied over time, the donor's light
brought to the face's, the donor sampled from its own pixels, the place of a removal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from engine.bundle import GraphInfo, Parameters, PortInfo
from engine.generators.frame_limits import DONOR_SIDE
from engine.generators.geogan import generator as live
from export.frame import pieces
from export.frame.graph import Written, finished
from export.frame.nodes import Nodes, Value
from export.frame.over_time import light, passed, steadied


def write(
    infos: Mapping[str, GraphInfo], files: Mapping[str, bytes], parameters: Parameters
) -> dict[str, Written]:
    """Both, the second where the bundle has a network for it."""
    graphs = {"frame": _bring(infos, files, parameters.crop.size)}
    if "removal" in files:
        graphs["frame_removal"] = _remove(infos, files, parameters.crop.size)
    return graphs


class _Grid(NamedTuple):
    """Where each pixel of the square is, x and y (1, 1, S, S), and pixels per grid unit of a flow."""

    x: Value
    y: Value
    reach: float


def _grid(graph: Nodes, size: int) -> _Grid:
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return _Grid(graph.constant(x[None, None]), graph.constant(y[None, None]), 0.5 * (size - 1))


def _bring(infos: Mapping[str, GraphInfo], files: Mapping[str, bytes], size: int) -> Written:
    graph, transfer = Nodes(), infos["transfer"]
    frame = pieces.begin(graph)
    dt = passed(graph)
    given = graph.input(transfer.input("donor")).cast("float32")
    shares = {port.name: graph.input(port) for port in transfer.inputs if port.name not in ("image", "donor")}
    held = graph.input(PortInfo("square", (1, DONOR_SIDE, DONOR_SIDE, 3), "uint8", (0.0, 255.0)))
    side = graph.input(PortInfo("square_side", (1,), "float32", (float(size), float(DONOR_SIDE)))).shaped(
        -1, 1, 1, 1
    )
    square = pieces.cut(graph, frame, size)
    entry = {"image": square.as_port(), "donor": given} | shares
    answer = graph.network(files["transfer"], "transfer", entry)
    raw = graph.joined(answer["flow"], answer["mask"], answer["residual"])
    maps, lasting = steadied(graph, raw, dt, (6, size, size))
    factors, lit = _tone(graph, maps, square, given.turned(0, 3, 1, 2), dt, size)
    place = pieces.placed(frame)
    here = pieces.at(graph, graph.joined(maps, pieces.open_share(square, size)), place, size)
    share = here.channels(2, 3) * here.channels(6, 7)
    donor = _from_donor(graph, held.cast("float32").turned(0, 3, 1, 2), side, place, here, size)
    top = factors * (donor + 127.5 * here.channels(3, 6))
    pieces.finish(graph, frame, top, share, (*answer.values(), lasting, lit))
    return finished(graph, "frame")


def _from_donor(graph: Nodes, held: Value, side: Value, place: pieces.Place, here: Value, size: int) -> Value:
    """The donor's levels (B, 3, H, W) where the flow finds them, from the `side` pixels a side that are in use."""
    grown, reach = side / float(size), 0.5 * (size - 1)

    def found(start: Value, flow: Value) -> Value:
        pixel = (start + reach * flow + 0.5) * grown - 0.5
        inside = graph.op("Min", graph.op("Max", pixel, 0.0), side - 1.0)
        return inside * (2.0 / (DONOR_SIDE - 1)) - 1.0

    flow = here.channels(0, 2).turned(0, 2, 3, 1)  # (B, H, W, 2)
    x, y = (_last(graph, flow, axis) for axis in (0, 1))
    return graph.sampled(held, graph.joined(found(place.u, x), found(place.v, y), axis=3))


def _last(graph: Nodes, values: Value, index: int) -> Value:
    """Of (.., N), one of the last axis, which stays."""
    bounds = (np.array([index], np.int64), np.array([index + 1], np.int64))
    return graph.op("Slice", values, *bounds, np.array([3], np.int64))


def _warped(graph: Nodes, picture: Value, flow: Value, grid: _Grid, padding: str) -> Value:
    """The picture (B, C, S, S) at identity + flow."""
    x, y = grid.x + grid.reach * flow.channels(0, 1), grid.y + grid.reach * flow.channels(1, 2)
    both = graph.joined(x, y) * (1.0 / grid.reach) - 1.0
    return graph.sampled(picture, both.turned(0, 2, 3, 1), padding)


def _tone(
    graph: Nodes, maps: Value, square: pieces.Square, donor: Value, dt: Value, size: int
) -> tuple[Value, Value]:
    """What the donor's levels are multiplied by, and what lasts: engine/generators/geogan/tone.py."""
    warped = _warped(graph, donor, maps, _grid(graph, size), "border").level()
    laid = (warped + 127.5 * maps.channels(3, 6)).clip(0.0, 255.0)
    return light(graph, maps.channels(2, 3), square.picture, laid, dt)


def _remove(infos: Mapping[str, GraphInfo], files: Mapping[str, bytes], size: int) -> Written:
    graph = Nodes()
    frame = pieces.begin(graph)
    dt = passed(graph)
    reference = graph.input(PortInfo("reference", (1, size, size, 3), "uint8", (0.0, 255.0)))
    own = graph.input(PortInfo("own_reference", (1,), "float32", (0.0, 1.0))).shaped(-1, 1, 1, 1)
    square = pieces.cut(graph, frame, size)
    image = square.as_port()
    face = graph.where(graph.op("Greater", own, 0.5), image, reference.cast("float32"))
    shares = graph.network(files["donor"], "donor", {"image": image})
    layer = graph.network(files["transfer"], "transfer", {"image": face, "donor": image} | shares)
    sampled = _warped(graph, layer["mask"], layer["flow"] * -1.0, _grid(graph, size), "zeros")
    place_of = sampled.clip(0.0, 1.0)
    answer = graph.network(files["removal"], "removal", {"image": image, "mask": place_of})
    before = square.picture / 127.5 - 1.0
    change, lasting = steadied(graph, answer["image_out"] - before, dt, (3, size, size))
    maps = graph.joined(
        change, _changed(graph, change) * _around(graph, place_of, size) * pieces.open_share(square, size)
    )
    here = pieces.at(graph, maps, pieces.placed(frame), size)
    top = frame.levels + 127.5 * here.channels(0, 3)
    answers = (layer["flow"], layer["mask"], answer["image_out"], lasting)
    pieces.finish(graph, frame, top, here.channels(3, 4), answers)
    return finished(graph, "frame_removal")


def _changed(graph: Nodes, change: Value) -> Value:
    """How far a pixel is changed enough to be shown, (B, 1, S, S)."""
    apart = graph.op("Abs", change)
    most = graph.op("Max", *(apart.channels(channel, channel + 1) for channel in range(3)))
    moved = _blurred(graph, most, 3)
    return ((moved - live.PLAIN) / (live.CHANGED - live.PLAIN)).clip(0.0, 1.0)


def _around(graph: Nodes, mask: Value, size: int) -> Value:
    """The attribute's place and what lies next to it, (B, 1, S, S)."""
    near, soft = live.reach_of_place(size)
    wide = graph.op("MaxPool", mask, kernel_shape=[near, near], pads=[near // 2] * 4, strides=[1, 1])
    return (_blurred(graph, wide, soft) / live.SURE).clip(0.0, 1.0)


def _blurred(graph: Nodes, plane: Value, side: int) -> Value:
    """cv2.blur: the mean over side x side pixels, mirrored at the border without repeating its pixels."""
    edge = side // 2
    pads = np.array([0, 0, edge, edge, 0, 0, edge, edge], np.int64)
    padded = graph.op("Pad", plane, pads, mode="reflect")
    return graph.op("AveragePool", padded, kernel_shape=[side, side], strides=[1, 1])
