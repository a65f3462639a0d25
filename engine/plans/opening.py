"""A graph on TensorRT: by the plan that is there, or by one that is built while another backend serves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from engine.backends.driver import driver
from engine.backends.graph import Graph
from engine.errors import PlanCacheError, PlanError
from engine.free_batch import is_free
from engine.plans.apart import build_apart
from engine.plans.background import Progress, SwapGraph
from engine.plans.cache import PlanCache, plans_folder
from engine.plans.key import PlanKey, Target, key_of
from engine.plans.policy import PlanPolicy, current
from engine.plans.request import Built, Flavour, PlanRequest, Precision

_ONE: Final = (1,)
_log = logging.getLogger("marotte.plans")

Load = Callable[[bytes], Graph]
"""Opens a plan. Raises PlanError when the runtime refuses it, BackendError."""


def open_planned(
    graph: bytes,
    name: str,
    *,
    load: Load,
    serve: Callable[[], Graph],
    version: str,
    precision: Precision,
    flavour: Flavour = "tensorrt",
    policy: PlanPolicy | None = None,
) -> Graph:
    """A graph that runs by its plan, now or as soon as there is one.

    graph: an ONNX file as bundles hold them. serve: opens it on another backend, for the time until then. version: of
    TensorRT. policy: the process's own when None. Raises PlanError where there is neither a plan nor a builder,
    BackendError as `serve` does.
    """
    policy = policy or current()
    try:
        batches = policy.batches if is_free(graph) else _ONE
    except ValueError as error:
        raise PlanError(f"{name} is no ONNX file ({error}); export it again") from error
    request = PlanRequest(graph, name, precision, batches, policy.workspace_bytes, False, flavour)
    key = key_of(request, target(version))
    cache = PlanCache(policy.folder or plans_folder(), policy.most_bytes)
    if (found := _kept(cache, key, load)) is not None:
        return found
    if policy.builder is None:
        raise PlanError(
            f"{name} has no plan for {key.target.gpu}, and no builder is named; take another --backend"
        )
    _log.info("%s has no plan for %s yet%s: it is built now", name, key.target.gpu, _others(cache, key))
    make = partial(_make, cache, key, request, policy.builder, load)
    if policy.wait:
        return make(lambda *_: None, threading.Event())
    return SwapGraph(serve(), make, reopen=serve)


def target(version: str) -> Target:
    """What plans of this machine are for. Raises BackendError where there is no driver."""
    found = driver()
    device = found.devices[0]
    return Target(device.name, device.capability, found.release, version)


def _kept(cache: PlanCache, key: PlanKey, load: Load) -> Graph | None:
    """By the plan that is there, None where there is none that can be used."""
    try:
        built = cache.load(key)
    except PlanCacheError as error:
        _log.warning("%s", str(error))
        return None
    if built is None:
        return None
    try:
        return load(built.plan)
    except PlanError as error:  # the right key and HMAC, and still not for this runtime
        cache.remove(key, str(error))
        return None


def _make(
    cache: PlanCache,
    key: PlanKey,
    request: PlanRequest,
    builder: str,
    load: Load,
    progress: Progress,
    cancel: threading.Event,
) -> Graph:
    def build() -> Built:
        return build_apart(builder, request, progress=progress, cancel=cancel)

    try:
        kept = cache.obtain(key, build, cancel)
    except PlanCacheError as error:
        _log.warning("%s; the plan is built again at the next start", str(error))
        return load(build().plan)
    return load(kept.plan)


def _others(cache: PlanCache, key: PlanKey) -> str:
    try:
        count = cache.others(key)
    except PlanCacheError:
        return ""
    return f" ({count} for another GPU, driver, version or precision)" if count else ""
