"""Frame graphs of a plan or a bundle, written without being compared with the CPU path."""

from __future__ import annotations

from collections.abc import Mapping

from engine.bundle import Bundle, GraphInfo
from export.frame.writers import write_frames
from export.onnx import write_graph
from export.plan import Plan


def framed_plan(plan: Plan) -> Mapping[str, bytes]:
    """By name, of networks that lie in no bundle."""
    files = {graph.name: write_graph(graph) for graph in plan.graphs}
    infos = {
        graph.name: GraphInfo(graph.name, f"{graph.name}.onnx", "", 0, graph.inputs, graph.outputs)
        for graph in plan.graphs
    }
    written = write_frames(plan.system, infos, files, plan.parameters)
    return {name: one.data for name, one in written.items()}


def framed_bundle(bundle: Bundle) -> Mapping[str, bytes]:
    """By name."""
    manifest = bundle.manifest
    files = {name: bundle.data(name) for name in manifest.graphs}
    written = write_frames(manifest.system, manifest.graphs, files, manifest.parameters)
    return {name: one.data for name, one in written.items()}
