"""TFLite's built-in operators as ONNX nodes. Option fields carry the numbers of the public schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from engine.errors import ModelError
from export.tflite.emitter import Array, Emitter, Shape, Site

Rule = Callable[[Site], None]


def _same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after along one axis, TensorFlow's SAME: the odd one goes behind."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _pads(site: Site, kernel: Shape, strides: Shape, dilations: Shape = (1, 1)) -> Shape:
    """ONNX pads (top, left, bottom, right) of a window operator whose padding kind is option 0."""
    if site.small(0):
        return (0, 0, 0, 0)
    _, height, width, _ = site.emitter.shape(site.inputs[0])
    top, bottom = _same_padding(height, kernel[0], strides[0], dilations[0])
    left, right = _same_padding(width, kernel[1], strides[1], dilations[1])
    return (top, left, bottom, right)


def _convolve(site: Site, weights: Array, group: int, activation: int, dilations: Shape) -> None:
    emitter = site.emitter
    strides = (site.integer(2, 1), site.integer(1, 1))
    kernel = (weights.shape[2], weights.shape[3])
    source, waiting = emitter.unpadded(site.inputs[0])
    pads = tuple(a + b for a, b in zip(_pads(site, kernel, strides, dilations), waiting, strict=True))
    inputs = [source, emitter.constant(weights, "weights")]
    if len(site.inputs) > 2 and site.inputs[2] >= 0:
        inputs.append(emitter.constant(emitter.given(site.inputs[2], "bias"), "bias"))
    name = emitter.node(
        "Conv", inputs, kernel_shape=kernel, strides=strides, pads=pads, dilations=dilations, group=group
    )
    emitter.set_nchw(site.output, emitter.activated(name, activation))


def conv_2d(site: Site) -> None:
    """Weights come as (out, height, width, in)."""
    weights = site.emitter.given(site.inputs[1], "weights").transpose(0, 3, 1, 2)
    group = site.emitter.shape(site.inputs[0])[3] // weights.shape[1]
    _convolve(site, weights, group, site.small(3), (site.integer(5, 1), site.integer(4, 1)))


def depthwise_conv_2d(site: Site) -> None:
    """Weights come as (1, height, width, channels x multiplier)."""
    weights = site.emitter.given(site.inputs[1], "weights").transpose(3, 0, 1, 2)
    group = site.emitter.shape(site.inputs[0])[3]
    _convolve(site, weights, group, site.small(4), (site.integer(6, 1), site.integer(5, 1)))


def max_pool_2d(site: Site) -> None:
    """Padding never wins a maximum, in ONNX as in TFLite."""
    _pool(site, "MaxPool")


def average_pool_2d(site: Site) -> None:
    """The mean is over real pixels only, padding is not counted."""
    kernel = (site.integer(4), site.integer(3))
    if kernel == site.emitter.shape(site.inputs[0])[1:3] and site.shape[1:3] == (1, 1):
        name = site.emitter.node("GlobalAveragePool", [site.emitter.nchw(site.inputs[0])])
        site.emitter.set_nchw(site.output, site.emitter.activated(name, site.small(5)))
    else:
        _pool(site, "AveragePool")


def _pool(site: Site, kind: str) -> None:
    strides = (site.integer(2, 1), site.integer(1, 1))
    kernel = (site.integer(4), site.integer(3))
    source = site.emitter.nchw(site.inputs[0])
    pads = _pads(site, kernel, strides)
    name = site.emitter.node(kind, [source], kernel_shape=kernel, strides=strides, pads=pads)
    site.emitter.set_nchw(site.output, site.emitter.activated(name, site.small(5)))


def _broadcast_constant(value: Array) -> Array:
    """A constant in TFLite's trailing-axes order, so that it broadcasts against NCHW."""
    full = value.reshape((1,) * (4 - value.ndim) + value.shape) if value.ndim < 4 else value
    return full.transpose(0, 3, 1, 2)


def _picture_like(site: Site) -> bool:
    """Whether an element-wise operator should run with channels second."""
    computed = [index for index in site.inputs if site.emitter.value_of(index) is None]
    return (
        len(site.shape) == 4
        and all(len(site.emitter.shape(index)) == 4 for index in computed)
        and any(site.emitter.is_nchw(index) for index in computed)
    )


def _elementwise(site: Site, kind: str, activation: int) -> None:
    emitter = site.emitter
    if _picture_like(site):
        names = []
        for index in site.inputs:
            value = emitter.value_of(index)
            names.append(
                emitter.nchw(index)
                if value is None
                else emitter.constant(_broadcast_constant(emitter.given(index, "")))
            )
        emitter.set_nchw(site.output, emitter.activated(emitter.node(kind, names), activation))
    else:
        names = [emitter.native(index) for index in site.inputs]
        emitter.set_native(site.output, emitter.activated(emitter.node(kind, names), activation))


def binary(kind: str, *, fused: bool = True) -> Rule:
    """A rule for an element-wise operator of two inputs, whose option 0 is its fused activation where it has
    one.
    """
    return lambda site: _elementwise(site, kind, site.small(0) if fused else 0)


def unary(kind: str) -> Rule:
    """A rule for an element-wise operator of one input."""
    return lambda site: _elementwise(site, kind, 0)


def relu6(site: Site) -> None:
    """Clipped to 0 .. 6."""
    _forward(site, site.emitter.activated(_followed(site), 3))


def leaky_relu(site: Site) -> None:
    """Option 0 is the slope below zero."""
    slope = float(site.operator.options.number(0, "f"))
    _forward(site, site.emitter.node("LeakyRelu", [_followed(site)], alpha=slope))


def gelu(site: Site) -> None:
    """The input times the normal distribution's integral, by erf."""
    emitter = site.emitter
    source = _followed(site)
    root, half, one = (emitter.constant(np.array(v, np.float32)) for v in (2**0.5, 0.5, 1.0))
    if site.small(0):
        raise ModelError("GELU by its tanh approximation is not converted; only the exact one is")
    wave = emitter.node("Add", [emitter.node("Erf", [emitter.node("Div", [source, root])]), one])
    _forward(site, emitter.node("Mul", [emitter.node("Mul", [source, half]), wave]))


def _followed(site: Site) -> str:
    """The first input in the layout that it already has."""
    index = site.inputs[0]
    return site.emitter.nchw(index) if site.emitter.is_nchw(index) else site.emitter.native(index)


def _forward(site: Site, name: str) -> None:
    """The result has the layout of the first input."""
    if site.emitter.is_nchw(site.inputs[0]):
        site.emitter.set_nchw(site.output, name)
    else:
        site.emitter.set_native(site.output, name)


def prelu(site: Site) -> None:
    """One slope per channel, as (channels, 1, 1)."""
    slope = _broadcast_constant(site.emitter.given(site.inputs[1], "slope"))[0]
    names = [site.emitter.nchw(site.inputs[0]), site.emitter.constant(slope, "slope")]
    site.emitter.set_nchw(site.output, site.emitter.node("PRelu", names))


def pad(site: Site) -> None:
    """Zeros around pictures wait for the convolution that follows; zeros behind channels are added now."""
    emitter = site.emitter
    amounts = emitter.given(site.inputs[1], "padding").astype(np.int64)
    if len(amounts) != 4:
        pads = emitter.constant(amounts.T.reshape(-1), "pads")
        emitter.set_native(site.output, emitter.node("Pad", [emitter.native(site.inputs[0]), pads]))
    elif not amounts[[0, 3]].any():
        emitter.set_nchw(site.output, emitter.nchw(site.inputs[0]))
        (top, bottom), (left, right) = amounts[1].tolist(), amounts[2].tolist()
        emitter.values[site.output].padding = (top, left, bottom, right)
    else:
        pads = emitter.constant(amounts[[0, 3, 1, 2]].T.reshape(-1), "pads")
        emitter.set_nchw(site.output, emitter.node("Pad", [emitter.nchw(site.inputs[0]), pads]))


def reshape(site: Site) -> None:
    """To the output's own shape, which is static."""
    _restate(site)


def _restate(site: Site) -> None:
    source = site.emitter.native(site.inputs[0])
    same = site.emitter.shape(site.inputs[0]) == site.shape
    site.emitter.set_native(site.output, source if same else site.emitter.reshape(source, site.shape))


def resize_bilinear(site: Site) -> None:
    """TensorFlow's three conventions have the same names in ONNX."""
    corners, half = site.operator.options.flag(2), site.operator.options.flag(3)
    mode = "align_corners" if corners else "half_pixel" if half else "asymmetric"
    _resize(site, coordinate_transformation_mode=mode, mode="linear")


def _resize(site: Site, **attributes: str) -> None:
    emitter = site.emitter
    batch, height, width, channels = site.shape
    size = emitter.constant(np.array([batch, channels, height, width], np.int64), "size")
    name = emitter.node("Resize", [emitter.nchw(site.inputs[0]), "", "", size], **attributes)
    emitter.set_nchw(site.output, name)


def depth_to_space(site: Site) -> None:
    """Channels are read as (row, column, depth)."""
    source = site.emitter.nchw(site.inputs[0])
    name = site.emitter.node("DepthToSpace", [source], blocksize=site.integer(0), mode="DCR")
    site.emitter.set_nchw(site.output, name)


def concatenation(site: Site) -> None:
    """Pictures are joined with channels second."""
    emitter = site.emitter
    axis = site.integer(0) % len(site.shape)
    if _picture_like(site):
        names = [emitter.nchw(index) for index in site.inputs]
        joined = emitter.node("Concat", names, axis=(0, 2, 3, 1)[axis])
        emitter.set_nchw(site.output, emitter.activated(joined, site.small(1)))
    else:
        joined = emitter.node("Concat", [emitter.native(index) for index in site.inputs], axis=axis)
        emitter.set_native(site.output, emitter.activated(joined, site.small(1)))


def reducer(kind: str) -> Rule:
    """A rule for a reduction over constant axes; option 0 keeps them as ones."""

    def rule(site: Site) -> None:
        emitter = site.emitter
        rank = len(emitter.shape(site.inputs[0]))
        axes = np.atleast_1d(emitter.given(site.inputs[1], "axes")) % rank
        keep = int(site.operator.options.flag(0))
        if keep and rank == 4 and emitter.is_nchw(site.inputs[0]):
            places = [int(np.array([0, 2, 3, 1])[axis]) for axis in axes]
            name = _reduce(emitter, kind, emitter.nchw(site.inputs[0]), places, keep)
            emitter.set_nchw(site.output, name)
        else:
            name = _reduce(emitter, kind, emitter.native(site.inputs[0]), [int(axis) for axis in axes], keep)
            emitter.set_native(site.output, name)

    return rule


def _reduce(emitter: Emitter, kind: str, source: str, axes: list[int], keep: int) -> str:
    """ReduceSum takes its axes as an input since opset 13, the others as an attribute up to opset 17."""
    if kind == "ReduceSum":
        return emitter.node(
            kind, [source, emitter.constant(np.array(sorted(axes), np.int64), "axes")], keepdims=keep
        )
    return emitter.node(kind, [source], axes=sorted(axes), keepdims=keep)


def fully_connected(site: Site) -> None:
    """Rows times the transposed weights, leading axes flattened unless option 2 keeps them."""
    emitter = site.emitter
    weights = emitter.given(site.inputs[1], "weights")
    source = emitter.reshape(emitter.native(site.inputs[0]), (-1, weights.shape[1]))
    inputs = [source, emitter.constant(weights, "weights")]
    if len(site.inputs) > 2 and site.inputs[2] >= 0:
        inputs.append(emitter.native(site.inputs[2]))
    name = emitter.activated(emitter.node("Gemm", inputs, transB=1), site.small(0))
    emitter.set_native(site.output, emitter.reshape(name, site.shape) if len(site.shape) != 2 else name)


def strided_slice(site: Site) -> None:
    """A slice by constants; masks mean "from the start", "to the end" and "drop the axis"."""
    emitter = site.emitter
    shape = emitter.shape(site.inputs[0])
    begin, end, step = (emitter.given(index, "bounds").astype(np.int64) for index in site.inputs[1:4])
    if site.integer(2) or site.integer(3):
        raise ModelError("STRIDED_SLICE with ellipsis or new axes is not converted")
    for axis in range(len(begin)):
        if site.integer(0) >> axis & 1:
            begin[axis] = 0 if step[axis] > 0 else shape[axis]
        if site.integer(4) >> axis & 1:
            end[axis] = begin[axis] + 1 if begin[axis] != -1 else shape[axis]
        elif site.integer(1) >> axis & 1:
            end[axis] = shape[axis] if step[axis] > 0 else -shape[axis] - 1
    if not begin.any() and (step == 1).all() and tuple(end.tolist()) == shape:
        _restate(site)
        return
    axes = np.arange(len(begin), dtype=np.int64)
    bounds = [emitter.constant(value, "bounds") for value in (begin, end, axes, step)]
    name = emitter.node("Slice", [emitter.native(site.inputs[0]), *bounds])
    emitter.set_native(site.output, emitter.reshape(name, site.shape) if site.integer(4) else name)


def plain_slice(site: Site) -> None:
    """A slice by start and size; a size of -1 reaches to the end."""
    emitter = site.emitter
    begin, size = (emitter.given(index, "bounds").astype(np.int64) for index in site.inputs[1:3])
    whole = np.array(emitter.shape(site.inputs[0]), np.int64)
    end = np.where(size < 0, whole, begin + size)
    axes = np.arange(len(begin), dtype=np.int64)
    bounds = [emitter.constant(value, "bounds") for value in (begin, end, axes)]
    emitter.set_native(site.output, emitter.node("Slice", [emitter.native(site.inputs[0]), *bounds]))


def transpose(site: Site) -> None:
    """By constant axes, in TFLite's own order."""
    axes = [int(axis) for axis in site.emitter.given(site.inputs[1], "axes")]
    name = site.emitter.node("Transpose", [site.emitter.native(site.inputs[0])], perm=axes)
    site.emitter.set_native(site.output, name)


def batch_matmul(site: Site) -> None:
    """The adjoint options transpose the last two axes first."""
    names = []
    for position, index in enumerate(site.inputs):
        name = site.emitter.native(index)
        if site.operator.options.flag(position):
            rank = len(site.emitter.shape(index))
            name = site.emitter.node("Transpose", [name], perm=[*range(rank - 2), rank - 1, rank - 2])
        names.append(name)
    site.emitter.set_native(site.output, site.emitter.node("MatMul", names))


def softmax(site: Site) -> None:
    """Over the last axis; option 0 is a factor before it."""
    emitter = site.emitter
    beta = float(site.operator.options.number(0, "f", 1.0))
    source = emitter.native(site.inputs[0])
    if beta != 1.0:
        source = emitter.node("Mul", [source, emitter.constant(np.array(beta, np.float32))])
    emitter.set_native(site.output, emitter.node("Softmax", [source], axis=-1))


def rsqrt(site: Site) -> None:
    """One over the square root."""
    _forward(site, site.emitter.node("Reciprocal", [site.emitter.node("Sqrt", [_followed(site)])]))


def square(site: Site) -> None:
    """The input times itself."""
    source = _followed(site)
    _forward(site, site.emitter.node("Mul", [source, source]))


def squared_difference(site: Site) -> None:
    """The difference times itself."""
    _elementwise(site, "Sub", 0)
    emitter = site.emitter
    value = emitter.values[site.output]
    name = value.nchw or value.native or ""
    squared = emitter.node("Mul", [name, name])
    if value.nchw:
        emitter.set_nchw(site.output, squared)
    else:
        emitter.set_native(site.output, squared)


def split(site: Site) -> None:
    """Equal parts along a constant axis, which TFLite names first."""
    axis = int(np.atleast_1d(site.emitter.given(site.inputs[0], "axis"))[0])
    _split(site, site.inputs[1], axis)


def split_v(site: Site) -> None:
    """Parts of stated sizes; the output shapes state them too."""
    axis = int(np.atleast_1d(site.emitter.given(site.inputs[2], "axis"))[0])
    _split(site, site.inputs[0], axis)


def _split(site: Site, source: int, axis: int) -> None:
    emitter = site.emitter
    outputs = site.operator.outputs
    sizes = emitter.constant(np.array([emitter.shape(index)[axis] for index in outputs], np.int64), "sizes")
    names = emitter.split("Split", [emitter.native(source), sizes], len(outputs), axis=axis)
    for index, name in zip(outputs, names, strict=True):
        emitter.set_native(index, name)


def pack(site: Site) -> None:
    """Stacked along a new axis."""
    emitter = site.emitter
    axis = site.integer(1) % len(site.shape)
    single = (*site.shape[:axis], 1, *site.shape[axis + 1 :])
    names = [emitter.reshape(emitter.native(index), single) for index in site.inputs]
    emitter.set_native(site.output, emitter.node("Concat", names, axis=axis))


def gather(site: Site) -> None:
    """Along option 0."""
    if site.integer(1):
        raise ModelError("GATHER with batch dimensions is not converted")
    names = [site.emitter.native(index) for index in site.inputs[:2]]
    site.emitter.set_native(site.output, site.emitter.node("Gather", names, axis=site.integer(0)))


def constant_only(site: Site) -> None:
    """DEQUANTIZE of float16 and DENSIFY: the reader already made plain arrays of their constants."""
    value = site.emitter.given(site.inputs[0], "what a DEQUANTIZE or DENSIFY")
    if value.dtype != np.float32:
        raise ModelError(f"quantised weights ({value.dtype}) are not converted; only float16 and float32 are")
    site.emitter.folded[site.output] = value


RULES: Final[dict[int, tuple[str, Rule]]] = {
    0: ("ADD", binary("Add")),
    1: ("AVERAGE_POOL_2D", average_pool_2d),
    2: ("CONCATENATION", concatenation),
    3: ("CONV_2D", conv_2d),
    4: ("DEPTHWISE_CONV_2D", depthwise_conv_2d),
    5: ("DEPTH_TO_SPACE", depth_to_space),
    6: ("DEQUANTIZE", constant_only),
    9: ("FULLY_CONNECTED", fully_connected),
    14: ("LOGISTIC", unary("Sigmoid")),
    17: ("MAX_POOL_2D", max_pool_2d),
    18: ("MUL", binary("Mul")),
    19: ("RELU", unary("Relu")),
    21: ("RELU6", relu6),
    22: ("RESHAPE", reshape),
    23: ("RESIZE_BILINEAR", resize_bilinear),
    25: ("SOFTMAX", softmax),
    28: ("TANH", unary("Tanh")),
    34: ("PAD", pad),
    36: ("GATHER", gather),
    39: ("TRANSPOSE", transpose),
    40: ("MEAN", reducer("ReduceMean")),
    41: ("SUB", binary("Sub")),
    42: ("DIV", binary("Div")),
    43: ("SQUEEZE", reshape),
    45: ("STRIDED_SLICE", strided_slice),
    47: ("EXP", unary("Exp")),
    49: ("SPLIT", split),
    54: ("PRELU", prelu),
    55: ("MAXIMUM", binary("Max", fused=False)),
    57: ("MINIMUM", binary("Min", fused=False)),
    59: ("NEG", unary("Neg")),
    65: ("SLICE", plain_slice),
    70: ("EXPAND_DIMS", reshape),
    74: ("SUM", reducer("ReduceSum")),
    75: ("SQRT", unary("Sqrt")),
    76: ("RSQRT", rsqrt),
    78: ("POW", binary("Pow", fused=False)),
    82: ("REDUCE_MAX", reducer("ReduceMax")),
    83: ("PACK", pack),
    89: ("REDUCE_MIN", reducer("ReduceMin")),
    92: ("SQUARE", square),
    98: ("LEAKY_RELU", leaky_relu),
    99: ("SQUARED_DIFFERENCE", squared_difference),
    101: ("ABS", unary("Abs")),
    102: ("SPLIT_V", split_v),
    117: ("HARD_SWISH", unary("HardSwish")),
    124: ("DENSIFY", constant_only),
    126: ("BATCH_MATMUL", batch_matmul),
    150: ("GELU", gelu),
}
"""By the number of the built-in operator."""
