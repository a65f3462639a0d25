"""CPU time per stage on this machine, beside a figure for the speed of its core.

The sample portrait, cut to 512 x 512, is moved by 512 x 512 frames of a driver: a clip by path, or else the
moving sample itself, which the tracker sees as it sees anybody. In an edit those frames are edited, with the sample
as the donor where one is taken. One thread; CPU time of the process, so that other work on the machine counts little
and a hidden thread counts in full.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engine import backends
from engine.errors import ConfigError, DecodeError, InputError
from engine.evaluate.clip import Cut, first_face
from engine.evaluate.parts import write_json
from engine.evaluate.soundness import is_number
from engine.generators import open_generator
from engine.media import open_media, read_picture
from engine.pipeline import PipelineConfig, Session
from engine.plug import Generator, Runner
from engine.puppet import Opening, mode_of, open_measurers
from engine.sample import sample_portrait
from engine.sample.demo import DemoTracker, demo_frames
from engine.source import sources_from_picture
from engine.track.face import FaceTracker
from engine.types import U8, Controls, Frame, Mode, Outcome, Signal, Source
from engine.versions import versions

Progress = Callable[[int, int | None], None]

FRAMES = 300
REFERENCE_REMAP_MS = 2.1
"""CPU milliseconds of `remap_ms` on the core to which figures are scaled."""

STAGES = ("detect", "track", "occlusion", "features", "inputs", "run", "paste", "render", "all")
"""detect: a face in a single picture, apart from the rest. track: from one frame of video to the next.
occlusion: what stands in front of the face, 0 for a generator that does not heed it. features: measuring,
calibrating, smoothing. inputs, run, paste: the generator's three steps and the blend. render: these three together.
all: track, occlusion, features and render."""

_OWN = ("track", "occlusion", "features", "inputs", "paste")
"""Those that a session tells by itself."""

_SIDE = 512
_WARM = 30
_BLOCK = 25
_DETECT_EVERY = 10

# On Windows the process clock ticks every 15.6 ms: too coarse for one stage of one frame.
cpu_clock = time.perf_counter if sys.platform == "win32" else time.process_time


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured; `str()` is a table for people, `content` what stands in bench.json."""

    content: dict[str, Any]

    def __str__(self) -> str:
        core = self.content["calibration"]
        lines = [
            f"{self.content['bundle']} ({self.content['mode']}), {self.content['frames']} frames at {_SIDE} x {_SIDE}, "
            f"{self.content['backend']['name']} ({self.content['backend']['reason']})",
            f"this core: cv2.remap {core['remap_ms']:.2f} ms; on the right, one of {REFERENCE_REMAP_MS} ms",
            f"{'CPU ms':<10}{'median':>8}{'p95':>8}{'scaled':>10}{'p95':>8}",
        ]
        for stage in STAGES:
            one = self.content["stages"][stage]
            lines.append(
                f"{stage:<10}{one['median_ms']:>8.2f}{one['p95_ms']:>8.2f}"
                f"{one['median_scaled_ms']:>10.2f}{one['p95_scaled_ms']:>8.2f}"
            )
        memory = self.content["memory"]
        resident = "unknown" if memory["resident_mb"] is None else f"{memory['resident_mb']:.0f} MB"
        return "\n".join([*lines, f"memory: {resident} resident"])


def run_bench(
    out: Path,
    *,
    driver: Path | None = None,
    bundle: str = "mesh_flow",
    mode: Mode | str = Mode.PUPPET,
    accept: Iterable[str] = (),
    remove: bool = False,
    backend: str = "auto",
    cache: Path | None = None,
    frames: int = FRAMES,
    progress: Progress | None = None,
) -> Bench:
    """Measure, and write `out`/bench.json. driver: a clip with a face; default the moving sample. mode, accept: as of
    engine.puppet.open_puppet. remove: the edit takes its attribute away.

    Raises ConfigError (frames), InputError (a driver without a face) and what opening models and bundle
    raises.
    """
    if frames < _BLOCK:
        raise ConfigError(f"frames: got {frames}, expected at least {_BLOCK}")
    mode = mode_of(mode)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    tracker = FaceTracker(backend=backend, cache=cache)
    try:
        opened = open_generator(bundle, backend=backend, accept=frozenset(accept), threads=1)
        with _Timed(tracker, opened, mode, Opening(backend, cache=cache)) as timed:
            timed.controls = _asked(opened[0], remove)
            pictures = timed.driver_frames(driver, frames + _WARM)
            rows, remaps = timed.measure(pictures, progress)
    finally:
        tracker.close()
        cv2.setNumThreads(threads)
    bench = Bench({"bundle": opened[0].name, "mode": mode.value} | _content(rows, remaps, backend, driver))
    write_json(out / "bench.json", bench.content)
    return bench


class _Timed:
    """The parts of a session, stepped by hand so that each is timed apart."""

    def __init__(
        self,
        tracker: FaceTracker,
        opened: tuple[Generator, Runner],
        mode: Mode,
        opening: Opening,
    ) -> None:
        self._tracker, self._mode, self.controls = tracker, mode, Controls()
        self._generator, self._runner = opened
        with ExitStack() as stack:
            stack.callback(self._runner.close)
            self._measurers = open_measurers(self._generator, opening, stack)
            self._segmenter = stack.enter_context(closing(opening.segmenter()))
            self._source = self._cut_sample()
            self._open = stack.pop_all()

    def __enter__(self) -> _Timed:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _cut_sample(self) -> Source:
        rgb = read_picture(sample_portrait())
        found = self._tracker.detect(rgb)
        if not found:
            raise InputError("the sample portrait shows no face to this tracker; run: marotte models verify")
        cut = Cut.around(found[0].points, rgb.shape).of(rgb)
        return sources_from_picture(cut, self._tracker, self._segmenter, name="sample")[0]

    def driver_frames(self, driver: Path | None, count: int) -> list[Frame]:
        """Frames of 512 x 512 at most; a clip that is too short starts again, its clock goes on."""
        pictures = self._moving_sample(count) if driver is None else self._clip(driver, count)
        return [_at(pictures[number % len(pictures)], number) for number in range(count)]

    def _moving_sample(self, count: int) -> list[U8]:
        session = Session(DemoTracker(), *open_generator("mesh_flow"), [self._source])
        return [session.step(frame)[0].rgb for frame in islice(demo_frames((_SIDE, _SIDE)), count)]

    def _clip(self, driver: Path, count: int) -> list[U8]:
        first, cut = first_face(driver, self._tracker)
        with open_media(driver) as media:
            pictures = [cut.of(frame.rgb) for frame in islice(media, first, first + count)]
        if not pictures:
            raise DecodeError(f"{driver.name}: no frame could be decoded; get the file again")
        return pictures

    def measure(
        self, frames: Sequence[Frame], progress: Progress | None
    ) -> tuple[dict[str, list[float]], list[float]]:
        """Seconds per stage and frame, and of the calibrating remap in between."""
        session = Session(
            self._tracker,
            self._generator,
            self._runner,
            [self._source] if self._generator.takes_source(self._mode) else [],
            config=PipelineConfig(mode=self._mode),
            controls=self.controls,
            clock=cpu_clock,
            **self._measurers,
        )
        rows: dict[str, list[float]] = {stage: [] for stage in STAGES}
        remaps: list[float] = []
        self._tracker.reset()
        for number, frame in enumerate(frames):
            seconds = self._step(session, frame)
            if number >= _WARM:
                for stage, value in seconds.items():
                    rows[stage].append(value)
            if number % _BLOCK == _BLOCK - 1:
                remaps += remap_seconds(20)
            if progress is not None:
                progress(number + 1, len(frames))
        rows["detect"] = [self._detect(frame) for frame in frames[_WARM::_DETECT_EVERY]]
        return rows, remaps

    def _step(self, session: Session, frame: Frame) -> dict[str, float]:
        work = session.observe(frame)
        started = cpu_clock()
        outputs = self._runner.run(work.ports)
        run_s = cpu_clock() - started
        _, report = session.show(work, outputs, run_s)
        if report.outcome is not Outcome.GENERATED:
            raise InputError(
                f"{self._generator.name}: a frame was not generated ({report.reason}); name another clip"
            )
        spent = report.seconds
        seconds = {stage: spent.get(stage, 0.0) for stage in _OWN}
        seconds["run"] = run_s
        seconds["render"] = seconds["inputs"] + run_s + seconds["paste"]
        seconds["all"] = sum(seconds[stage] for stage in ("track", "occlusion", "features", "render"))
        return seconds

    def _detect(self, frame: Frame) -> float:
        started = cpu_clock()
        self._tracker.detect(frame.rgb)
        return cpu_clock() - started


def _asked(generator: Generator, remove: bool) -> Controls:
    """What a frame is edited to: a smile where there are action units, so that something is painted."""
    if remove and "remove" not in generator.heeds:
        raise ConfigError(f"remove: {generator.name} cannot take an attribute away; leave it out")
    offsets = {"AU12": 0.5} if Signal.AUS in generator.needs else {}
    return Controls(au_offsets=offsets, remove=remove)


def _at(rgb: U8, number: int) -> Frame:
    return Frame(rgb, number, Fraction(1, 30), number / 30)


def remap_seconds(times: int) -> list[float]:
    """CPU seconds of `times` linear cv2.remap calls on a fixed 512 x 512 RGB picture with fixed maps."""
    rng = np.random.default_rng(512)
    picture = rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
    y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
    map_x = x + 6 * np.sin(y / 40)
    map_y = y + 6 * np.cos(x / 40)
    moved = np.empty_like(picture)
    seconds = []
    for _ in range(times):
        started = cpu_clock()
        cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, dst=moved)
        seconds.append(cpu_clock() - started)
    return seconds


def _content(
    rows: dict[str, list[float]], remaps: Sequence[float], backend: str, driver: Path | None
) -> dict[str, Any]:
    remap_ms = 1000 * float(np.median(remaps))
    choice = backends.choose(backend)
    return {
        "frames": len(rows["all"]),
        "driver": "the moving sample" if driver is None else driver.name,
        "backend": {"name": choice.name, "reason": choice.reason},
        "calibration": {"remap_ms": remap_ms, "reference_ms": REFERENCE_REMAP_MS},
        "stages": {stage: _figures(rows[stage], REFERENCE_REMAP_MS / remap_ms) for stage in STAGES},
        "memory": {"resident_mb": resident_mb()},
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "versions": versions(),
    }


def _figures(seconds: Sequence[float], scale: float) -> dict[str, float]:
    median, p95 = (1000 * float(value) for value in np.percentile(seconds, (50, 95)))
    return {
        "median_ms": median,
        "p95_ms": p95,
        "median_scaled_ms": median * scale,
        "p95_scaled_ms": p95 * scale,
    }


def resident_mb() -> float | None:
    """Memory that this process holds, in MB; its peak where the system tells no other; None where it tells
    none.
    """
    try:
        fields = Path("/proc/self/status").read_text(encoding="ascii").split("VmRSS:")
        return int(fields[1].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        pass
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # bytes on macOS


def compare(a: Path, b: Path) -> str:
    """Two bench.json, or the folders that hold them, side by side: scaled medians and the ratio B / A per stage.

    Raises ConfigError.
    """
    first, second = _load(a), _load(b)
    lines = [f"{'scaled CPU ms':<14}{'A':>9}{'B':>9}{'B / A':>9}"]
    for stage in STAGES:
        one, other = first[stage], second[stage]
        ratio = f"{other / one:>9.3f}" if one > 0 else f"{'-':>9}"
        lines.append(f"{stage:<14}{one:>9.2f}{other:>9.2f}{ratio}")
    return "\n".join(lines)


def _load(path: Path) -> dict[str, float]:
    """The scaled median per stage."""
    path = path / "bench.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        medians = {stage: content["stages"][stage]["median_scaled_ms"] for stage in STAGES}
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        medians = {}
    if not medians or not all(is_number(value) and value >= 0 for value in medians.values()):
        raise ConfigError(
            f"{path}: no bench.json of this version; expected a file that `marotte bench` wrote"
        )
    return medians
