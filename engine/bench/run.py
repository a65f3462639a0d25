"""One measurement: sessions on every backend, by turns, and what their graphs take beside the floor."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from engine import backends
from engine.backends.driver import driver
from engine.bench import graphs
from engine.bench.chart import chart
from engine.bench.clocks import REFERENCE_REMAP_MS, percentiles_ms, resident_mb
from engine.bench.files import RESULT
from engine.bench.peak import Peak
from engine.bench.peak import measure as measure_peak
from engine.bench.session import BLOCK, SIDE, STAGES, WARM, Request, Rows, Stepped
from engine.errors import BackendError, BundleError, ConfigError
from engine.evaluate.parts import write_json
from engine.generators.frame_runner import FrameGenerator
from engine.media.picture import write_picture
from engine.plans import policy
from engine.types import Frame
from engine.versions import versions

Progress = Callable[[int, int | None], None]

FRAMES: Final = 300
EVERY: Final = "all"
"""In place of a backend's name: every one that can be used here, `auto`'s choice first."""

_ROUNDS: Final = 4
"""Of batches, each session's after the other's."""

_log = logging.getLogger("marotte.bench")


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured; `str()` is a table for people, `content` what stands in bench.json."""

    content: dict[str, Any]

    def __str__(self) -> str:
        core = self.content["calibration"]
        lines = [
            f"{self.content['bundle']} ({self.content['mode']}), {self.content['frames']} frames at {SIDE} x {SIDE}",
            f"this core: cv2.remap {core['remap_ms']:.2f} ms; on the right, one of {REFERENCE_REMAP_MS} ms",
        ]
        for one in self.content["backends"]:
            by = ", whole frames in one graph" if one["frame_graph"] else ""
            lines += ["", f"{one['name']} ({one['reason']}){by}", *_stage_lines(one), *_graph_lines(one)]
        return "\n".join([*lines, *_peak_lines(self.content.get("peak"))])


def _stage_lines(one: dict[str, Any]) -> Iterator[str]:
    yield f"{'CPU ms':<10}{'median':>8}{'p95':>8}{'scaled':>10}{'p95':>8}"
    for stage in STAGES:
        figures = one["stages"][stage]
        yield (
            f"{stage:<10}{figures['median_ms']:>8.2f}{figures['p95_ms']:>8.2f}"
            f"{figures['median_scaled_ms']:>10.2f}{figures['p95_scaled_ms']:>8.2f}"
        )
    wall = one["wall"]
    yield f"{'by the wall clock':<18}{wall['median_ms']:>8.2f}{wall['p95_ms']:>8.2f}"
    if one["host_share"] is not None:
        yield f"the device is idle for {one['host_share']:.0%} of the render stage"
    resident, opened = one["memory"]["resident_mb"], one["memory"]["opened_mb"]
    if resident is not None and opened is not None:
        yield f"memory: {resident:.0f} MB resident, {opened:.0f} MB of it by opening this"
    batches = ", ".join(f"{row['batch']}: {row['ms_per_frame']:.2f}" for row in one["batches"])
    yield f"ms a frame in batches of {batches}"


def _graph_lines(one: dict[str, Any]) -> Iterator[str]:
    if one["graphs"]:
        yield f"{'graph':<30}{'batch':>6}{'ms':>9}{'p95':>9}{'GFLOP':>9}{'floor ms':>10}{'reached':>9}"
    for row in one["graphs"]:
        gflop = f"{row['gflop']:.3f}" if "gflop" in row else "-"
        floor = f"{row['floor_ms']:.3f}" if "floor_ms" in row else "-"
        share = f"{row['share_of_floor']:.0%}" if "share_of_floor" in row else "-"
        elsewhere = "" if row["ran_on"] == one["name"] else f"  (run by {row['ran_on']})"
        yield (
            f"{row['graph'][:29]:<30}{row['batch']:>6}{row['median_ms']:>9.3f}{row['p95_ms']:>9.3f}{gflop:>9}"
            f"{floor:>10}{share:>9}{elsewhere}"
        )


def _peak_lines(peak: dict[str, Any] | None) -> Iterator[str]:
    if peak is not None:
        yield ""
        yield (
            f"at most {peak['gflop_per_s']:.0f} GFLOP/s (products of matrices by {peak['backend']}) and "
            f"{peak['gbyte_per_s']:.0f} GB/s (copies) were reached here: what the floors are told from"
        )


def run_bench(
    out: Path,
    request: Request | None = None,
    *,
    driver: Path | None = None,
    frames: int = FRAMES,
    progress: Progress | None = None,
) -> Bench:
    """Measure, and write `out`/bench.json and bench.png. request: its backend is a name, auto, or EVERY: their sessions
    take turns by blocks of frames, so that what else the machine does falls on all alike. driver: a clip with a face;
    default the moving sample.

    Raises ConfigError (frames), InputError (a driver without a face) and what opening models and bundle
    raises.
    """
    request = request or Request()
    check_frames(frames)
    names = names_of(request.backend)
    with by_turns([request.on(name) for name in names], driver, frames, progress) as sessions:
        runs = max(5, min(graphs.RUNS, frames // 15))
        batches = batches_by_turns(sessions, runs)
        of_graphs = [_graphs_on(request, name, runs) for name in names]
    measured = [one for every in of_graphs for one in every]
    peak = _peak_of(names, measured) if measured else None
    remaps = [one for session in sessions for one in session.rows.remaps]
    content: dict[str, Any] = {"bundle": sessions[0].generator.name, "mode": request.mode.value}
    content |= {"frames": frames} | _content(remaps, driver)
    content["backends"] = [
        _of_backend(session, one, [each.content(peak) for each in found], content["calibration"]["remap_ms"])
        for session, one, found in zip(sessions, batches, of_graphs)
    ]
    first = content["backends"][0]
    content |= {"stages": first["stages"], "backend": {"name": first["name"], "reason": first["reason"]}}
    if peak is not None:
        content["peak"] = peak.content()
    bench = Bench(content)
    write_json(out / RESULT, bench.content)
    write_picture(out / "bench.png", chart(bench.content))
    return bench


def check_frames(frames: int) -> None:
    """Raises ConfigError for too few to be measured."""
    if frames < BLOCK:
        raise ConfigError(f"frames: got {frames}, expected at least {BLOCK}")


def names_of(backend: str) -> list[str]:
    """Backends to be measured. Raises BackendError for one that cannot be used, or where none can."""
    if backend != EVERY:
        return [backend]
    found, first = ["auto"], backends.choose().name
    for name in (*_of_gpus(), *backends.BACKENDS):
        if name == first:
            continue
        try:
            backends.choose(name)
            found.append(name)
        except BackendError as error:
            _log.info("not measured: %s", error)
    return found


def _of_gpus() -> tuple[str, ...]:
    """Backends that are worth a try: without a driver none is, and nothing has to be told."""
    try:
        driver()
    except BackendError:
        return ()
    return backends.GPU_BACKENDS


@contextmanager
def by_turns(
    requests: Sequence[Request], driver: Path | None, frames: int, progress: Progress | None = None
) -> Iterator[list[Stepped]]:
    """A session for each request, which have played the same frames by turns; open until the end of the `with`."""
    with one_thread(), ExitStack() as stack:
        sessions = [stack.enter_context(Stepped(request)) for request in requests]
        play_by_turns(sessions, sessions[0].driver_frames(driver, frames + WARM), progress)
        yield sessions


@contextmanager
def one_thread() -> Iterator[None]:
    """A hidden thread would count in full, and other work on the machine little. Plans are built before anything is
    measured, so that none takes the place of another backend in the midst of it."""
    threads, before = cv2.getNumThreads(), policy.current()
    cv2.setNumThreads(1)
    policy.use(replace(before, wait=True))
    try:
        yield
    finally:
        policy.use(before)
        cv2.setNumThreads(threads)


def play_by_turns(
    sessions: Sequence[Stepped], frames: Sequence[Frame], progress: Progress | None = None
) -> None:
    """A block of frames for each session in turn, then the next block."""
    done = 0
    for start in range(0, len(frames), BLOCK):
        block = frames[start : start + BLOCK]
        for session in sessions:
            session.play(block)
            done += len(block)
            if progress is not None:
                progress(done, len(frames) * len(sessions))
    for session in sessions:
        session.detect(frames)


def batches_by_turns(sessions: Sequence[Stepped], runs: int = graphs.RUNS) -> list[list[dict[str, float]]]:
    """Each session's runner for several frames at once, in rounds that all of them take part in."""
    seconds: list[dict[int, list[float]]] = [{batch: [] for batch in graphs.BATCHES} for _ in sessions]
    for _ in range(_ROUNDS):
        for session, taken in zip(sessions, seconds):
            on_device = session.choice.name in backends.GPU_BACKENDS
            each = max(2, runs // _ROUNDS)
            found = graphs.run_batches(session.runner, session.kept_ports(), runs=each, on_device=on_device)
            for batch, spent in found.items():
                taken[batch] += spent
    return [[_batch(batch, spent) for batch, spent in taken.items()] for taken in seconds]


def _batch(batch: int, seconds: Sequence[float]) -> dict[str, float]:
    median, p95 = percentiles_ms(seconds)
    return {"batch": batch, "median_ms": median, "p95_ms": p95, "ms_per_frame": median / batch}


def _graphs_on(request: Request, backend: str, runs: int) -> list[graphs.Figures]:
    """A graph that this backend refuses is told and left out."""
    found = []
    for piece in graphs.pieces(request.bundle, request.accept, request.cache):
        for batch in piece.batches:
            try:
                found.append(graphs.measure(piece, backend, batch, runs))
            except (BackendError, BundleError) as error:
                _log.warning("%s on %s was not measured: %s", piece.name, backend, error)
    return found


def _peak_of(names: Sequence[str], measured: Sequence[graphs.Figures]) -> Peak | None:
    """Of the device on which most was done: a floor is told for that one alone."""
    on_device = {one.ran_on for one in measured if one.clock != "cpu"}
    used = sorted(on_device) or names
    # plans hold bundles' graphs in the policy's precision; no other backend computes in less than its file says
    halves = "tensorrt" in on_device and policy.current().precision != "fp32"
    try:
        return measure_peak(used, width=2 if halves else 4)
    except BackendError as error:
        _log.warning("no floor is told: %s", error)
        return None


def _content(remaps: Sequence[float], driver: Path | None) -> dict[str, Any]:
    return {
        "driver": "the moving sample" if driver is None else driver.name,
        "calibration": {"remap_ms": 1000 * float(np.median(remaps)), "reference_ms": REFERENCE_REMAP_MS},
        "memory": {"resident_mb": resident_mb()},
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "versions": versions(),
    }


def _of_backend(
    session: Stepped, batches: list[dict[str, float]], measured: list[dict[str, Any]], remap_ms: float
) -> dict[str, Any]:
    rows = session.rows
    wall, wall_p95 = percentiles_ms(rows.wall)
    return {
        "name": session.choice.name,
        "reason": session.choice.reason,
        "frame_graph": isinstance(session.generator, FrameGenerator),
        "stages": {stage: figures(rows.stages[stage], REFERENCE_REMAP_MS / remap_ms) for stage in STAGES},
        "wall": {"median_ms": wall, "p95_ms": wall_p95},
        "host_share": host_share(rows),
        "batches": batches,
        "graphs": measured,
        "memory": {"resident_mb": resident_mb(), "opened_mb": session.opened_mb},
    }


def host_share(rows: Rows) -> float | None:
    """Share of the render stage in which the device is idle; None without a device."""
    if not rows.device:
        return None
    return 1.0 - sum(rows.device) / max(sum(rows.render_wall), 1e-9)


def figures(seconds: Sequence[float], scale: float) -> dict[str, float]:
    """Milliseconds, and the same on the core of REFERENCE_REMAP_MS."""
    median, p95 = percentiles_ms(seconds)
    return {
        "median_ms": median,
        "p95_ms": p95,
        "median_scaled_ms": median * scale,
        "p95_scaled_ms": p95 * scale,
    }
