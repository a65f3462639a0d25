"""How far a build is, and its end on request."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from engine.plans.request import Progress
from export.tensorrt.api import Api

if TYPE_CHECKING:
    import tensorrt as trt

WHOLE: Final = 1000
"""Steps in all, as told: TensorRT's phases lie within each other, and this is the sum of them."""


@dataclass(slots=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Watch:
    """Turns TensorRT's phases into one figure that only rises, and tells TensorRT when to end.

    TensorRT calls it from its own threads, and an exception must not cross into it: what the listener raises ends the
    build and stands in `failure`.
    """

    def __init__(self, progress: Progress | None, cancel: threading.Event) -> None:
        self._progress, self._cancel = progress, cancel
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._told = 0
        self.failure: BaseException | None = None

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins; it is one step of its parent."""
        with self._lock:
            self._phases[name] = _Phase(parent or None, max(1, steps))
        self._tell(name)

    def step(self, name: str, step: int) -> bool:
        """A step of a phase is done, counted from 0. Gives False where the build is to end."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = step + 1
        self._tell(name)
        return not self._cancel.is_set()

    def finish(self, name: str) -> None:
        """A phase has ended, whole or not."""
        with self._lock:
            self._phases.pop(name, None)

    def end(self) -> None:
        """All of it is done."""
        if self._progress is not None and self.failure is None:
            self._progress("done", WHOLE, WHOLE)

    def _tell(self, name: str) -> None:
        if self._progress is None or self.failure is not None:
            return
        with self._lock:
            roots = [phase for phase, found in self._phases.items() if found.parent not in self._phases]
            share = max((self._share(phase) for phase in roots), default=0.0)
            self._told = max(self._told, min(WHOLE - 1, int(share * WHOLE)))
            told = self._told
        try:
            self._progress(name, told, WHOLE)
        except BaseException as error:  # raised again by the builder, in its own thread
            self.failure = error
            self._cancel.set()

    def _share(self, name: str) -> float:
        phase = self._phases[name]
        inner = [child for child, found in self._phases.items() if found.parent == name and child != name]
        within = max((self._share(child) for child in inner), default=0.0)
        return min(1.0, (phase.done + within) / phase.steps)


def monitor(api: Api, watch: Watch) -> trt.IProgressMonitor:
    """TensorRT's own progress monitor over a watch."""
    base: Any = api.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]  # the class is known when the module is
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            watch.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return watch.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            watch.finish(phase_name)

    return cast("trt.IProgressMonitor", Monitor())
