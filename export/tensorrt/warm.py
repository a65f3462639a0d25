"""The engine's own cache of plans, filled beforehand: by opening a bundle as it is opened in use, and waiting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engine import backends
from engine.backends.driver import driver
from engine.errors import BackendError
from engine.plans import policy
from engine.plans.cache import plans_folder
from engine.plans.opening import told
from engine.plans.request import Flavour, Progress
from export.tensorrt.plans import Wanted

_BACKENDS: Final[Mapping[Flavour, str]] = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}


@dataclass(frozen=True, slots=True)
class Warmed:
    """folder: of the cache. device: whom the plans are for. made: graphs whose plans came about now, by the names of
    their files; those that are not among them were there. noticed: what the next start has to know, "" for nothing."""

    folder: Path
    device: str
    made: tuple[str, ...]
    noticed: str


def not_warm(wanted: Wanted) -> str:
    """Why nothing that is asked for here is what the engine looks for in its cache, "" where it is."""
    if wanted.precision in ("int8", "fp8"):
        return f"the engine asks for no plan in {wanted.precision}"
    if wanted.strip:
        return "the engine keeps no plan without weights"
    if wanted.graphs:
        return "the engine opens a bundle as a whole, and only some of its graphs are named"
    if wanted.flavour == "rtx":
        return backends.unusable(_BACKENDS["rtx"])
    return ""


def warm(
    bundle: str | Path,
    wanted: Wanted,
    *,
    accept: frozenset[str] = frozenset(),
    listen: Callable[[str], Progress],
) -> Warmed:
    """Opens a bundle on TensorRT as a server does, so that its keys, and all else, are those of the next start.

    listen: gives what is told of the plan of the graph of that name. Raises BackendError where the backend of that
    flavour cannot be used here, PlanError where a plan cannot be built, BundleError.
    """
    from engine.generators import open_generator
    from engine.generators.batch_runner import batches_for

    backend, usual, made = _BACKENDS[wanted.flavour], policy.current(), list[str]()
    if fault := backends.unusable(backend):
        raise BackendError(
            f"no plan was built: {fault}; portable ones need no GPU: --flavour rtx --out FOLDER"
        )
    asked = replace(
        usual,
        precision=wanted.precision,
        batches=wanted.batches,
        workspace_bytes=wanted.workspace_bytes,
        wait=True,
    )

    def listened(name: str) -> Progress:
        made.append(name)
        return listen(name)

    policy.use(asked)
    try:
        with told(listened):
            sizes = batches_for(backend, 0)
            _, runner = open_generator(bundle, backend=backend, accept=accept, batches=sizes)
            runner.close()
    finally:
        policy.use(usual)
    return Warmed(usual.folder or plans_folder(), str(driver()), tuple(made), _noticed(asked, usual))


def _noticed(asked: policy.PlanPolicy, usual: policy.PlanPolicy) -> str:
    """Where the next start will not ask for these very plans."""
    if (asked.precision, asked.batches) == (usual.precision, usual.batches):
        return ""
    sizes = ", ".join(map(str, usual.batches))
    return f"serve asks for {usual.precision}, {sizes} at once: it finds these where its PlanPolicy says the same"
