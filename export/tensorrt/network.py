"""From an ONNX file to TensorRT's network: strongly typed, so that a number is computed in the type the file says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.errors import PlanError
from engine.plans.request import PlanRequest
from export.tensorrt.api import Lines, Toolkit

if TYPE_CHECKING:
    import tensorrt as trt

_HELD: Final = {"fp16": "HALF", "bf16": "BF16", "int8": "INT8", "fp8": "FP8"}
_STORED: Final = frozenset({"CONSTANT", "CAST", "IDENTITY"})
"""Layers that hold or turn numbers and compute none: a bundle may store float16 and compute float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """A network, with the parser that owns its weights and has to live as long."""

    network: trt.INetworkDefinition
    parser: trt.OnnxParser


def parsed(
    toolkit: Toolkit, builder: trt.Builder, logger: trt.ILogger, request: PlanRequest, lines: Lines
) -> Parsed:
    """The network of a request's graph.

    Raises PlanError, with TensorRT's own words, for a graph that it cannot take, and for one that is not in the
    precision that was asked for.
    """
    network = builder.create_network(_flags(toolkit))
    parser = toolkit.api.OnnxParser(network, logger)
    if not parser.parse(request.graph):
        reasons = [_reason(parser.get_error(index)) for index in range(parser.num_errors)]
        said = "; ".join(reasons) or lines.said("no reason given")
        raise PlanError(f"{toolkit.name} refused graph {request.name}: {said}; try --backend onnxruntime")
    _check_typed(toolkit, network, request.name)
    _check_precision(network, request)
    return Parsed(network, parser)


def _flags(toolkit: Toolkit) -> int:
    """TensorRT 10 types a network strongly when it is told to, 11 and RTX always."""
    if toolkit.flavour == "tensorrt" and toolkit.numbers[0] == 10:
        return 1 << int(toolkit.api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return 0


def _check_typed(toolkit: Toolkit, network: trt.INetworkDefinition, name: str) -> None:
    if not network.get_flag(toolkit.api.NetworkDefinitionCreationFlag.STRONGLY_TYPED):
        raise PlanError(
            f"graph {name}: {toolkit.name} made a network without types, and would round as it likes; "
            "install another version of it"
        )


def _check_precision(network: trt.INetworkDefinition, request: PlanRequest) -> None:
    held = _computed(network)
    if request.precision == "fp32":
        if other := sorted(held & set(_HELD.values())):
            raise PlanError(
                f"graph {request.name} computes in {', '.join(other)}, expected fp32; ask for its own precision"
            )
    elif _HELD[request.precision] not in held:
        raise PlanError(
            f"graph {request.name} computes nothing in {request.precision}, and a plan changes no types; lower it first"
        )


def _computed(network: trt.INetworkDefinition) -> set[str]:
    """The types of all that layers compute."""
    found: set[str] = set()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type.name not in _STORED:
            found |= {layer.get_output(at).dtype.name for at in range(layer.num_outputs)}
    return found


def _reason(error: trt.ParserError) -> str:
    node = f"node {error.node_name()!r} ({error.node_operator()}): " if error.node() >= 0 else ""
    what = error.code().name.replace("_", " ").lower()
    told = " ".join(error.desc().split())[:300]
    return f"{node}{what}: {told} [{error.file()}:{error.line()}, {error.func()}]"
