"""MediaPipe's own TFLite operators as ONNX nodes (version 2 of each, as its attention mesh uses them).

A region is found from landmarks, features are sampled in it, and points found there are carried back:

- Landmarks2TransformMatrix gives T, a 4 x 4 matrix from output pixels to input pixels. Only its upper 2 x 3
  part says something, so that is all that is computed here: T = [A S | c - A S (w, h) / 2], where A turns by
  minus the region's rotation r, S scales the box of the turned points to the output, and c is the middle of
  that box turned back. A is linear in cos r and sin r, and those are the direction between two landmarks over
  its length: no arc tangent is needed.
- TransformTensorBilinear samples at T (x + .5, y + .5) - .5, bilinear, and gives 0 wherever that point is
  outside.
- TransformLandmarks applies T to x and y, and leaves z alone.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from flatbuffers import flexbuffers

from engine.errors import ModelError
from export.tflite.arithmetic import Rule
from export.tflite.emitter import Emitter, Site, Value

_TINY = 1e-12


def _attributes(site: Site, *names: str) -> dict[str, Any]:
    """The operator's flexbuffer, with the keys that it has to have."""
    try:
        found = flexbuffers.Loads(site.operator.custom)
        return {name: found[name] for name in names}
    except (KeyError, IndexError, ValueError, TypeError, struct.error) as error:
        raise ModelError(f"{site.operator.name}: options damaged or without {names} ({error})") from error


def landmarks_to_transform_matrix(site: Site) -> None:
    """Landmarks (1, n, 3) to the transform of their region."""
    keys = ("left_rotation_idx", "right_rotation_idx", "subset_idxs", "scale_x", "scale_y")
    options = _attributes(site, *keys, "output_width", "output_height", "target_rotation_radians")
    emitter = site.emitter
    xy = np.array(options["subset_idxs"])[:, None] * 3 + np.arange(2)
    ends = np.array([options["left_rotation_idx"], options["right_rotation_idx"]])[:, None] * 3 + np.arange(2)
    flat = emitter.reshape(emitter.native(site.inputs[0]), (-1,))
    points = emitter.node("Gather", [flat, emitter.constant(xy.astype(np.int64), "indices")], axis=0)
    pair = emitter.node("Gather", [flat, emitter.constant(ends.astype(np.int64), "indices")], axis=0)
    turn = _turn(emitter, pair, float(options["target_rotation_radians"]))
    scale = np.array(
        [[options["scale_x"] / options["output_width"], options["scale_y"] / options["output_height"]]]
    )
    half = np.array([[options["output_width"] / 2], [options["output_height"] / 2]], np.float32)
    matrix = _region(emitter, points, turn, scale.astype(np.float32), half)
    emitter.values[site.output] = Value(affine=matrix)


def _turn(emitter: Emitter, pair: str, target: float) -> str:
    """A = [[cos r, sin r], [-sin r, cos r]] with r = target - angle(pair), from two points (2, 2)."""
    direction = emitter.node("MatMul", [emitter.constant(np.array([[-1, 1]], np.float32)), pair])
    length = emitter.node("ReduceL2", [direction], axes=[1], keepdims=1)
    length = emitter.node("Max", [length, emitter.constant(np.array([[_TINY]], np.float32))])
    unit = emitter.node("Div", [direction, length])
    cos, sin = np.cos(target), np.sin(target)
    mixing = np.array([[cos, sin, -sin, cos], [sin, -cos, cos, sin]], np.float32)
    return emitter.reshape(emitter.node("MatMul", [unit, emitter.constant(mixing)]), (2, 2))


def _region(emitter: Emitter, points: str, turn: str, scale: Any, half: Any) -> str:
    """T (2, 3) of the box around points (n, 2) turned by r; rows times A turn by r, A times columns turns
    back.
    """
    turned = emitter.node("MatMul", [points, turn])
    high = emitter.node("ReduceMax", [turned], axes=[0], keepdims=1)
    low = emitter.node("ReduceMin", [turned], axes=[0], keepdims=1)
    steps = emitter.node("Mul", [emitter.node("Sub", [high, low]), emitter.constant(scale)])
    middle = emitter.node(
        "Mul", [emitter.node("Add", [high, low]), emitter.constant(np.array(0.5, np.float32))]
    )
    linear = emitter.node("Mul", [turn, steps])
    centre = emitter.node("MatMul", [turn, emitter.reshape(middle, (2, 1))])
    corner = emitter.node("Sub", [centre, emitter.node("MatMul", [linear, emitter.constant(half)])])
    return emitter.node("Concat", [linear, corner], axis=1)


def scale_affine(site: Site) -> bool:
    """MUL of a transform by a constant 4 x 4 of factors. False when neither input is a transform."""
    emitter = site.emitter
    transforms = [index for index in site.inputs if emitter.is_affine(index)]
    if not transforms:
        return False
    others = [index for index in site.inputs if index not in transforms]
    factors = emitter.given(others[0], "factors of a transform").reshape(4, 4)[:2][:, [0, 1, 3]]
    name = emitter.node("Mul", [emitter.affine(transforms[0]), emitter.constant(factors)])
    emitter.values[site.output] = Value(affine=name)
    return True


def transform_tensor_bilinear(site: Site) -> None:
    """Features (1, h, w, c) sampled under a transform."""
    emitter = site.emitter
    _, height, width, _ = emitter.shape(site.inputs[0])
    _, rows, columns, _ = site.shape
    y, x = np.mgrid[:rows, :columns].reshape(2, -1) + 0.5
    places = emitter.constant(np.stack([x, y, np.ones_like(x)], 1).astype(np.float32), "places")
    factor = 2 / (np.array([width, height], np.float32) - 1)
    back = emitter.node("Transpose", [emitter.affine(site.inputs[1])], perm=(1, 0))
    sampled = emitter.node("MatMul", [places, back])
    grid = emitter.node("Mul", [sampled, emitter.constant(factor)])
    grid = emitter.node("Sub", [grid, emitter.constant((0.5 * factor + 1).astype(np.float32))])
    grid = emitter.reshape(_outside_far_away(emitter, grid), (1, rows, columns, 2))
    name = emitter.node(
        "GridSample",
        [emitter.nchw(site.inputs[0]), grid],
        mode="bilinear",
        padding_mode="zeros",
        align_corners=1,
    )
    emitter.set_nchw(site.output, name)


def _outside_far_away(emitter: Emitter, grid: str) -> str:
    """Sends places beyond -1 .. 1 so far out that padding, and not a mixture with the border, is what they
    get.
    """
    one, far = (emitter.constant(np.array(value, np.float32)) for value in (1.0, 3.0))
    outside = emitter.node("Greater", [emitter.node("Abs", [grid]), one])
    return emitter.node("Where", [outside, far, grid])


def transform_landmarks(site: Site) -> None:
    """Points (1, n, 2) or (1, n, 3) carried by a transform."""
    emitter = site.emitter
    dimensions = site.shape[2]
    source = emitter.native(site.inputs[0])
    matrix = emitter.affine(site.inputs[1])
    split = emitter.constant(np.array([2, 1], np.int64), "sizes")
    linear, corner = emitter.split("Split", [matrix, split], 2, axis=1)
    depth = []
    if dimensions == 3:
        source, z = emitter.split("Split", [source, split], 2, axis=2)
        depth = [z]
    places = emitter.node("MatMul", [source, emitter.node("Transpose", [linear], perm=(1, 0))])
    moved = emitter.node("Add", [places, emitter.reshape(corner, (1, 1, 2))])
    emitter.set_native(site.output, emitter.node("Concat", [moved, *depth], axis=2) if depth else moved)


def convolution_2d_transpose_bias(site: Site) -> None:
    """A transposed convolution; options are three int32: padding (1 = SAME), stride across, stride down."""
    emitter = site.emitter
    padding, across, down = struct.unpack_from("<3i", site.operator.custom)
    weights = emitter.given(site.inputs[1], "weights").transpose(3, 0, 1, 2)
    _, height, width, _ = emitter.shape(site.inputs[0])
    total = [
        max(0, size - (places - 1) % stride - 1) if padding == 1 else 0
        for size, places, stride in zip(weights.shape[2:], (height, width), (down, across), strict=True)
    ]
    before = [amount // 2 for amount in total]
    after = [amount - amount // 2 for amount in total]
    bias = emitter.constant(emitter.given(site.inputs[2], "bias"), "bias")
    name = emitter.node(
        "ConvTranspose",
        [emitter.nchw(site.inputs[0]), emitter.constant(weights, "weights"), bias],
        kernel_shape=weights.shape[2:],
        strides=(down, across),
        pads=(*before, *after),
    )
    emitter.set_nchw(site.output, name)


RULES: Final[dict[tuple[str, int], Rule]] = {
    ("Landmarks2TransformMatrix", 2): landmarks_to_transform_matrix,
    ("TransformTensorBilinear", 2): transform_tensor_bilinear,
    ("TransformLandmarks", 2): transform_landmarks,
    ("Convolution2DTransposeBias", 1): convolution_2d_transpose_bias,
}
"""By the operator's name and version."""
