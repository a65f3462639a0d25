"""A session stepped by hand, so that each of its stages is timed apart.

The sample portrait, cut to 512 x 512, is moved by 512 x 512 frames of a driver: a clip by path, or else the
moving sample itself, which the tracker sees as it sees anybody. In an edit those frames are edited, with the sample
as the donor where one is taken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from engine import backends
from engine.backends import Choice
from engine.backends.graph import lasting
from engine.bench.clocks import DeviceClock, cpu_clock, remap_seconds, resident_mb
from engine.errors import ConfigError, DecodeError, InputError
from engine.evaluate.clip import Cut, first_face
from engine.generators import open_generator
from engine.generators.batch_runner import batches_for
from engine.media import open_media, read_picture
from engine.pipeline import PipelineConfig, Session
from engine.plug import Generator, Ports
from engine.puppet import Opening, open_measurers
from engine.sample import sample_portrait
from engine.sample.demo import DemoTracker, demo_frames
from engine.source import sources_from_picture
from engine.track.face import FaceTracker
from engine.types import U8, Controls, Frame, Mode, Outcome, Signal, Source

STAGES: Final = ("detect", "track", "occlusion", "features", "inputs", "run", "paste", "render", "all")
"""detect: a face in a single picture, apart from the rest. track: from one frame of video to the next.
occlusion: what stands in front of the face, 0 for a generator that does not heed it. features: measuring,
calibrating, smoothing. inputs, run, paste: the generator's three steps and the blend. render: these three together.
all: track, occlusion, features and render."""

WARM: Final = 30
"""Frames that are shown and not counted."""
BLOCK: Final = 25
"""Frames that one session is stepped by before the next one's turn."""
SIDE: Final = 512

_OWN = ("track", "occlusion", "features", "inputs", "paste")
"""Those that a session tells by itself."""
_DETECT_EVERY = 10


@dataclass(frozen=True, slots=True)
class Request:
    """What is measured. accept: terms of bundles. remove: the edit takes its attribute away. cache: of the models.
    frame_graph: whether whole frames go through one graph, as in engine.generators.open_generator."""

    bundle: str = "mesh_flow"
    mode: Mode = Mode.PUPPET
    accept: frozenset[str] = frozenset()
    remove: bool = False
    backend: str = "auto"
    cache: Path | None = None
    frame_graph: bool | None = None

    def on(self, backend: str) -> Request:
        return replace(self, backend=backend)


@dataclass(slots=True)
class Rows:
    """Seconds, one per frame. stages: CPU time by stage. wall: whole frames. render_wall: the render stage, and device:
    what a device was busy for in it, where there is one. remaps: of the calibrating remap in between."""

    stages: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    wall: list[float] = field(default_factory=list)
    render_wall: list[float] = field(default_factory=list)
    device: list[float] = field(default_factory=list)
    remaps: list[float] = field(default_factory=list)


class Stepped:
    """One session on one backend. Use it in a `with`. rows: what was measured so far; ports: the last frame's."""

    def __init__(self, request: Request) -> None:
        self.request, self.rows = request, Rows()
        self.ports: Sequence[Ports] = ()
        self.choice: Choice = backends.choose(request.backend)
        before = resident_mb()
        opening = Opening(request.backend, cache=request.cache)
        with ExitStack() as stack:
            self.tracker = stack.enter_context(
                closing(FaceTracker(backend=request.backend, cache=request.cache))
            )
            self.generator, self.runner = open_generator(
                request.bundle,
                backend=request.backend,
                accept=request.accept,
                threads=1,
                batches=batches_for(self.choice.name, 0),
                frames=request.frame_graph,
            )
            stack.callback(self.runner.close)
            self._controls = _asked(self.generator, request.remove)
            measurers = open_measurers(self.generator, opening, stack)
            self._segmenter = stack.enter_context(closing(opening.segmenter()))
            self.source = self._cut_sample()
            self._session = Session(
                self.tracker,
                self.generator,
                self.runner,
                [self.source] if self.generator.takes_source(request.mode) else [],
                config=PipelineConfig(mode=request.mode),
                controls=self._controls,
                clock=cpu_clock,
                **measurers,
            )
            self._open = stack.pop_all()
        after = resident_mb()
        self.opened_mb = None if before is None or after is None else after - before
        self._seen = 0
        self._device = DeviceClock(self.runner)

    def __enter__(self) -> Stepped:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _cut_sample(self) -> Source:
        rgb = read_picture(sample_portrait())
        found = self.tracker.detect(rgb)
        if not found:
            raise InputError("the sample portrait shows no face to this tracker; run: marotte models verify")
        cut = Cut.around(found[0].points, rgb.shape).of(rgb)
        return sources_from_picture(cut, self.tracker, self._segmenter, name="sample")[0]

    def driver_frames(self, driver: Path | None, count: int) -> list[Frame]:
        """Frames of 512 x 512 at most; a clip that is too short starts again, its clock goes on."""
        pictures = self._moving_sample(count) if driver is None else self._clip(driver, count)
        return [_at(pictures[number % len(pictures)], number) for number in range(count)]

    def _moving_sample(self, count: int) -> list[U8]:
        session = Session(DemoTracker(), *open_generator("mesh_flow"), [self.source])
        return [session.step(frame)[0].rgb for frame in islice(demo_frames((SIDE, SIDE)), count)]

    def _clip(self, driver: Path, count: int) -> list[U8]:
        first, cut = first_face(driver, self.tracker)
        with open_media(driver) as media:
            pictures = [cut.of(frame.rgb) for frame in islice(media, first, first + count)]
        if not pictures:
            raise DecodeError(f"{driver.name}: no frame could be decoded; get the file again")
        return pictures

    def play(self, frames: Sequence[Frame]) -> None:
        """Step through frames that follow those of the last call. The first WARM of all are not counted."""
        if not self._seen:
            self.tracker.reset()
        for frame in frames:
            self._step(frame, counted=self._seen >= WARM)
            self._seen += 1
        self.rows.remaps += remap_seconds(20)

    def _step(self, frame: Frame, *, counted: bool) -> None:
        began = time.perf_counter()
        self._device.begin()
        work = self._session.observe(frame)
        started, started_wall = cpu_clock(), time.perf_counter()
        outputs = self.runner.run(work.ports)
        run_s = cpu_clock() - started
        _, report = self._session.show(work, outputs, run_s)
        ended = time.perf_counter()
        if report.outcome is not Outcome.GENERATED:
            raise InputError(
                f"{self.generator.name}: a frame was not generated ({report.reason}); name another clip"
            )
        self.ports = work.ports
        if not counted:
            return
        spent = report.seconds
        seconds = {stage: spent.get(stage, 0.0) for stage in _OWN}
        seconds["run"] = run_s
        seconds["render"] = seconds["inputs"] + run_s + seconds["paste"]
        seconds["all"] = sum(seconds[stage] for stage in ("track", "occlusion", "features", "render"))
        for stage, value in seconds.items():
            self.rows.stages[stage].append(value)
        self.rows.wall.append(ended - began)
        busy = self._device.seconds()
        if busy is not None:
            # inputs are computed while the frame is observed, by the CPU
            self.rows.render_wall.append(ended - started_wall + seconds["inputs"])
            self.rows.device.append(busy)

    def detect(self, frames: Sequence[Frame]) -> None:
        """A face in single pictures, every tenth of them; the tracks of `play` end with it."""
        for frame in frames[WARM::_DETECT_EVERY]:
            started = cpu_clock()
            self.tracker.detect(frame.rgb)
            self.rows.stages["detect"].append(cpu_clock() - started)

    def kept_ports(self) -> list[dict[str, np.ndarray]]:
        """The last frame's, as arrays that nobody writes to any more; those that nobody can write to as they are."""
        return [
            {name: array if lasting(array) else array.copy() for name, array in ports.items()}
            for ports in self.ports
        ]


def _asked(generator: Generator, remove: bool) -> Controls:
    """What a frame is edited to: a smile where there are action units, so that something is painted."""
    if remove and "remove" not in generator.heeds:
        raise ConfigError(f"remove: {generator.name} cannot take an attribute away; leave it out")
    offsets = {"AU12": 0.5} if Signal.AUS in generator.needs else {}
    return Controls(au_offsets=offsets, remove=remove)


def _at(rgb: U8, number: int) -> Frame:
    return Frame(rgb, number, Fraction(1, 30), number / 30)
