"""A body by itself: what skinning costs at the sizes of SMPL and SMPL-H, and fitting one to the tracker's points."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.bench.clocks import percentiles_ms
from engine.bench.run import check_frames
from engine.body import skeleton
from engine.body.fitter import BodyFitter, standing
from engine.body.model import BodyModel
from engine.body.synthetic import synthetic_body
from engine.errors import NoBodyError
from engine.evaluate.parts import write_json
from engine.media import open_media
from engine.mesh import rotations as forms
from engine.track.body import LIVE_HZ, BodyTracker
from engine.types import F32, Body
from engine.versions import versions

RESULT: Final = "body.json"
VERTICES: Final = 6890
FACES: Final = 13776
FINGERS: Final = (*([skeleton.WRISTS[0]] * 15), *([skeleton.WRISTS[1]] * 15))
"""Parents of SMPL-H's hand joints, near enough: what they cost does not depend on the order within a finger."""


def sized(joints: tuple[int, ...]) -> BodyModel:
    """A model of SMPL's size with any numbers in it: skinning takes as long whatever they are."""
    numbers, count = np.random.default_rng(0), len(joints)

    def some(*shape: int) -> F32:
        return numbers.standard_normal(shape, dtype=np.float32)

    weights = np.abs(some(VERTICES, count))
    return BodyModel(
        some(VERTICES, 3),
        some(VERTICES, 3, 10),
        some(9 * (count - 1), 3 * VERTICES),
        np.abs(some(count, VERTICES)),
        np.asarray(weights / weights.sum(1, keepdims=True), np.float32),
        joints,
        numbers.integers(0, VERTICES, (FACES, 3), dtype=np.int32),
    )


def _timed(what: Callable[[int], object], frames: int) -> Sequence[float]:
    what(0)
    seconds = []
    for frame in range(1, frames + 1):
        started = time.thread_time()
        what(frame)
        seconds.append(time.thread_time() - started)
    return seconds


def _skinning(model: BodyModel, frames: int) -> Sequence[float]:
    numbers = np.random.default_rng(1)
    poses = forms.from_vectors(0.3 * numbers.standard_normal((8, len(model.parents), 3), dtype=np.float32))
    shaped = model.shaped()
    return _timed(lambda frame: shaped.posed(poses[frame % len(poses)]), frames)


def _fitting(frames: int) -> Sequence[float]:
    """Frames of somebody who waves, with a centimetre of noise, every one measured anew."""
    fitter, numbers = BodyFitter(synthetic_body()), np.random.default_rng(2)
    shaped = synthetic_body().shaped()
    bodies = []
    for frame in range(frames + 1):
        pose = standing()
        for joint in (*skeleton.SHOULDERS, *skeleton.ELBOWS):
            turned = np.array([0.0, 0.4 * np.sin(frame / 5), 0.3 * np.cos(frame / 7)])
            pose[joint] = pose[joint] @ forms.from_vectors(turned)
        points = fitter.landmarks.of(shaped.posed(pose.astype(np.float32)))
        points = points + 0.01 * numbers.standard_normal(points.shape).astype(np.float32)
        sure = np.ones((len(points), 1), np.float32)
        flat = np.hstack([200 * points + [320, 240, 0], sure]).astype(np.float32)
        bodies.append(Body(flat, np.hstack([points, sure]).astype(np.float32), frame / 30))
    return _timed(lambda frame: fitter.follow(bodies[frame], (640, 480)), frames)


def _following(clip: Path, frames: int, backend: str, cache: Path | None) -> dict[str, Sequence[float]]:
    """CPU seconds of the tracker and of the fitter on a clip that is played again and again, every frame looked at."""
    with closing(BodyTracker(backend, cache, every_frame=True)) as tracker:
        fitter = BodyFitter(synthetic_body())
        tracked, fits = list[float](), list[float]()
        while len(fits) < frames:
            before, shift = len(fits), len(tracked)
            with open_media(clip) as media:
                for number, frame in enumerate(media):
                    seen = replace(frame, pts=round((shift + number) / (media.rate * media.time_base)))
                    started = time.process_time()
                    body = tracker.track(seen)
                    tracked.append(time.process_time() - started)
                    if body is None:
                        continue
                    started = time.process_time()
                    fitter.follow(body, frame.size)
                    fits.append(time.process_time() - started)
                    if len(fits) == frames:
                        break
            if len(fits) == before:
                raise NoBodyError(f"{clip.name}: no body found; expected a clip of one person")
    return {"track a body, networks included": tracked[1:], "fit to what was tracked": fits[1:]}


@dataclass(frozen=True, slots=True)
class BodyBench:
    """What was measured, as it is in body.json."""

    content: dict[str, Any]

    def __str__(self) -> str:
        lines = [f"{'what':<36}{'best ms':>9}{'median':>8}{'p95':>8}"]
        lines += [
            f"{row['what']:<36}{row['best_ms']:>9.2f}{row['median_ms']:>8.2f}{row['p95_ms']:>8.2f}"
            for row in self.content["rows"]
        ]
        if (most := self.content.get("runs_a_second")) is not None:
            lines.append(
                f"tracker and fitter together: {most:.0f} runs a second of one core, live asks {LIVE_HZ:g}"
            )
        return "\n".join(lines)


def run_body_bench(
    out: Path, frames: int, driver: Path | None = None, backend: str = "auto", cache: Path | None = None
) -> BodyBench:
    """Measure, and write `out`/body.json. driver: a clip of a person, on which the tracker is measured as well. Raises
    ConfigError for too few frames, NoBodyError for a clip without a person."""
    check_frames(frames)
    measured = {
        "skin, synthetic body": _skinning(synthetic_body(), frames),
        "skin, SMPL's size": _skinning(sized(skeleton.PARENTS), frames),
        "skin, SMPL-H's size": _skinning(sized((*skeleton.PARENTS[:22], *FINGERS)), frames),
        "fit to 33 points, with filters": _fitting(frames),
    }
    content: dict[str, Any] = {"frames": frames}
    if driver is not None:
        followed = _following(driver, frames, backend, cache)
        measured |= followed
        middle = sum(percentiles_ms(seconds)[0] for seconds in followed.values())
        content |= {
            "driver": str(driver),
            "backend": backend,
            "runs_a_second": 1000 / middle,
            "live_hz": LIVE_HZ,
        }
    rows = []
    for what, seconds in measured.items():
        median, p95 = percentiles_ms(seconds)
        rows.append({"what": what, "best_ms": 1000 * min(seconds), "median_ms": median, "p95_ms": p95})
    bench = BodyBench(content | {"rows": rows, "versions": versions()})
    write_json(out / RESULT, bench.content)
    return bench
