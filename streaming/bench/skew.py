"""How far sound and picture are apart: flashes and beeps through calls.

A page sends its camera's pictures, numbered, and once in a second a tone. A tone's way takes from the moment its first
sample is handed to the sender until that sample is played; a picture's from its drawing until it is presented. The skew
of a tone is what its way took longer than that of the picture that was drawn when it began. Pictures are known again by
their numbers, which a generated picture carries too; where the driver's own picture comes back there is also a white
flash while it beeps, and its first frame is looked for in what is seen.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BackendError, ConfigError
from engine.evaluate.parts import write_json
from engine.types import F64
from engine.versions import versions
from engine.worker.interface import bundle_name
from engine.worker.offers import check_offers
from streaming.bench import figures
from streaming.bench.chromium import open_browser
from streaming.bench.clip import camera_clip
from streaming.bench.page import CallPage, open_call_page
from streaming.bench.run import wait_until_ready
from streaming.bench.server import ServerProcess, config_of

MOST_P95_MS = 40.0
"""Most that the 95th percentile of what sound and picture are apart may be."""
SIZE = (320, 240)
WAYS = ("browser", "echo", "engine")

_LONGEST_MS = 950.0  # tones are a second apart
_NEAR_MS = 250.0
_SETTLE_S = 15.0  # a browser moves its two buffers towards each other in small steps
_PIECE_S = 5.0

Progress = Callable[[int, int | None], None]


def skews_ms(measured: dict[str, Any]) -> F64:
    """By how much each tone came after the picture that was drawn when it began, of what CallPage.measure gave;
    negative: before it. Tones that never came back, or have no picture, are left out."""
    rows = np.array(measured["rows"], np.float64).reshape(-1, 4)
    if not len(rows):
        return np.empty(0)
    drawn, took = rows[:, 1], rows[:, 2] - rows[:, 1]
    found = []
    for began, heard in _pairs(measured["beeped"], measured["beeps"]):
        nearest = int(np.argmin(np.abs(drawn - began)))
        if abs(drawn[nearest] - began) <= _NEAR_MS:
            found.append(heard - began - took[nearest])
    return np.array(found)


def flash_skews_ms(measured: dict[str, Any]) -> F64:
    """The same against the flash that was seen."""
    flashes = _pairs(measured["flashed"], measured["flashes"])
    found = []
    for began, heard in _pairs(measured["beeped"], measured["beeps"]):
        near = [seen - drawn for drawn, seen in flashes if abs(drawn - began) <= _NEAR_MS]
        if near:
            found.append(heard - began - near[0])
    return np.array(found)


def _pairs(left: Sequence[float], came: Sequence[float]) -> list[tuple[float, float]]:
    """Each that left with the first that came within a second after it."""
    later = np.sort(np.array(came, np.float64))
    pairs = []
    for one in left:
        at = int(np.searchsorted(later, one))
        if at < len(later) and later[at] - one <= _LONGEST_MS:
            pairs.append((float(one), float(later[at])))
    return pairs


def summary(skews: F64) -> dict[str, Any]:
    """p50_ms: with its sign, positive where sound is late. p95_ms: of the distance either way."""
    if not skews.size:
        return {"beeps": 0, "p50_ms": None, "p95_ms": None, "kept": None}
    p95 = float(np.percentile(np.abs(skews), 95))
    return {
        "beeps": int(skews.size),
        "p50_ms": float(np.median(skews)),
        "p95_ms": p95,
        "kept": p95 <= MOST_P95_MS,
    }


@dataclass(slots=True)
class SkewBench:
    """What was measured until now; content as in sound.json."""

    content: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        titles = {"browser": "browser to browser", "echo": "identity echo", "engine": "through the engine"}
        lines = [
            f"{'sound after picture':<24}{'beeps':>7}{'p50 ms':>9}{'p95 ms':>9}{'buffer ms':>11}{'load':>7}"
        ]
        for way, part in self.content["ways"].items():
            lines.append(_line(titles[way], part["by_number"], part))
            if part.get("by_flash", {}).get("beeps"):
                lines.append(_line("  by the flash seen", part["by_flash"], part))
        return "\n".join([*lines, f"at most {MOST_P95_MS:g} ms at p95 is the aim"])


def _line(title: str, found: dict[str, Any], part: dict[str, Any]) -> str:
    if not found["beeps"]:
        return f"{title:<24}{0:>7}"
    row = f"{title:<24}{found['beeps']:>7}{found['p50_ms']:>9.1f}{found['p95_ms']:>9.1f}"
    buffered = part["sound_buffer_ms"]
    return f"{row}{'-' if buffered is None else format(buffered, '.1f'):>11}{part['load'] or 0:>7.1f}"


def run_skew_bench(
    out: Path,
    *,
    driver: Path | None = None,
    seconds: float = 60.0,
    codec: str = "h264",
    ways: Sequence[str] = WAYS,
    worker: dict[str, Any] | None = None,
    progress: Progress = lambda done, total: None,
) -> SkewBench:
    """Measure, and write `out`/sound.json anew after each way. seconds: of each call, after it has settled.

    The rest, and what is raised, is as of streaming.bench.run.run_live_bench.
    """
    if not 10 <= seconds <= 3600:
        raise ConfigError(f"seconds: got {seconds:g}, expected 10 .. 3600")
    config = config_of({"worker": worker or {}}).worker
    check_offers(config)
    bench = SkewBench(
        {
            "about": {
                "bundle": bundle_name(config.bundles[0]),
                "driver": "the moving sample" if driver is None else driver.name,
                "size": list(SIZE),
                "codec": codec,
                "seconds": seconds,
                "machine": {"system": platform.system(), "processor": platform.machine()},
                "versions": versions(),
            },
            "ways": {},
        }
    )
    clip = camera_clip(driver, out / "cameras", size=SIZE)
    total = round(len(ways) * (seconds + _SETTLE_S))
    try:
        for number, way in enumerate(ways):
            done = round(number * (seconds + _SETTLE_S))
            with open_browser(clip) as browser:
                page = open_call_page(browser, size=SIZE, sound=True)
                told = _Told(progress, done, total)
                bench.content["ways"][way] = _measured(page, way, codec, seconds, worker or {}, told)
            write_json(out / "sound.json", bench.content)
    finally:
        clip.unlink(missing_ok=True)  # large, and quickly made again
    return bench


@dataclass(slots=True)
class _Told:
    progress: Progress
    done: int
    total: int

    def __call__(self, seconds: float) -> None:
        self.done += round(seconds)
        self.progress(min(self.done, self.total), self.total)


def _measured(
    page: CallPage,
    way: str,
    codec: str,
    seconds: float,
    worker: dict[str, Any],
    told: Callable[[float], None],
) -> dict[str, Any]:
    page.flash(way != "engine")  # a face that turns white is none
    if way == "browser":
        page.call_local(way, codec)
        return apart(page, way, seconds, told)
    settings = {"worker": worker} if way == "engine" else {"pass_through": True, "in_process": True}
    with ServerProcess(settings) as server:
        wait_until_ready(server)
        page.call_server(way, codec, server.origin, server.token)
        try:
            return apart(page, way, seconds, told)
        finally:
            page.hang_up(way)


def apart(
    page: CallPage, name: str, seconds: float, told: Callable[[float], None] = lambda seconds: None
) -> dict[str, Any]:
    """One call's part of sound.json. name: of a call of the page's that carries sound; it settles first. told: is
    called with the seconds that have passed. Raises BackendError where no tone came back."""
    page.wait(_SETTLE_S)
    told(_SETTLE_S)
    numbers: list[F64] = []
    flashes: list[F64] = []
    windows: list[dict[str, Any]] = []
    while (left := seconds - _PIECE_S * len(windows)) > 1:
        measured = page.measure(name, min(_PIECE_S, left))
        numbers.append(skews_ms(measured))
        flashes.append(flash_skews_ms(measured))
        windows.append(_window(measured))
        told(_PIECE_S)
    if not sum(map(len, numbers)):
        raise BackendError(f"{name}: no tone came back with a picture; is sound allowed?")
    return {
        "by_number": summary(np.concatenate(numbers)),
        "by_flash": summary(np.concatenate(flashes)),
        "sound_buffer_ms": figures.median([window["sound_buffer_ms"] for window in windows]),
        "load": figures.median([window["load"] for window in windows]),
        "skews_ms": [[round(float(skew), 1) for skew in piece] for piece in numbers],
        "windows": windows,
    }


def _window(measured: dict[str, Any]) -> dict[str, Any]:
    found = figures.window(measured, None)
    sound = [report["sound"] for report in measured["reports"] if report.get("sound")]
    return {
        "g2g_p50_ms": found["g2g_p50_ms"],
        "shown_fps": found["shown_fps"],
        "sound_buffer_ms": figures.mean_ms(
            measured, "audio.inbound.jitterBufferDelay", "audio.inbound.jitterBufferEmittedCount"
        ),
        "picture_buffer_ms": found["jitter_buffer_ms"],
        "concealed_samples": figures.grown(measured, "audio.inbound.concealedSamples"),
        "held_back_ms": figures.median([report["delay_ms"] for report in sound]),
        "server_skew_ms": figures.median([report["skew_ms"] for report in sound]),
        "load": figures.load(),
    }
