"""Rules on sizes: operators that look at a picture through windows, or draw it at another size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from engine.graph_nodes import Given, Rule, Shape, axis_of, paired


def _windows(given: Given, sizes: Shape, kernel: Sequence[int]) -> Shape:
    """How often a window fits, per axis."""
    rank = len(sizes)
    steps = given.numbers("strides", [1] * rank, 1)
    dilations = given.numbers("dilations", [1] * rank, 1)
    pads, auto = given.numbers("pads", [0] * 2 * rank), given.text("auto_pad", "NOTSET")
    found = []
    for k, size in enumerate(sizes):
        if auto.startswith("SAME"):
            found.append(-(-size // steps[k]))
            continue
        around = 0 if auto == "VALID" else pads[k] + pads[k + rank]
        room = size + around - dilations[k] * (kernel[k] - 1) - 1
        found.append(max(0, (-(-room // steps[k]) if given.number("ceil_mode", 0) else room // steps[k]) + 1))
    return tuple(found)


def _conv(given: Given) -> list[Shape]:
    picture, weight = given(0), given(1)
    return [(picture[0], weight[0], *_windows(given, picture[2:], weight[2:]))]


def _pool(given: Given) -> list[Shape]:
    picture = given(0)
    return [(*picture[:2], *_windows(given, picture[2:], given.numbers("kernel_shape", (), 1)))]


def _conv_transpose(given: Given) -> list[Shape]:
    picture, weight = given(0), given(1)
    rank = len(picture) - 2
    channels = weight[1] * given.number("group", 1)
    if stated := given.numbers("output_shape", (), 1):
        return [(picture[0], channels, *stated[-rank:])]
    steps = given.numbers("strides", [1] * rank, 1)
    dilations = given.numbers("dilations", [1] * rank, 1)
    pads, more = given.numbers("pads", [0] * 2 * rank), given.numbers("output_padding", [0] * rank, 0)
    same = given.text("auto_pad", "NOTSET").startswith("SAME")
    sizes = [
        steps[k] * size
        if same
        else steps[k] * (size - 1)
        + more[k]
        + dilations[k] * (weight[2 + k] - 1)
        + 1
        - pads[k]
        - pads[k + rank]
        for k, size in enumerate(picture[2:])
    ]
    return [(picture[0], channels, *(max(0, size) for size in sizes))]


def _global_pool(given: Given) -> list[Shape]:
    return [(*given(0)[:2], *[1] * (len(given(0)) - 2))]


def _grid_sample(given: Given) -> list[Shape]:
    return [(*given(0)[:2], *given(1)[1:-1])]


def _four(shape: Shape) -> tuple[int, int, int, int]:
    if len(shape) != 4:
        raise IndexError(shape)
    return shape[0], shape[1], shape[2], shape[3]


def _block(given: Given) -> int:
    block = given.number("blocksize", 0)
    if block < 1:
        raise IndexError(block)
    return block


def _depth_to_space(given: Given) -> list[Shape]:
    (n, channels, height, width), block = _four(given(0)), _block(given)
    return [(n, -(-channels // block**2), height * block, width * block)]


def _space_to_depth(given: Given) -> list[Shape]:
    (n, channels, height, width), block = _four(given(0)), _block(given)
    return [(n, channels * block**2, -(-height // block), -(-width // block))]


def _resize(given: Given) -> list[Shape]:
    shape = given(0)
    axes = [axis_of(axis, len(shape)) for axis in given.numbers("axes", range(len(shape)))]
    found = list(shape)
    if given.has(3):
        wanted = given.stated(3)
        if given.text("keep_aspect_ratio_policy", "stretch") != "stretch":
            scale = max(size / max(1, shape[axis]) for axis, size in paired(axes, wanted))
            wanted = [math.ceil(scale * shape[axis]) for axis in axes]
    else:
        wanted = [math.floor(shape[axis] * scale) for axis, scale in paired(axes, given.scales(2))]
    for axis, size in paired(axes, wanted):
        found[axis] = size
    return [tuple(found)]


WINDOWS: Final[Mapping[str, Rule]] = {
    "AveragePool": _pool, "Conv": _conv, "ConvTranspose": _conv_transpose, "DepthToSpace": _depth_to_space,
    "GlobalAveragePool": _global_pool, "GridSample": _grid_sample, "MaxPool": _pool, "Resize": _resize,
    "SpaceToDepth": _space_to_depth,
}  # fmt: skip
"""By operator."""
