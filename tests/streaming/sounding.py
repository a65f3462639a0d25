"""A driver's sound and pictures in a time that only goes on when nothing is left to do."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from streaming.measured import NoRecorder
from streaming.sound import Sound, SoundLine

PACKET_S, FRAME_S = 0.02, 1 / 30
NTP = 1 << 32


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time leaps to whatever is due next."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Leaping(self))

    def time(self) -> float:
        return self.now


class _Leaping(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        self._loop.now += max(0.0, timeout or 0.0)
        return super().select(0)


def in_virtual_time(make: Callable[[VirtualLoop], Coroutine[Any, Any, Any]]) -> Any:
    """What the coroutine returns; no real time passes."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(make(loop))
    finally:
        loop.close()


class Counted(NoRecorder):
    """Keeps what is told of sound."""

    def __init__(self) -> None:
        self.packets: list[str] = []
        self.waited: list[float] = []
        self.skews: list[float] = []

    def sound_packet(self, outcome: str) -> None:
        self.packets.append(outcome)

    def sound_waited(self, seconds: float) -> None:
        self.waited.append(seconds)

    def sound_skew(self, seconds: float) -> None:
        self.skews.append(seconds)


@dataclass
class Driver:
    """Sound every 20 ms and pictures at 30 a second, by functions of the time of their capture (0 at the start).

    sound_way, picture_way: from capture to arrival. age: from a picture's arrival to its leaving. level: of the sound.
    ntp: the sender's clock at a time; None: it reports nothing.
    """

    seconds: float
    sound_way: Callable[[float], float] = lambda t: 0.03
    picture_way: Callable[[float], float] = lambda t: 0.03
    age: Callable[[float], float] = lambda t: 0.12
    level: Callable[[float], int] = lambda t: 20
    ntp: Callable[[float], float] | None = None
    sound_start: int = 4_294_900_000  # it wraps at once
    picture_start: int = 17
    speaks: Callable[[float], bool] = lambda t: True
    lead_s: float = 0.0
    recorder: Counted = field(default_factory=Counted)
    left: list[tuple[float, float]] = field(default_factory=list)
    """(capture, leaving) of each packet of sound that came out, by the same time."""
    payloads: list[bytes] = field(default_factory=list)
    pictures: list[tuple[float, float]] = field(default_factory=list)
    """The same of pictures."""
    reports: list[dict[str, Any]] = field(default_factory=list)

    async def play(self, loop: VirtualLoop) -> SoundLine:
        """All of it; a packet's payload is its number."""
        line = SoundLine(self.recorder, clock=loop.time, lead_s=self.lead_s)
        track = line.watch()
        zero = loop.time()
        listening = loop.create_task(self._listen(track, loop, zero))
        for number in range(round(self.seconds / PACKET_S)):
            t = number * PACKET_S
            if self.speaks(t):
                loop.call_at(zero + t + self.sound_way(t), line.took, self._sound(number, t))
        for number in range(round(self.seconds / FRAME_S)):
            self._picture(loop, line, zero, number * FRAME_S, number)
        if self.ntp is not None:
            self._report(loop, line, zero, self.ntp)
        await asyncio.sleep(self.seconds + 3)
        self.reports.append(line.report() or {})
        line.end()
        await listening
        return line

    def _sound(self, number: int, t: float) -> Sound:
        ticks = self.sound_start + number * 960 & 0xFFFFFFFF
        return Sound(7, ticks, number.to_bytes(4, "big"), self.level(t))

    def _picture(self, loop: VirtualLoop, line: SoundLine, zero: float, t: float, number: int) -> None:
        arrived = zero + t + self.picture_way(t)
        leaving = arrived + self.age(t)
        ticks = round(self.picture_start + t * 90_000) & 0xFFFFFFFF
        loop.call_at(arrived, line.sync.picture_packet, ticks)
        loop.call_at(leaving, line.picture_left, arrived + 1e-5, leaving)
        self.pictures.append((t, leaving - zero))

    def _report(self, loop: VirtualLoop, line: SoundLine, zero: float, ntp: Callable[[float], float]) -> None:
        for second in range(1, int(self.seconds)):
            for own, start, rate, report in (
                (second + 0.1, self.sound_start, 48_000, line.sync.sound_report),
                (second + 0.6, self.picture_start, 90_000, line.sync.picture_report),
            ):
                ticks = round(start + own * rate) & 0xFFFFFFFF
                loop.call_at(zero + own + 0.03, report, round(ntp(own) * NTP) & (1 << 64) - 1, ticks)

    async def _listen(self, track: Any, loop: VirtualLoop, zero: float) -> None:
        from aiortc.mediastreams import MediaStreamError

        try:
            while True:
                packet = await track.recv()
                number = int.from_bytes(bytes(packet), "big")
                self.payloads.append(bytes(packet))
                self.left.append((number * PACKET_S, loop.time() - zero))
        except MediaStreamError:
            pass

    def skew(self, start: float, stop: float) -> list[float]:
        """Of each packet between two captures: by how much it left later than the picture of the same moment."""
        found = []
        for t, left_s in self.left:
            if start <= t < stop:
                at = min(len(self.pictures) - 1, round(t / FRAME_S))
                capture, picture_s = self.pictures[at]
                found.append((left_s - t) - (picture_s - capture))
        return found
