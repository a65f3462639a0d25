"""Operators on pictures: convolutions, pools, padding, resizing. Option fields have the schema's numbers."""

from __future__ import annotations

import numpy as np

from export.tflite.arithmetic import broadcast_constant
from export.tflite.emitter import Array, Shape, Site


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


def prelu(site: Site) -> None:
    """One slope per channel, as (channels, 1, 1)."""
    slope = broadcast_constant(site.emitter.given(site.inputs[1], "slope"))[0]
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


def resize_bilinear(site: Site) -> None:
    """TensorFlow's three conventions have the same names in ONNX."""
    corners, half = site.operator.options.flag(2), site.operator.options.flag(3)
    convention = "align_corners" if corners else "half_pixel" if half else "asymmetric"
    emitter = site.emitter
    batch, height, width, channels = site.shape
    size = emitter.constant(np.array([batch, channels, height, width], np.int64), "size")
    inputs = [emitter.nchw(site.inputs[0]), "", "", size]
    name = emitter.node("Resize", inputs, mode="linear", coordinate_transformation_mode=convention)
    emitter.set_nchw(site.output, name)


def depth_to_space(site: Site) -> None:
    """Channels are read as (row, column, depth)."""
    source = site.emitter.nchw(site.inputs[0])
    name = site.emitter.node("DepthToSpace", [source], blocksize=site.integer(0), mode="DCR")
    site.emitter.set_nchw(site.output, name)
