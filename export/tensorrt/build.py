"""The builder of plans: one ONNX graph, compiled by TensorRT for a set of batch sizes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

from engine.backends.driver import driver
from engine.errors import BackendError, PlanCancelled, PlanError
from engine.plans.request import Built, PlanRequest, Progress
from export.tensorrt.api import Lines, Toolkit, load, log_of
from export.tensorrt.config import configured
from export.tensorrt.network import parsed
from export.tensorrt.progress import Watch, monitor
from export.tensorrt.timing import TimingCache
from export.tensorrt.versions import check_refit, recorded

if TYPE_CHECKING:
    import tensorrt as trt

_ONE: Final = threading.Lock()
"""Two builds at once would time each other's kernels, and mix their lines in the one log."""
_WAIT_S: Final = 0.1

_Found = TypeVar("_Found")


def build(
    request: PlanRequest,
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    timing: TimingCache | None = None,
    strip: bool = False,
    toolkit: Toolkit | None = None,
) -> Built:
    """A plan of the request's graph; engine.plans.request.Builder's contract.

    progress: is told the phase and how much of the whole is done, of progress.WHOLE. timing: remembers how fast kernels
    were, so that a later build is shorter; RTX measures none. strip: leaves the weights out: the plan runs only after
    export.tensorrt.refit gave it some. toolkit: the bindings, those of the request's flavour when None.

    An interrupt ends the build as `cancel` does, and is raised when TensorRT has let go. Raises PlanError and
    PlanCancelled.
    """
    toolkit = load(request.flavour) if toolkit is None else toolkit
    if request.refit or strip:
        check_refit(toolkit)
        _check_refittable(request)
    check_driver(toolkit, refit=request.refit or strip)
    cancel = threading.Event() if cancel is None else cancel
    watch = Watch(progress, cancel)
    with _alone(request.name, cancel), log_of(toolkit).listening() as lines:
        plan = _beside(lambda: _plan(toolkit, request, watch, lines, timing, strip), cancel)
    if watch.failure is not None:
        raise watch.failure
    if plan is None:
        _refuse(toolkit, request, lines, cancelled=cancel.is_set())
    watch.end()
    return Built(plan or b"", recorded(toolkit), tuple(lines.warnings))


def _plan(
    toolkit: Toolkit,
    request: PlanRequest,
    watch: Watch,
    lines: Lines,
    timing: TimingCache | None,
    strip: bool,
) -> bytes | None:
    """None where TensorRT gave nothing, because it was ended or failed."""
    logger = log_of(toolkit).logger
    builder = _builder(toolkit, logger, lines)
    found = parsed(toolkit, builder, logger, request, lines)
    config = configured(toolkit, builder, found.network, request, strip=strip)
    config.progress_monitor = monitor(toolkit.api, watch)
    if timing is not None:
        timing.lend(toolkit, config)
    plan = builder.build_serialized_network(found.network, config)
    if plan is None:
        return None
    if timing is not None:
        timing.keep(toolkit, config)
    return bytes(plan)


def _builder(toolkit: Toolkit, logger: trt.ILogger, lines: Lines) -> trt.Builder:
    try:
        return toolkit.api.Builder(logger)
    except (TypeError, RuntimeError) as error:  # what the bindings make of a null pointer
        raise PlanError(
            f"{toolkit.name} gives no builder: {lines.said(str(error))}; run: marotte doctor"
        ) from error


def _refuse(toolkit: Toolkit, request: PlanRequest, lines: Lines, *, cancelled: bool) -> None:
    if cancelled:
        raise PlanCancelled(f"plan {request.name}: its build was ended; nothing was written")
    said = lines.said("it gave no reason")
    hint = "give it more with --workspace" if "workspace" in said.lower() else "try --backend onnxruntime"
    raise PlanError(f"{toolkit.name} built no plan of graph {request.name}: {said}; {hint}")


def _check_refittable(request: PlanRequest) -> None:
    if request.precision in ("int8", "fp8"):
        raise PlanError(
            f"plan {request.name}: refit is there for fp32, fp16 and bf16, got {request.precision}, whose scales "
            "belong to the weights they were measured with; build it anew"
        )


def check_driver(toolkit: Toolkit, *, refit: bool = False) -> None:
    """Raises PlanError where this has to run on a GPU and there is no driver: TensorRT itself would crash.

    RTX compiles without one, unless the plan is to be refitted.
    """
    if toolkit.flavour == "rtx" and not refit:
        return
    try:
        driver()
    except BackendError as error:
        what = "a plan for refit is" if toolkit.flavour == "rtx" else "a plan is"
        raise PlanError(f"{toolkit.name}: {what} built on the GPU that runs it, and {error}") from error


@contextmanager
def _alone(name: str, cancel: threading.Event) -> Iterator[None]:
    """One build at a time; waiting for the other ends on request, too."""
    while not _ONE.acquire(timeout=_WAIT_S):
        if cancel.is_set():
            raise PlanCancelled(f"plan {name}: its build was ended before it began")
    try:
        yield
    finally:
        _ONE.release()


def _beside(work: Callable[[], _Found], cancel: threading.Event) -> _Found:
    """Runs in a thread of its own: an interrupt that came while TensorRT calls back would cross its frames and end the
    process."""
    found: list[_Found] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # raised again below
            failed.append(error)

    thread = threading.Thread(target=run, name="plan-builder", daemon=True)
    try:
        thread.start()
        while thread.is_alive():
            thread.join(_WAIT_S)
    except BaseException:
        cancel.set()
        _let_go(thread)
        raise
    if failed:
        raise failed[0]
    return found[0]


def _let_go(thread: threading.Thread) -> None:
    """Waits for TensorRT, which ends after its step; a second interrupt changes nothing about that."""
    while thread.is_alive():
        with suppress(KeyboardInterrupt):
            thread.join(_WAIT_S)
