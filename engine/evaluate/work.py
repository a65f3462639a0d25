"""The measuring itself: one task per clip with all the pairs that it drives, here or in processes."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import cv2

from engine.errors import InputError, MarotteError
from engine.evaluate.clip import Tracker, read_clip
from engine.evaluate.measure import Measured, Truth, measure_clip, measure_pair, truth_of
from engine.evaluate.parts import Parts
from engine.evaluate.reenact import Reenactor, SessionReenactor
from engine.evaluate.sheets import sheet
from engine.evaluate.survey import Driver, Portrait
from engine.media import write_picture

_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Pair:
    """One cross pair. key: of its part."""

    portrait: Portrait
    key: str


@dataclass(frozen=True, slots=True)
class Task:
    """A clip and the pairs that it drives. key: of the clip's own part."""

    driver: Driver
    key: str
    pairs: tuple[Pair, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key, *(pair.key for pair in self.pairs))


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process needs to set up its stage."""

    folder: Path
    bundle: str
    backend: str
    cache: Path | None


class Stage(Protocol):
    """Tracker and reenactor, open while entered."""

    tracker: Tracker
    reenactor: Reenactor

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ShippedStage:
    """The shipped tracker, generator and session."""

    tracker: Tracker
    reenactor: Reenactor

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __enter__(self) -> Self:
        from engine.generators import open_generator
        from engine.track.face import FaceTracker
        from engine.track.person import PersonSegmenter

        options: dict[str, Any] = {"backend": self._settings.backend, "cache": self._settings.cache}
        with ExitStack() as stack:
            tracker = FaceTracker(max_faces=1, **options)
            stack.callback(tracker.close)
            segmenter = PersonSegmenter(**options)
            stack.callback(segmenter.close)
            generator, runner = open_generator(self._settings.bundle)
            stack.callback(runner.close)
            self.tracker = tracker
            self.reenactor = SessionReenactor(tracker, segmenter, generator, runner)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def carry_out(task: Task, stage: Stage, folder: Path, finished: Callable[[], None]) -> None:
    """Measure what is missing of a task; `finished` is called after each part."""
    parts = Parts(folder / "parts")
    missing = [pair for pair in task.pairs if not parts.path(pair.key).is_file()]
    own_missing = not parts.path(task.key).is_file()
    if not own_missing and not missing:
        return
    driver = task.driver
    try:
        clip = read_clip(driver.path, driver.name, driver.first, driver.cut, stage.tracker)
    except InputError as error:
        for key in task.keys:
            parts.save(key, {"refused": str(error)})
        finished()
        return
    truth = truth_of(clip, stage.tracker)
    if own_missing:
        _keep(parts, task.key, truth, partial(measure_clip, truth, stage.tracker, stage.reenactor))
        finished()
    for pair in missing:
        measure = partial(
            measure_pair, truth, pair.portrait.path, pair.portrait.name, stage.tracker, stage.reenactor
        )
        _keep(parts, pair.key, truth, measure)
        finished()


def _keep(parts: Parts, key: str, truth: Truth, measure: Callable[[], Measured]) -> None:
    try:
        one = measure()
    except InputError as error:
        parts.save(key, {"refused": str(error)})
        return
    picture = parts.path(key).with_suffix(".png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_picture(picture, sheet(one.title, one.source, truth.columns, one.rows))
    parts.save(
        key,
        {
            "scores": one.scores,
            "driver_pixels": one.driver_pixels,
            "facts": one.facts,
            "spread": one.spread,
            "yaw_range": one.yaw_range,
        },
    )


def work_in_processes(
    tasks: Sequence[Task], settings: Settings, jobs: int, looked: Callable[[], None]
) -> None:
    """All tasks in `jobs` processes; `looked` is called now and then, to count the parts on disk.

    Raises MarotteError with the child's last line when one fails; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")
    waiting, failures = context.SimpleQueue(), context.SimpleQueue()
    for place in range(len(tasks)):
        waiting.put(place)
    for _ in range(jobs):
        waiting.put(None)
    workers = [
        context.Process(target=_serve, args=(tasks, settings, waiting, failures), daemon=True)
        for _ in range(jobs)
    ]
    try:
        for worker in workers:
            worker.start()
        _wait(workers, failures, looked)
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
            if worker.pid is not None:
                worker.join()


def _wait(workers: Sequence[BaseProcess], failures: Any, looked: Callable[[], None]) -> None:
    while any(worker.is_alive() for worker in workers):
        for worker in workers:
            worker.join(_POLL_S / len(workers))
        looked()
        if not failures.empty():
            break
    if not failures.empty():
        raise MarotteError(str(failures.get()))
    broken = [worker.exitcode for worker in workers if worker.exitcode]
    if broken:
        raise MarotteError(
            f"a measuring process ended with status {broken[0]}; run the same command again to go on"
        )


def _serve(tasks: Sequence[Task], settings: Settings, waiting: Any, failures: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears the interruption and stops us
    cv2.setNumThreads(1)
    try:
        with ShippedStage(settings) as stage:
            while (place := waiting.get()) is not None:
                _stop_alone()
                carry_out(tasks[place], stage, settings.folder, _stop_alone)
    except MarotteError as error:
        failures.put(str(error))
    except Exception:
        failures.put(f"a measuring process failed: {traceback.format_exc()}")


def _stop_alone() -> None:
    """End this process where its parent was killed, which could not stop it."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(1)
