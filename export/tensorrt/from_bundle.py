"""The builder that the engine starts in a process of its own: for graphs as bundles hold them."""

from __future__ import annotations

import dataclasses
import threading

from engine.errors import PlanError
from engine.plans.request import Built, PlanRequest, Progress
from engine.plans.structure import structure
from export.tensorrt.api import load
from export.tensorrt.build import build
from export.tensorrt.plans import prepared
from export.tensorrt.refit import refitted
from export.tensorrt.versions import recorded
from export.tensorrt.weights import check_finite


def build_from_bundle(
    request: PlanRequest, *, progress: Progress | None = None, cancel: threading.Event | None = None
) -> Built:
    """engine.plans.request.Builder's contract; the request's graph is batched and lowered first.

    Where the request has a base, nothing is built: the base is given the graph's weights, or PlanError is raised.
    Raises BundleError, too, for a graph that cannot be lowered.
    """
    graph = prepared(request.graph, request.name, request.precision, request.batches)
    if request.base:
        return _refitted(request, graph)
    built = build(
        dataclasses.replace(request, graph=graph, base=b"", base_structure=""),
        progress=progress,
        cancel=cancel,
    )
    return dataclasses.replace(built, structure=structure(graph) if request.refit else "")


def _refitted(request: PlanRequest, graph: bytes) -> Built:
    """What is lowered may differ where the files do not: which numbers stay float32 can depend on them."""
    found = structure(graph)
    if found != request.base_structure:
        raise PlanError(
            f"plan {request.name}: in {request.precision} its graph is another than that of the plan that is there, "
            "so its weights do not fit"
        )
    check_finite(graph, request.name)
    toolkit = load(request.flavour)
    plan = refitted(toolkit, request.base, graph, request.name)
    return Built(plan, recorded(toolkit), structure=found, refitted=True)
