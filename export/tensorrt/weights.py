"""The weights of an ONNX file, and whether two files are one graph with other weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from engine.errors import PlanError
from engine.plans.structure import FLOATS, structure

Weights = Mapping[str, NDArray[Any]]


def check_finite(graph: bytes, name: str) -> None:
    """Raises PlanError for a weight that is no number: it would spoil every picture."""
    for key, weight in _floats(_read(graph, name)).items():
        if not np.isfinite(numpy_helper.to_array(weight).astype(np.float32)).all():
            raise PlanError(f"{name}: weight {key!r} is not finite; take an earlier checkpoint")


def weight_map(base: bytes, other: bytes, name: str = "graph") -> Weights:
    """What of `base` has to be replaced so that it computes what `other` does: weight to its values, where they differ.

    Raises PlanError where they are not one graph, naming the first thing that differs.
    """
    first, second = _read(base, name), _read(other, name)
    if structure(base) != structure(other):
        raise PlanError(
            f"{name}: {_difference(first, second)}, so its weights do not fit; build a plan of its own"
        )
    old = _floats(first)
    return {
        key: numpy_helper.to_array(weight)
        for key, weight in _floats(second).items()
        if numpy_helper.to_array(weight).tobytes() != numpy_helper.to_array(old[key]).tobytes()
    }


def with_weights(graph: bytes, weights: Weights, name: str = "graph") -> bytes:
    """The graph with other values for some of its weights. Raises PlanError for one that is unknown or does not fit."""
    model = _read(graph, name)
    held = _floats(model)
    for key, values in weights.items():
        if key not in held:
            raise PlanError(f"{name}: there is no weight {key!r}; take the weights of the same graph")
        own = numpy_helper.to_array(held[key])
        if own.shape != values.shape or own.dtype != values.dtype:
            raise PlanError(
                f"{name}: weight {key!r} is {values.shape} {values.dtype}, expected {own.shape} {own.dtype}"
            )
        if not np.isfinite(values.astype(np.float32)).all():
            raise PlanError(f"{name}: weight {key!r} is not finite; take an earlier checkpoint")
        held[key].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), key))
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _read(graph: bytes, name: str) -> onnx.ModelProto:
    try:
        return onnx.load_from_string(graph)
    except DecodeError as error:
        raise PlanError(f"{name} is no ONNX file; export it again") from error


def _floats(model: onnx.ModelProto) -> dict[str, TensorProto]:
    return {weight.name: weight for weight in model.graph.initializer if weight.data_type in FLOATS}


def _difference(first: onnx.ModelProto, second: onnx.ModelProto) -> str:
    """In words, from the coarse to the fine."""
    counts = len(first.graph.node), len(second.graph.node)
    if counts[0] != counts[1]:
        return f"it has {counts[1]} nodes, expected {counts[0]}"
    for one, two in zip(first.graph.node, second.graph.node, strict=True):
        if one != two:
            return (
                f"its node {two.name or two.op_type!r} is another than the plan's {one.name or one.op_type!r}"
            )
    held = {weight.name: weight for weight in first.graph.initializer}
    for weight in second.graph.initializer:
        if weight.name not in held:
            return f"its weight {weight.name!r} is not one of the plan's"
        if list(weight.dims) != list(held[weight.name].dims):
            return (
                f"its weight {weight.name!r} is {list(weight.dims)}, expected {list(held[weight.name].dims)}"
            )
    return "its ports or constants are others"
