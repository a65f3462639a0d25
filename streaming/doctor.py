"""What is broken on this machine for the live page, and the one thing that mends it; engine/doctor.py has the rest.

Each check imports what it looks at by itself: what cannot be imported is a finding too.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from pathlib import Path

from engine import models
from engine.errors import BackendError, ConfigError, WorkerError
from engine.findings import Check, Finding, examined, parted
from engine.worker.interface import State, WorkerConfig, WorkerStatus
from engine.worker.tools import Tools
from streaming.config import DEFAULT_PORT, ServeConfig
from streaming.hardware import NAMES, PROBE_S, probe_all

ROUTE_S = 5.0
"""Two ends on one machine that have not met by then do not meet."""
WORKER_S = 120.0
CLOSING_S = 15.0
"""For a worker to end in."""

_NEEDED = ("aiohttp", "aiortc", "aioice", "prometheus_client")
_CODECS = {"h264": ("libx264", "h264"), "vp8": ("libvpx", "vp8")}  # what encodes and what decodes
_PICTURES = 4  # of a session and direction that may be in shared memory at once
_AGAIN = "run: python -m pip install --force-reinstall"


def checks(*, port: int = DEFAULT_PORT, cache: Path | None = None, backend: str = "auto") -> list[Check]:
    """Every piece that the live page needs, and what its tests need; takes some seconds, for a worker is started.
    Opens no port to anybody else."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        fix = "run again: python -m pip install marotte"
        finding = Finding("live packages", False, f"missing {', '.join(missing)}", fix)
        return [Check("live packages", lambda: [finding])]
    config = WorkerConfig(cache=cache, backend=backend, spare=False)
    return [
        Check("port", lambda: _port(port)),
        Check("aiortc", _aiortc),
        Check("live codecs", _codecs),
        Check("encoders", _encoders, PROBE_S * len(NAMES)),
        Check("route", _route),
        Check("event loop", _event_loop),
        Check("shared memory", lambda: _shared_memory(config)),
        Check("worker", lambda: _worker(config), WORKER_S + CLOSING_S, early=True),
        Check("browser tests", _browser_tests),
    ]


def examine(*, port: int = DEFAULT_PORT, cache: Path | None = None) -> list[Finding]:
    """Look at all of them; a piece whose examination fails, or hangs, is a finding, not a crash."""
    return list(examined(checks(port=port, cache=cache)))


def _port(port: int) -> list[Finding]:
    from streaming.listen import RunningError, bind

    try:
        ServeConfig(port=port)
        bind("127.0.0.1", port).close()
    except RunningError as error:
        return [Finding("port", True, *parted(str(error).removeprefix("port: ")))]
    except ConfigError as error:
        fault, fix = parted(str(error).removeprefix("port: "))
        return [Finding("port", False, fault, fix)]
    return [Finding("port", True, f"{port} is free" if port else "a free one will be taken")]


def _aiortc() -> list[Finding]:
    from streaming.rtc import SERIES, check_aiortc

    fix = f'{_AGAIN} "aiortc=={SERIES}*"'
    try:
        version = importlib.metadata.version("aiortc")
        check_aiortc()
    except importlib.metadata.PackageNotFoundError:
        return [Finding("aiortc", False, "it is not installed", fix)]
    except BackendError as error:
        return [Finding("aiortc", False, str(error).removeprefix("aiortc: "), fix)]
    return [Finding("aiortc", True, f"{version}, as it is known here")]


def _codecs() -> list[Finding]:
    """Each is tried with the settings of a call: a build may list an encoder and refuse them."""
    import av

    fix = f"take PyAV from its wheel, which brings them: {_AGAIN.removeprefix('run: ')} av"
    missing = [name for pair in _CODECS.values() for name in pair if name not in av.codecs_available]
    if missing:
        return [Finding("live codecs", False, f"no {', '.join(missing)}", fix)]
    found = []
    for codec, (encoder, _) in _CODECS.items():
        try:
            size = _encoded(codec)
        except (av.FFmpegError, ValueError, ConfigError) as error:
            detail = f"{encoder} does not take a call's settings ({' '.join(str(error).split())})"
            found.append(Finding("live codecs", False, detail, fix))
            continue
        if not size:
            found.append(Finding("live codecs", False, f"{encoder} keeps its first picture back", fix))
    if found:
        return found
    return [
        Finding("live codecs", True, ", ".join(f"{codec} by {pair[0]}" for codec, pair in _CODECS.items()))
    ]


def _encoded(codec: str) -> int:
    """Bytes of one grey picture."""
    import av
    import numpy as np

    from streaming.encoders import open_encoder
    from streaming.measured import NoRecorder

    frame = av.VideoFrame.from_ndarray(np.full((360, 320), 128, np.uint8), format="yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 90_000)
    payloads, _ = open_encoder(codec, "doctor", NoRecorder()).encode(frame, True)
    return sum(len(payload) for payload in payloads)


def _encoders() -> list[Finding]:
    """Hardware saves processor time, and software does without it: nothing here is broken."""
    found = probe_all()
    used = next((one.name for one in found if one.works), "software (x264)")
    told = "; ".join(f"{one.name}: {one.detail}" for one in found)
    return [Finding("encoders", True, f"H.264 by {used}; {told}")]


def _route() -> list[Finding]:
    """Whether two ends on this very machine meet; the way to other machines cannot be told from here."""
    import aioice.ice

    addresses = aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True)
    if not addresses:
        detail = "this machine has no address but loopback, and a call needs one, also from its own browser"
        return [Finding("route", False, detail, "join any network, wired or not; it needs no internet")]
    told = ", ".join(addresses)
    with ThreadPoolExecutor(1, "doctor") as thread:  # the caller's may have a loop of its own
        seconds = thread.submit(lambda: asyncio.run(_meeting())).result()
    if seconds is None:
        detail = f"two ends on this machine did not meet within {ROUTE_S:g} s over {told}"
        return [
            Finding(
                "route", False, detail, "let UDP pass between this machine's own addresses in its firewall"
            )
        ]
    return [
        Finding("route", True, f"two ends on this machine met in {1000 * seconds:.0f} ms; addresses: {told}")
    ]


async def _meeting() -> float | None:
    """Seconds until two connections are joined by a data channel, None where they are not within ROUTE_S."""
    from aiortc import RTCPeerConnection

    one, other = RTCPeerConnection(), RTCPeerConnection()
    opened = asyncio.Event()
    one.createDataChannel("doctor").on("open", opened.set)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(ROUTE_S):
            await one.setLocalDescription(await one.createOffer())
            await other.setRemoteDescription(one.localDescription)
            await other.setLocalDescription(await other.createAnswer())
            await one.setRemoteDescription(other.localDescription)
            await opened.wait()
    except (TimeoutError, ConnectionError):
        return None
    else:
        return time.perf_counter() - started
    finally:
        await asyncio.gather(one.close(), other.close())


def _event_loop() -> list[Finding]:
    if sys.platform == "win32":
        return [Finding("event loop", True, "asyncio's own; uvloop is not for this system")]
    try:
        importlib.import_module("uvloop")
    except ImportError as error:
        detail = f"asyncio's own, for uvloop cannot be imported ({error})"
        return [Finding("event loop", True, detail, f"{_AGAIN} uvloop")]
    return [Finding("event loop", True, f"uvloop {importlib.metadata.version('uvloop')}")]


def _shared_memory(config: WorkerConfig) -> list[Finding]:
    """As much as every session's mailboxes take, and a source on its way: really taken for a moment."""
    from engine.worker.mailbox import MOST_BYTES, close_segment, create_segment
    from streaming.intake import MOST_SIDES

    way_in, way_out = MOST_SIDES[0] * MOST_SIDES[1] * 3, config.side * config.side * 3 // 2
    needed = _PICTURES * config.sessions * (way_in + way_out) + MOST_BYTES
    try:
        segment = create_segment(needed)
    except WorkerError as error:
        fix = "free some in /dev/shm, or start the container with --shm-size 256m; or serve with --in-process"
        return [Finding("shared memory", False, parted(str(error).removeprefix("shared memory: "))[0], fix)]
    close_segment(segment, owned=True)
    return [
        Finding("shared memory", True, f"{needed >> 20} MB can be had, enough for {config.sessions} sessions")
    ]


def _worker(config: WorkerConfig, tools: Tools | None = None) -> list[Finding]:
    """Started as a server starts it, until it is ready for frames. tools: what it opens things with."""
    rows = [row for row in models.list_models(config.cache) if row.model.sha256 and not row.ok]
    if rows:
        detail = f"was not tried: {len(rows)} models are not ready"
        return [Finding("worker", False, detail, "run: marotte models pull")]
    from engine.worker.supervisor import ProcessWorker

    changed, told = threading.Event(), [WorkerStatus(State.STARTING, {})]

    def hear(status: WorkerStatus) -> None:
        told.append(status)
        if status.state in (State.READY, State.FAILED):
            changed.set()

    with closing(ProcessWorker(config, tools)) as worker:
        started = time.perf_counter()
        worker.on_status(hear)
        worker.start()
        changed.wait(WORKER_S)
        status, seconds = worker.status(), time.perf_counter() - started
    if status.state is State.READY:
        return [Finding("worker", True, f"ready after {seconds:.1f} s, as a process of its own")]
    said = next((" ".join(one.detail.split()) for one in reversed(told) if one.detail), "it says nothing")
    detail = f"it was not ready after {seconds:.0f} s: {said}"
    return [Finding("worker", False, detail, "mend what the other lines name, or serve with --in-process")]


def _browser_tests() -> list[Finding]:
    """Who only serves needs none of it, and has no Playwright."""
    if importlib.util.find_spec("playwright") is None:
        detail = "no Playwright, which only the tests in a browser need"
        return [Finding("browser tests", True, detail, 'run: python -m pip install "marotte[dev]"')]
    from streaming.bench.chromium import find_chromium

    chromium = find_chromium() or _fetched_chromium()
    if chromium is None:
        detail = "no Chromium or Chrome is installed, so that the tests in a browser are skipped"
        fix = "apt install chromium, or run: python -m playwright install chromium"
        return [Finding("browser tests", False, detail, fix)]
    return [Finding("browser tests", True, chromium)]


def _fetched_chromium() -> str | None:
    """Playwright's own, where somebody has fetched it."""
    from playwright.sync_api import sync_playwright

    with ThreadPoolExecutor(1, "doctor") as thread:  # it will not start where a loop runs

        def ask() -> str:
            with sync_playwright() as playwright:
                return playwright.chromium.executable_path

        path = thread.submit(ask).result()
    return path if os.path.isfile(path) else None
