"""Pictures with flashes and sound with beeps, by a clock that a test turns, and what a recording of them shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from engine.media.planes import i420_of
from engine.types import U8
from engine.worker.interface import TICKS, TIME_BASE
from streaming.recording.finish import TAGS
from streaming.recording.taker import Limits, Taker, Why
from streaming.rung_encoder import Newest
from streaming.sound import OPUS_RATE

PATIENCE_S = 20.0
FRAME_S, PACKET_S, BEEP_S = 1 / 30, 0.02, 0.1


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.001)


def picture(number: int, size: tuple[int, int] = (160, 128), flash: bool = False) -> U8:
    """I420 planes: a gradient with a bar that moves; white where it flashes."""
    width, height = size
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = np.linspace(40, 200, width, dtype=np.uint8)
    rgb[..., 1] = np.linspace(60, 180, height, dtype=np.uint8)[:, None]
    rgb[height // 3 : height // 2, (number * 4) % (width - 20) : (number * 4) % (width - 20) + 20] = 220
    if flash:
        rgb[:] = 255
    return i420_of(rgb)


def beeps(at: list[float], seconds: float) -> list[bytes]:
    """Opus packets of 20 ms: silence, and a tone of BEEP_S at each of these times."""
    times = np.arange(round(seconds * OPUS_RATE)) / OPUS_RATE
    tone = 0.5 * np.sin(2 * np.pi * 1000 * times)
    heard = np.zeros(len(times), bool)
    for start in at:
        heard |= (times >= start) & (times < start + BEEP_S)
    samples = np.where(heard, tone, 0.0) * 32767
    context: Any = av.CodecContext.create("libopus", "w")
    context.format, context.layout, context.sample_rate = "s16", "mono", OPUS_RATE
    context.open()
    packets = []
    for first in range(0, len(samples) - 959, 960):
        part = samples[first : first + 960].astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
        frame.sample_rate, frame.pts = OPUS_RATE, first
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets


class FakeSound:
    """Stands where the taker has a SoundLine."""

    def __init__(self) -> None:
        self.heard: list[Callable[[bytes, float], None]] = []

    def hear(self, heard: Callable[[bytes, float], None]) -> None:
        self.heard.append(heard)

    def hear_no_more(self, heard: Callable[[bytes, float], None]) -> None:
        if heard in self.heard:
            self.heard.remove(heard)


class Stage:
    """One recording by a clock of its own, which begins at 100 s for a picture's pts 0."""

    def __init__(self, path: Path, limits: Limits | None = None, *, sound: bool = True) -> None:
        self.path = path
        self.now = 100.0
        self.newest = Newest()
        self.sound: Any = FakeSound() if sound else None
        self.ended: list[tuple[Why, str]] = []
        limits = limits or Limits(floor=0)
        self.taker = Taker(
            "test",
            self.newest,
            self.sound,
            path,
            limits,
            TAGS,
            lambda why, told: self.ended.append((why, told)),
            lambda: self.now,
        )

    def show(self, planes: U8, at_s: float) -> None:
        """One picture at a time, which the taker has taken when this returns."""
        self.now = 100.0 + at_s
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = round(at_s * TICKS), TIME_BASE
        taken: list[bool] = []
        self.newest.put(frame, lambda: taken.append(True))
        until(lambda: taken or self.ended)

    def say(self, payload: bytes, at_s: float) -> None:
        """at_s: when its picture leaves."""
        for heard in list(self.sound.heard):
            heard(payload, 100.0 + at_s)

    def end(self, why: Why = Why.ASKED) -> None:
        self.taker.end(why)
        self.taker.join()
        until(lambda: self.ended)


def pictures(path: Path) -> Iterator[tuple[float, U8]]:
    """Time and I420 planes of each picture of a file."""
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            assert frame.time is not None
            yield frame.time, frame.to_ndarray(format="yuv420p")


def heard(path: Path) -> tuple[np.ndarray, float]:
    """The samples of a file's sound (one channel), and when the first one is played."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    assert frames[0].time is not None
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), frames[0].time


def flashes(path: Path) -> list[float]:
    """When each begins."""
    found, white = [], False
    for at_s, planes in pictures(path):
        height = planes.shape[0] * 2 // 3
        now = bool(planes[:height].mean() > 220)
        if now and not white:
            found.append(at_s)
        white = now
    return found


def onsets(path: Path) -> list[float]:
    """When each beep begins."""
    samples, first_s = heard(path)
    loud = np.convolve(np.abs(samples), np.ones(48) / 48, "same") > 0.1
    starts = np.flatnonzero(loud[1:] & ~loud[:-1]) + 1
    found: list[float] = []
    for start in starts / OPUS_RATE + first_s:
        if not found or start - found[-1] > 2 * BEEP_S:
            found.append(float(start))
    return found


def psnr(one: U8, other: U8) -> float:
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))
