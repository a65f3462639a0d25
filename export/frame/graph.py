"""A frame graph that is written."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.bundle import PortInfo
from engine.errors import BundleError
from engine.graph_file import check_graph
from export.frame.nodes import Nodes


@dataclass(frozen=True, slots=True)
class Written:
    """data: the ONNX file. inputs, outputs: its ports; a size of 0 is free."""

    name: str
    data: bytes = field(repr=False)
    inputs: tuple[PortInfo, ...]
    outputs: tuple[PortInfo, ...]


def finished(graph: Nodes, name: str) -> Written:
    """The file, looked through as a bundle's reader does. Raises BundleError."""
    inputs, outputs = graph.ports
    data = graph.data(name)
    try:
        check_graph(data, inputs, outputs)
    except BundleError as error:
        raise BundleError(f"graph {name}: {error}") from error
    return Written(name, data, inputs, outputs)
