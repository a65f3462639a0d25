"""The measuring itself: one task per clip with all the pairs that it drives, here or in processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from engine.errors import ConfigError, InputError
from engine.evaluate.clip import Tracker, read_clip
from engine.evaluate.measure import Measured, Truth, measure_clip, measure_pair, truth_of
from engine.evaluate.parts import Parts
from engine.evaluate.reenact import Reenactor, SessionReenactor
from engine.evaluate.sheets import sheet
from engine.evaluate.survey import Driver, Portrait
from engine.media import write_picture
from engine.types import Mode


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
    """What a process needs to set up its stage. accept: terms that were accepted, as of engine.bundle."""

    folder: Path
    bundle: str
    backend: str
    cache: Path | None
    accept: frozenset[str] = frozenset()


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
        from engine.puppet import Opening, open_measurers
        from engine.track.face import FaceTracker
        from engine.track.person import PersonSegmenter

        options: dict[str, Any] = {"backend": self._settings.backend, "cache": self._settings.cache}
        with ExitStack() as stack:
            tracker = FaceTracker(max_faces=1, **options)
            stack.callback(tracker.close)
            segmenter = PersonSegmenter(**options)
            stack.callback(segmenter.close)
            generator, runner = open_generator(
                self._settings.bundle, backend=self._settings.backend, accept=self._settings.accept
            )
            stack.callback(runner.close)
            if Mode.PUPPET not in generator.modes:
                raise ConfigError(
                    f"bundle {self._settings.bundle}: it edits faces and moves no portrait, so there is nothing to "
                    "compare with a driver; measure it with --requests"
                )
            self.tracker = tracker
            measurers = open_measurers(generator, Opening(**options), stack)
            self.reenactor = SessionReenactor(tracker, segmenter, generator, runner, measurers)
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


@contextmanager
def open_work(settings: Settings) -> Iterator[Callable[[Task, Callable[[], None]], None]]:
    """The shipped stage as what carries out a task in a process of its own."""
    with ShippedStage(settings) as stage:
        yield lambda task, finished: carry_out(task, stage, settings.folder, finished)
