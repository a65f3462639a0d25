"""A graph on TensorRT: by the plan that is there, or by one that comes about while another backend serves."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Final

from engine.backends.driver import driver
from engine.backends.graph import Graph
from engine.errors import PlanError
from engine.free_batch import is_free
from engine.plans.background import Progress, SwapGraph
from engine.plans.cache import PlanCache, plans_folder
from engine.plans.key import Target, key_of
from engine.plans.making import Load, Making
from engine.plans.policy import PlanPolicy, current
from engine.plans.refit import REFITTED, no_refit
from engine.plans.request import Flavour, PlanRequest, Precision

_ONE: Final = (1,)
_log = logging.getLogger("marotte.plans")

Listen = Callable[[str], Progress]
"""Gives what is told of the build of the graph of that name."""

_listening: Listen | None = None


def open_planned(
    graph: bytes,
    name: str,
    *,
    load: Load,
    serve: Callable[[], Graph],
    version: str,
    precision: Precision,
    flavour: Flavour = "tensorrt",
    refit: bool = False,
    policy: PlanPolicy | None = None,
) -> Graph:
    """A graph that runs by its plan, now or as soon as there is one.

    graph: an ONNX file as bundles hold them. serve: opens it on another backend, for the time until then. version: of
    TensorRT. refit: other files of the same graph may come, with other weights. policy: the process's own when None.
    Raises PlanError where there is neither a plan nor a builder, BackendError as `serve` does.
    """
    policy = policy or current()
    try:
        batches = policy.batches if is_free(graph) else _ONE
    except ValueError as error:
        raise PlanError(f"{name} is no ONNX file ({error}); export it again") from error
    refit = refit and policy.refit and _can_refit(name, version, precision)
    request = PlanRequest(graph, name, precision, batches, policy.workspace_bytes, refit, flavour)
    making = Making(
        PlanCache(policy.folder or plans_folder(), policy.most_bytes),
        key_of(request, target(version)),
        request,
        policy.builder,
        load,
    )
    if (found := making.kept()) is not None:
        return found
    gpu = making.key.target.gpu
    if policy.builder is None:
        raise PlanError(f"{name} has no plan for {gpu}, and no builder is named; take another --backend")
    _log.info("%s has no plan for %s yet%s: it is made now", name, gpu, making.others())
    if policy.wait:
        return making(_progress(name), threading.Event())
    return SwapGraph(serve(), making, reopen=serve)


def target(version: str) -> Target:
    """What plans of this machine are for. Raises BackendError where there is no driver."""
    found = driver()
    device = found.devices[0]
    return Target(device.name, device.capability, found.release, version)


@contextlib.contextmanager
def told(listen: Listen) -> Iterator[None]:
    """Within it, of builds that are waited for."""
    global _listening
    before, _listening = _listening, listen
    try:
        yield
    finally:
        _listening = before


def _progress(name: str) -> Progress:
    return (lambda *_: None) if _listening is None else _listening(name)


def _can_refit(name: str, version: str, precision: Precision) -> bool:
    if reason := no_refit(version):
        _log.warning("TensorRT %s is not trusted to refit %s: %s", version, name, reason)
        return False
    return precision in REFITTED
