"""Operators that move numbers and compute nothing: reshapes, slices, joins."""

from __future__ import annotations

import numpy as np

from engine.errors import ModelError
from export.tflite.arithmetic import picture_like
from export.tflite.emitter import Site


def reshape(site: Site) -> None:
    """To the output's own shape, which is static."""
    _restate(site)


def _restate(site: Site) -> None:
    source = site.emitter.native(site.inputs[0])
    same = site.emitter.shape(site.inputs[0]) == site.shape
    site.emitter.set_native(site.output, source if same else site.emitter.reshape(source, site.shape))


def concatenation(site: Site) -> None:
    """Pictures are joined with channels second."""
    emitter = site.emitter
    axis = site.integer(0) % len(site.shape)
    if picture_like(site):
        names = [emitter.nchw(index) for index in site.inputs]
        joined = emitter.node("Concat", names, axis=(0, 2, 3, 1)[axis])
        emitter.set_nchw(site.output, emitter.activated(joined, site.small(1)))
    else:
        joined = emitter.node("Concat", [emitter.native(index) for index in site.inputs], axis=axis)
        emitter.set_native(site.output, emitter.activated(joined, site.small(1)))


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
