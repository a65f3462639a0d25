"""One run: a browser-to-browser call, the call through the engine and an identity echo, side by side.

The three take turns in short windows, so that what else the machine does hits them alike; then one long call through
the engine shows whether its delay grows, and one more, whose pictures are kept, how far motion is behind.
"""

from __future__ import annotations

import platform
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BackendError, ConfigError
from engine.evaluate.parts import write_json, write_text
from engine.generators import check_bundle
from engine.media import decode_picture
from engine.track.face import FaceTracker
from engine.types import F64, Mode
from engine.versions import versions
from engine.worker.interface import WorkerConfig, bundle_name
from engine.worker.offers import check_offers
from streaming.bench import figures, motion
from streaming.bench.clip import RATE, SIZE, camera_clip
from streaming.bench.page import CallPage, Kept, call_page
from streaming.bench.plot import drawing
from streaming.bench.server import ServerProcess, config_of, cpu_seconds

Progress = Callable[[int, int | None], None]

CODECS = ("vp8", "h264")
WAYS = ("browser", "echo", "engine")
"""browser: to another connection of the page. echo: to a server that sends back what it decoded. engine: all of it."""

_WINDOW_S, _SETTLE_S, _LONG_PIECE_S, _MOTION_S = 6.0, 3.0, 5.0, 15.0
_CONNECT_S = 1.0  # as far as the progress bar is concerned
_READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """codecs: measured one after the other. seconds: of the long call. rounds: windows of each way. motion_s: of the
    call whose pictures are kept."""

    codecs: Sequence[str] = CODECS
    seconds: float = 120.0
    rounds: int = 4
    motion_s: float = _MOTION_S

    def __post_init__(self) -> None:
        if not self.codecs or not set(self.codecs) <= set(CODECS):
            raise ConfigError(
                f"codec: got {', '.join(self.codecs) or 'none'}, expected {' or '.join(CODECS)}"
            )
        if not 1 <= self.rounds <= 100:
            raise ConfigError(f"rounds: got {self.rounds}, expected 1 .. 100")
        for name, seconds in (("seconds", self.seconds), ("motion_s", self.motion_s)):
            if not (seconds == 0 or 10 <= seconds <= 3600):
                raise ConfigError(f"{name}: got {seconds:g}, expected 10 .. 3600, or 0 to leave it out")

    @property
    def total_s(self) -> float:
        """About how long it all takes."""
        window = _WINDOW_S + _SETTLE_S + _CONNECT_S
        one = len(WAYS) * self.rounds * window + sum(
            _SETTLE_S + _CONNECT_S + seconds for seconds in (self.seconds, self.motion_s) if seconds
        )
        return len(self.codecs) * one


@dataclass(slots=True)
class LiveBench:
    """What was measured until now. content: as in live.json. points: per codec and way, seconds into the run and
    glass-to-glass milliseconds of each picture, for the drawing."""

    content: dict[str, Any]
    points: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)

    def __str__(self) -> str:
        from streaming.bench.table import table

        return table(self.content)

    def save(self, out: Path) -> None:
        """Write live.json and live.svg, each whole or not at all."""
        write_json(out / "live.json", self.content)
        write_text(out / "live.svg", drawing(self.content, self.points))


def run_live_bench(
    out: Path,
    *,
    driver: Path | None = None,
    plan: Plan | None = None,
    worker: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> LiveBench:
    """Measure, and write `out`/live.json and `out`/live.svg, anew after each window.

    driver: clip whose frames the camera shows; None is the moving sample. worker: fields of WorkerConfig; the calls
    through the engine are of its first bundle, and where it has `edit` they edit the camera's own picture. Interrupted
    (KeyboardInterrupt), what was measured so far is kept, and the interruption goes on to the caller. Raises
    ConfigError (no Playwright, no Chromium, a wrong plan, a bundle that cannot be opened so), InputError (the driver),
    BackendError (server or page).
    """
    plan = plan or Plan()
    settings = {"worker": worker or {}}
    config = config_of(settings).worker
    check_offers(config)
    mode = _mode(config)
    clip = camera_clip(driver, out / "cameras")
    bench = LiveBench(_about(driver, plan, bundle_name(config.bundles[0]), mode))
    with ExitStack() as opened:
        opened.callback(lambda: clip.unlink(missing_ok=True))  # large, and quickly made again
        engine = opened.enter_context(ServerProcess(settings))
        echo = opened.enter_context(ServerProcess(settings | {"pass_through": True, "in_process": True}))
        servers = {"engine": engine, "echo": echo}
        for server in servers.values():
            wait_until_ready(server)
        page = opened.enter_context(call_page(clip))
        _Run(bench, plan, page, servers, out, progress or _quiet, mode).all()
    return bench


def _mode(config: WorkerConfig) -> Mode:
    """What the calls through the engine do. Raises ConfigError where the first bundle cannot."""
    if not config.edit:
        return Mode.PUPPET
    opened = check_bundle(config.bundles[0], config.accept)
    if opened is None or Mode.EDIT not in opened.manifest.parameters.modes:
        raise ConfigError(
            f"edit: bundle {bundle_name(config.bundles[0])} only moves portraits; leave --edit out"
        )
    return Mode.EDIT


def _quiet(done: int, total: int | None) -> None:
    """No progress is shown."""


def wait_until_ready(server: ServerProcess, timeout_s: float = _READY_S) -> None:
    """Until /readyz says so. Raises BackendError with the last answer."""
    until, last = time.monotonic() + timeout_s, "no answer"
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{server.origin}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError as error:
            last = str(error)
        time.sleep(0.1)
    raise BackendError(f"the server is not ready after {timeout_s:.0f} s: {last}: {server.log[-1000:]}")


def encoding(server: ServerProcess) -> dict[str, float]:
    """Seconds spent on encoding, and pictures encoded, of all codecs, from /metrics."""
    request = urllib.request.Request(
        f"{server.origin}/metrics", headers={"Authorization": f"Bearer {server.token}"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    names = {"encode_s": "marotte_encode_seconds_sum", "encoded": "marotte_encode_seconds_count"}
    return {
        key: sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
        for key, name in names.items()
    }


class _Run:
    def __init__(
        self,
        bench: LiveBench,
        plan: Plan,
        page: CallPage,
        servers: dict[str, ServerProcess],
        out: Path,
        progress: Progress,
        mode: Mode,
    ) -> None:
        self._mode = mode
        self._bench, self._plan, self._page, self._servers = bench, plan, page, servers
        self._out, self._progress = out, progress
        self._began_s = time.monotonic()

    def all(self) -> None:
        """Every codec; on an interruption what there is stays."""
        try:
            for codec in self._plan.codecs:
                self._codec(codec)
            self._bench.content["interrupted"] = False
        finally:
            self._bench.save(self._out)

    def _codec(self, codec: str) -> None:
        part: dict[str, Any] = self._bench.content["codecs"].setdefault(codec, {})
        points = self._bench.points.setdefault(codec, {})
        windows: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        part["windows"] = windows
        for turn in range(self._plan.rounds):
            for way in (*WAYS[turn % len(WAYS) :], *WAYS[: turn % len(WAYS)]):
                windows[way].append(self._window(way, codec, points))
                part[way] = figures.summary(windows[way])
                part["added"] = figures.added(windows["engine"], windows["browser"])
                part["echo_added"] = figures.added(windows["echo"], windows["browser"])
                self._conclude(part)
        if self._plan.seconds:
            self._long(codec, part, points)
        if self._plan.motion_s:
            part["motion"] = self._motion(codec)
            self._conclude(part)

    def _conclude(self, part: dict[str, Any]) -> None:
        part["kept"] = figures.verdicts(part)
        self._bench.save(self._out)

    @contextmanager
    def _call(self, way: str, codec: str) -> Iterator[str]:
        """A call that has settled."""
        name = f"{way} {codec}"
        try:
            if way == "browser":
                self._page.call_local(name, codec)
            else:
                server = self._servers[way]
                asked = {"mode": self._mode.value} if way == "engine" else {}
                self._page.call_server(name, codec, server.origin, server.token, **asked)
            self._wait(_SETTLE_S)
            yield name
        finally:
            self._page.hang_up(name)

    def _window(self, way: str, codec: str, points: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
        with self._call(way, codec) as name:
            return self._measured(way, name, _WINDOW_S, points.setdefault(way, []))

    def _measured(
        self, way: str, name: str, seconds: float, points: list[tuple[float, float]]
    ) -> dict[str, Any]:
        before = self._used(way)
        measured = self._page.measure(name, seconds)
        used = {key: value - before[key] for key, value in self._used(way).items() if key in before}
        self._tell()
        presented = [row[2] / 1000 for row in measured["rows"]]
        points += zip(presented, figures.delays_ms(measured).tolist())
        encode = 1000 * used["encode_s"] / used["encoded"] if used.get("encoded") else None
        server = {} if encode is None else {"server_encode_ms": encode}
        figured = figures.window(measured, used.get("cpu_s"), server)
        return figured | {"load": figures.load()}

    def _used(self, way: str) -> dict[str, float]:
        """What a server has used until now: cpu_s, where it can be told, encode_s and encoded pictures."""
        if way not in self._servers:
            return {}
        server = self._servers[way]
        spent = cpu_seconds(server.pid)
        return encoding(server) | ({} if spent is None else {"cpu_s": spent})

    def _long(self, codec: str, part: dict[str, Any], points: dict[str, list[tuple[float, float]]]) -> None:
        line = points.setdefault("long", [])
        pieces: list[dict[str, Any]] = []
        with self._call("engine", codec) as name:
            while (left := self._plan.seconds - sum(piece["seconds"] for piece in pieces)) > 1:
                pieces.append(self._measured("engine", name, min(_LONG_PIECE_S, left), line))
                at_s, delays = np.array(line, np.float64).reshape(-1, 2).T
                part["long"] = figures.summary(pieces) | figures.growth(at_s, delays) | {"pieces": pieces}
                self._conclude(part)

    def _motion(self, codec: str) -> dict[str, Any]:
        with self._call("engine", codec) as name:
            sent, received = self._page.record(name, self._plan.motion_s)
        self._tell()
        tracker = FaceTracker()
        try:
            return motion_lag(sent, received, tracker)
        finally:
            tracker.close()

    def _wait(self, seconds: float) -> None:
        self._page.wait(seconds)
        self._tell()

    def _tell(self) -> None:
        total = round(self._plan.total_s)
        self._progress(min(total, round(time.monotonic() - self._began_s)), total)


def motion_lag(sent: Kept, received: Kept, tracker: FaceTracker) -> dict[str, Any]:
    """The lags of both signals between sent and received pictures, as plain data."""
    numbers, times_s, course = _course(sent, tracker)
    marks, _, shown = _course([one for one in received if one[0] >= 0], tracker)
    found = motion.lags((numbers, times_s, course), (marks, shown))
    return {
        "sent": len(numbers),
        "received": len(marks),
        "lags": {name: motion.as_plain(lag) for name, lag in found.items()},
    }


def _course(kept: Kept, tracker: FaceTracker) -> tuple[list[int], list[float], F64]:
    pictures = [decode_picture(jpeg, "picture of the call") for _, _, jpeg in kept]
    times_s = [at_ms / 1000 for _, at_ms, _ in kept]
    return [number for number, _, _ in kept], times_s, motion.signals(pictures, tracker, times_s)


def _about(driver: Path | None, plan: Plan, bundle: str, mode: Mode) -> dict[str, Any]:
    return {
        "about": {
            "bundle": bundle,
            "mode": mode.value,
            "driver": "the moving sample" if driver is None else driver.name,
            "size": list(SIZE),
            "rate": RATE,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "machine": {"system": platform.system(), "processor": platform.machine()},
            "versions": versions(),
        },
        "codecs": {},
        "interrupted": True,
    }
