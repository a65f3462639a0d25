"""Tools for tests of the worker's logic: no network is opened, and each stage fails, waits or counts on request.

The driver's face lies as far right as its frame's first value says, and the picture that leaves shows that number:
which frame, which source and which control made it can be read from its pixels.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from engine import canonical
from engine.errors import MarotteError
from engine.media.planes import i420_of
from engine.plug import Ports
from engine.puppet import Opening
from engine.types import U8, Crop, Drive, Face, Frame, Mode, Patch, Signal, Source
from engine.worker.interface import BundleInfo, Delivery, SessionSpec, SourceInfo, Stamp, State, WorkerConfig
from engine.worker.local import LocalWorker
from engine.worker.tools import Tools

WAIT_S = 20.0
DRIVER_HUE = (0, 255, 0)
SPOT = 16


def _luma(grey: int) -> int:
    return int(i420_of(np.full((2, 2, 3), grey, np.uint8))[0, 0])


_GREYS = [next(grey for grey in range(256) if _luma(grey) == 16 + value) for value in range(220)]
"""The grey that is 16 + value in limited range: values up to 219 come back from planes as they were."""
SOURCES = (100, 150, 200)
"""The greys of the sources."""


def never(what: object) -> None:
    """A fault that is not there."""


@dataclass
class Faults:
    """What each stage does before its work: may raise, wait or note. faces: what the tracker makes of its face."""

    opening: Callable[[str], None] = never
    track: Callable[[Frame], None] = never
    inputs: Callable[[Drive], None] = never
    run: Callable[[Sequence[Ports]], None] = never
    patch: Callable[[Ports], None] = never
    prepare: Callable[[str, Source | None, Mode], None] = lambda name, source, mode: None
    begin: Callable[[Source | None], None] = never
    detect: Callable[[U8], None] = never
    faces: Callable[[Face], tuple[Face, ...]] = lambda face: (face,)
    notes: tuple[str, ...] = ()
    begun: list[tuple[str, ...]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)


def face_at(x: float, track_id: int = 1, score: float = 0.99) -> Face:
    points = (canonical.VERTICES * 4 + np.array([x, 80, 0])).astype(np.float32)
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float32)
    return Face(box, points, score, track_id)


@dataclass(frozen=True)
class FakePrepared:
    source: Source | None
    mode: Mode
    notes: tuple[str, ...] = ()


@dataclass
class FakeState:
    prepared: FakePrepared
    frame: Frame | None = None


@dataclass
class FakeGenerator:
    """A puppet, but for "both", which also edits without a source, and "donors", which edits with donors."""

    faults: Faults
    name: str = "fake"
    needs: frozenset[Signal] = frozenset({Signal.SHAPE, Signal.GAZE, Signal.OPENNESS})
    modes: frozenset[Mode] = frozenset({Mode.PUPPET})

    def takes_source(self, mode: Mode) -> bool:
        return mode is Mode.PUPPET or self.name.startswith("donors")

    def prepare(self, source: Source | None, mode: Mode) -> FakePrepared:
        self.faults.prepare(self.name, source, mode)
        return FakePrepared(source, mode, self.faults.notes)

    def begin(self, prepared: FakePrepared, *donors: FakePrepared) -> FakeState:
        self.faults.begin(prepared.source)
        sources = [one.source for one in (prepared, *donors)]
        self.faults.begun.append((self.name, *("" if one is None else one.name for one in sources)))
        return FakeState(prepared)

    def inputs(self, state: FakeState, drive: Drive) -> Ports:
        self.faults.inputs(drive)
        state.frame = drive.frame
        x = float(drive.face.points[:, 0].mean())
        return {"value": np.array([x * drive.controls.mouth], np.float32)}

    def patch(self, state: FakeState, outputs: Ports) -> Patch:
        self.faults.patch(outputs)
        value = float(outputs["value"][0])
        if not np.isfinite(value):
            raise MarotteError("fake: value is NaN")
        spot = np.full((SPOT, SPOT, 3), _GREYS[round(value) % len(_GREYS)], np.uint8)
        edits = state.prepared.mode is Mode.EDIT
        canvas = state.frame if edits else state.prepared.source
        return Patch(spot, None, Crop(np.eye(2, 3), SPOT), canvas.rgb)  # type: ignore[union-attr]


@dataclass
class FakeRunner:
    faults: Faults

    batches = (1, 2, 4, 8)

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        self.faults.batches.append(len(batch))
        self.faults.run(batch)
        return list(batch)

    def close(self) -> None:
        self.faults.closed.append("runner")


class FakeTracker:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.main_id = 1
        self.resets = 0

    def track(self, frame: Frame) -> tuple[Face, ...]:
        self._faults.track(frame)
        face = face_at(float(frame.rgb[0, 0, 0]))
        offset = float(frame.rgb[0, 0, 0]) - float(face.points[:, 0].mean())
        return self._faults.faces(Face(face.box, face.points + np.float32([offset, 0, 0]), 0.99, 1))

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self._faults.closed.append("tracker")


class FakeDetector:
    """Sees a face in every picture that is not black."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        self._faults.detect(rgb)
        return (face_at(80),) if rgb.any() else ()

    def close(self) -> None:
        self._faults.closed.append("detector")


class FakeSegmenter:
    def mask(self, rgb: U8) -> U8:
        return np.full(rgb.shape[:2], 255, np.uint8)

    def close(self) -> None: ...


class FakeTools(Tools):
    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()

    def check(self, config: WorkerConfig) -> None:
        """Everything is there."""

    def open_generator(self, bundle: str, opening: Opening, accept: frozenset[str]) -> Any:
        self.faults.opening("generator")
        modes = {"both": frozenset(Mode), "donors": frozenset({Mode.EDIT})}.get(
            bundle, frozenset({Mode.PUPPET})
        )
        return FakeGenerator(self.faults, bundle, modes=modes), FakeRunner(self.faults)

    def offer(self, bundle: str, generator: Any, *, edit: bool) -> BundleInfo:
        modes = tuple(mode for mode in Mode if mode in generator.modes and (edit or mode is not Mode.EDIT))
        takes = frozenset(mode for mode in modes if generator.takes_source(mode))
        return BundleInfo(bundle, bundle.title(), "fake", "CC0-1.0", modes, takes)

    def tracker(self, opening: Opening) -> Any:
        self.faults.opening("tracker")
        return FakeTracker(self.faults)

    def detector(self, opening: Opening) -> Any:
        self.faults.opening("detector")
        return FakeDetector(self.faults)

    def segmenter(self, opening: Opening) -> Any:
        return FakeSegmenter()


def png(value: int, size: tuple[int, int] = (160, 160)) -> bytes:
    """A grey picture of (width, height) as a file."""
    _, data = cv2.imencode(".png", np.full((size[1], size[0], 3), value, np.uint8))
    return data.tobytes()


def driver_frame(value: int, size: tuple[int, int] = (256, 160)) -> U8:
    """A driver's frame in a hue that no source has; its first value is where the face is."""
    rgb = np.empty((size[1], size[0], 3), np.uint8)
    rgb[...] = DRIVER_HUE
    rgb[0, 0, 0] = value
    return rgb


class Desk:
    """A worker with one source, and sessions whose pictures can be waited for."""

    def __init__(self, worker: LocalWorker, faults: Faults) -> None:
        self.worker, self.faults = worker, faults
        self.source = self.add(100)
        self.left: queue.Queue[Delivery] = queue.Queue()
        self._number = 0

    def add(self, value: int) -> SourceInfo:
        return self.worker.add_source(png(value), f"{value}.png").result(WAIT_S)

    def open(self, name: str = "one", deliver: Callable[[Delivery], None] | None = None, **spec: Any) -> None:
        self.worker.open(name, SessionSpec(**{"source": self.source.id} | spec), deliver or self.left.put)

    def post(self, value: int = 50, name: str = "one", pts: int | None = None, rgb: U8 | None = None) -> bool:
        self._number += 1
        stamp = Stamp(self._number * 3000 if pts is None else pts, time.perf_counter(), value)
        return self.worker.post(name, driver_frame(value) if rgb is None else rgb, stamp)

    def next(self) -> Delivery:
        """The next picture that leaves."""
        return self.left.get(timeout=WAIT_S)

    def step(self, value: int = 50, name: str = "one", **more: Any) -> Delivery:
        """One frame in, its picture out."""
        self.post(value, name, **more)
        return self.next()

    def waiting(self, name: str = "one") -> int | None:
        """The value of the frame that is observed and waits to be generated."""
        observed = self.worker._sessions[name].generating._observed._item
        return None if observed is None else observed.stamp.mark

    def offered(self) -> int:
        """Faces that wait for a runner."""
        bundles = self.worker._stock.bundles.values()  # type: ignore[union-attr]
        return sum(bundle.runner._gathering.waiting for bundle in bundles)

    def change(self, change: Mapping[str, Any], name: str = "one") -> int:
        return self.worker.change(name, change)


@contextlib.contextmanager
def desk(faults: Faults | None = None, **config: Any) -> Iterator[Desk]:
    tools = FakeTools(faults)
    worker = LocalWorker(WorkerConfig(**config), tools)
    worker.start()
    try:
        yield Desk(worker, tools.faults)
    finally:
        worker.close()


class Gate:
    """Holds a stage until it is opened, and says when the stage has come to it."""

    def __init__(self) -> None:
        self._open, self._reached = threading.Event(), threading.Semaphore(0)

    def __call__(self, *_: object) -> None:
        self._reached.release()
        assert self._open.wait(WAIT_S)

    def reached(self) -> None:
        assert self._reached.acquire(timeout=WAIT_S)

    def open(self) -> None:
        self._open.set()


def value_of(delivery: Delivery) -> int:
    """The number that the picture shows; in a still, its grey in limited range."""
    return int(delivery.planes[4, 4]) - 16


def ground_of(delivery: Delivery) -> int:
    """The grey of the source that the picture shows."""
    return next(grey for grey in SOURCES if _luma(grey) == delivery.planes[100, 100])


def shows_driver(delivery: Delivery) -> bool:
    """Whether anything but grey is in it: the sources are grey, the driver is green."""
    height = delivery.planes.shape[0] * 2 // 3
    return bool((np.abs(delivery.planes[height:].astype(int) - 128) > 2).any())


def wait_for_state(worker: LocalWorker, state: State) -> None:
    reached = threading.Event()
    worker.on_status(lambda status: reached.set() if status.state is state else None)
    if worker.status().state is not state:
        assert reached.wait(WAIT_S)
