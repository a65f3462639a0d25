"""The builder that the engine starts in a process of its own: for graphs as bundles hold them."""

from __future__ import annotations

import dataclasses
import threading

from engine.plans.request import Built, PlanRequest, Progress
from export.tensorrt.build import build
from export.tensorrt.plans import prepared


def build_from_bundle(
    request: PlanRequest, *, progress: Progress | None = None, cancel: threading.Event | None = None
) -> Built:
    """engine.plans.request.Builder's contract; the request's graph is batched and lowered first. Raises BundleError,
    too, for a graph that cannot be."""
    graph = prepared(request.graph, request.name, request.precision, request.batches)
    return build(dataclasses.replace(request, graph=graph), progress=progress, cancel=cancel)
