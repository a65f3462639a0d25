"""Operators on numbers: element by element, sums over axes, products of matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.errors import ModelError
from export.tflite.emitter import Array, Emitter, Site

Rule = Callable[[Site], None]
"""Writes one TFLite operator as ONNX nodes."""


def broadcast_constant(value: Array) -> Array:
    """A constant in TFLite's trailing-axes order, so that it broadcasts against NCHW."""
    full = value.reshape((1,) * (4 - value.ndim) + value.shape) if value.ndim < 4 else value
    return full.transpose(0, 3, 1, 2)


def picture_like(site: Site) -> bool:
    """Whether an element-wise operator should run with channels second."""
    computed = [index for index in site.inputs if site.emitter.value_of(index) is None]
    return (
        len(site.shape) == 4
        and all(len(site.emitter.shape(index)) == 4 for index in computed)
        and any(site.emitter.is_nchw(index) for index in computed)
    )


def _elementwise(site: Site, kind: str, activation: int) -> None:
    emitter = site.emitter
    if picture_like(site):
        names = []
        for index in site.inputs:
            value = emitter.value_of(index)
            names.append(
                emitter.nchw(index)
                if value is None
                else emitter.constant(broadcast_constant(emitter.given(index, "")))
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
