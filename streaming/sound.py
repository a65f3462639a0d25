"""The driver's microphone on its way through: the packets as they came, held back until the picture of the same moment
leaves.

Nothing is decoded and nothing encoded. Packets are let go by their own time line and not by their arrival, so that the
way's jitter ends here; how far that line is put off follows the pictures in small steps, which a receiver's jitter
buffer takes up by stretching what it plays.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from streaming.lipsync import LipSync
from streaming.measured import Recorder

OPUS_RATE = 48_000
STEP_S = 0.001
"""Most by which one packet is put off more, or less, than the one before."""
LEAST_STEP_S = 0.0001
APPROACH = 0.01
"""Of what is to be made up, in one packet, between these two: a receiver takes what changes quickly for jitter, and
holds everything back for longer."""
FAST_FROM_S = 0.05
QUIET_STEP_S = 0.01
"""The same while nobody speaks and more than FAST_FROM_S is to be made up."""
DEAD_S = 0.005
"""A smaller difference is left alone."""
LEAD_S = 0.05
"""By so much sound leaves sooner than its picture, where it is there in time: a receiver shows a picture when it has
it, but gathers two or three packets of sound before it plays any. The sender reports say so: who goes by them plays
both together, and has to hold back neither."""
MOST_DELAY_S = 1.0
"""Longer no sound is held back, however old the picture is."""
MOST_WAITING_S = 1.5
MOST_WAITING = 600
SHORTEST_S = 0.002
"""Packets that are closer together by their timestamps are one: no Opus packet is shorter than 2.5 ms."""
BEGIN_S = 1.0
"""If no picture has left by then, sound goes as it comes."""
QUIET_DBOV = 60
"""A packet whose sender calls it this many dB below full scale, or more, holds no speech (RFC 6464)."""

_GAP_S = 0.1  # nothing was sent for so long: nothing was said (Opus DTX)
_DTX_BYTES = 2
_LOOK_S = _LATE_S = 0.005  # when the sound begins
_MOST_LATE = 25
_TRACK_WAITS_S = 1.0
_STILL_S = 1.0
_MOST_SKEWS = 64
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sound:
    """One RTP packet. stream: its SSRC. level: 0 .. 127 dB below full scale where the sender tells."""

    stream: int
    timestamp: int
    payload: bytes
    level: int | None = None


@dataclass(frozen=True, slots=True, order=True)
class _Held:
    x: float
    sound: Sound = field(compare=False)
    came_s: float = field(compare=False)


class SoundLine:
    """One driver's sound, from its connection to all who listen. Used on the event loop, but for `picture_left`.

    sync: is told of pictures and reports by whoever hears them (streaming.rtc_sound). rate: ticks in a second of the
    packets' timestamps. killed: as streaming.session.Session has it.
    """

    def __init__(
        self,
        recorder: Recorder,
        rate: int = OPUS_RATE,
        clock: Callable[[], float] = time.perf_counter,
        lead_s: float = LEAD_S,
        killed: Callable[[], bool] = lambda: False,
    ) -> None:
        self.sync = LipSync(rate, clock)
        self.ahead_s = 0.0
        """By how much what leaves now is ahead of its picture, on purpose: lead_s, or as much as there is time for."""
        self.muted = False
        self.paused = False
        """While either is set nothing is passed on."""
        self._recorder = recorder
        self._rate = rate
        self._clock = clock
        self._lead_s = lead_s
        self._killed = killed
        self._loop = asyncio.get_running_loop()
        self._tracks: list[SoundTrack] = []
        self._hearing: list[Callable[[bytes, float], None]] = []
        self._waiting: list[_Held] = []
        self._stream: int | None = None
        self._offset: float | None = None  # of the last packet that left: from its media time to its leaving
        self._next: tuple[_Held, float] | None = None  # the one that leaves next, and its offset
        self._left_x = 0.0
        self._left_s = -float("inf")
        self._pts = _Pts(rate)
        self._began_s: float | None = None
        self._late = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._dropped: Counter[str] = Counter()
        self._delays: list[float] = []
        self._skews: deque[float] = deque(maxlen=_MOST_SKEWS)

    def watch(self) -> SoundTrack:
        """A track with every packet from now on; end it by its `stop`."""
        track = SoundTrack(self._rate, self._drop, lambda: self.ahead_s)
        self._tracks.append(track)
        if self._ended:
            track.end()
        return track

    def hear(self, heard: Callable[[bytes, float], None]) -> None:
        """Have `heard` called with each packet from now on, and with when the picture of its beginning leaves, by the
        clock; on the event loop, until `hear_no_more`."""
        self._hearing.append(heard)

    def hear_no_more(self, heard: Callable[[bytes, float], None]) -> None:
        """That it is not called any more, or never was, is no fault."""
        if heard in self._hearing:
            self._hearing.remove(heard)

    def took(self, sound: Sound) -> None:
        """Take one packet of the driver's."""
        if self._ended:
            return
        if sound.stream != self._stream:
            self._stream = sound.stream
            self.sync.sound_anew()
            self._begin_anew()
        now = self._clock()
        x, anew = self.sync.sound_packet(sound.timestamp)
        if anew:
            self._begin_anew()
        if self._began_s is None:
            self._began_s = now
        if self._is_late(x):
            return
        insort(self._waiting, _Held(x, sound, now))
        while len(self._waiting) > MOST_WAITING or self._waiting[-1].x - self._waiting[0].x > MOST_WAITING_S:
            del self._waiting[0]
            self._drop("overflow")
        self._pump()

    def picture_left(self, arrived_s: float, left_s: float) -> None:
        """A picture of the frame that arrived at arrived_s has left. Any thread."""
        due = self.sync.picture_left(arrived_s, left_s)
        offset = self._offset
        if due is not None and offset is not None and left_s - self._left_s < _STILL_S:
            skew = offset + self.ahead_s - due
            self._skews.append(skew)
            self._recorder.sound_skew(skew)

    def end(self) -> None:
        """Nothing leaves from now on."""
        self._ended = True
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        for track in self._tracks:
            track.end()
        self._tracks.clear()

    def report(self) -> dict[str, Any] | None:
        """What docs/live.md calls a report's `sound`; None before the first packet. The means begin anew."""
        if self._began_s is None:
            return None
        delays, self._delays = self._delays, []
        skews = sorted(self._skews)
        return {
            "delay_ms": _ms(statistics.fmean(delays)) if delays else None,
            "skew_ms": _ms(statistics.median(skews)) if skews else None,
            "by_reports": self.sync.by_reports,
            "muted": self.muted or self.paused,
            "dropped": dict(self._dropped),
        }

    def _begin_anew(self) -> None:
        for _ in self._waiting:
            self._drop("late")
        self._waiting.clear()
        self._offset = self._next = None
        self._began_s = None
        self._late = 0
        self._pts.begin()

    def _is_late(self, x: float) -> bool:
        """Whether what comes after it has left already, or it is here twice; after many such, a new beginning."""
        at = bisect_left(self._waiting, x, key=lambda held: held.x)
        twice = any(abs(held.x - x) < SHORTEST_S for held in self._waiting[max(0, at - 1) : at + 1])
        if not twice and (self._offset is None or x >= self._left_x + SHORTEST_S):
            self._late = 0
            return False
        self._drop("repeated" if twice else "late")
        self._late += not twice
        if self._late > _MOST_LATE:
            self._stream = None
        return True

    def _pump(self) -> None:
        """Let go what is due, and look again when the next one is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and not self._ended:
            held = self._waiting[0]
            if self._next is None or self._next[0] is not held:
                offset = self._offset_of(held)
                self._next = None if offset is None else (held, offset)
            wait = _LOOK_S if self._next is None else held.x + self._next[1] - self._clock()
            if wait > 0:
                self._timer = self._loop.call_later(wait, self._pump)
                return
            assert self._next is not None
            offset, self._next = self._next[1], None
            del self._waiting[0]
            self._let_go(held, offset)

    def _offset_of(self, held: _Held) -> float | None:
        """How far behind its media time the next packet leaves; None while it is not known where to begin."""
        wanted = self._wanted()
        if wanted is None:
            return None
        if self._offset is None:
            return wanted
        return slewed(self._offset, wanted, self._step(held))

    def _wanted(self) -> float | None:
        arrived, due, now = self.sync.arrived(), self.sync.due(), self._clock()
        if arrived is None or self._began_s is None:
            return None
        if due is None and self._offset is None:
            return arrived if now - self._began_s > BEGIN_S else None
        if due is None:
            return self._offset
        self.ahead_s = min(self._lead_s, max(0.0, due - arrived))
        return min(max(due - self.ahead_s, arrived), arrived + MOST_DELAY_S)

    def _step(self, held: _Held) -> float:
        gap = held.x - self._left_x
        if gap > _GAP_S:
            return max(QUIET_STEP_S, gap / 2)
        sound = held.sound
        quiet = len(sound.payload) <= _DTX_BYTES or (sound.level is not None and sound.level >= QUIET_DBOV)
        return QUIET_STEP_S if quiet else STEP_S

    def _let_go(self, held: _Held, offset: float) -> None:
        now = self._clock()
        if self._offset is None and held.x + offset < now - _LATE_S:
            if held.came_s < now - _LATE_S:
                self._drop("late")  # it waited for the first picture, which is younger
                return
            offset = now - held.x  # its way took longer than that of the quickest
        self._offset, self._left_x, self._left_s = offset, held.x, now
        if self.muted or self.paused or self._killed():
            self._drop("muted")
            return
        waited = now - held.came_s
        self._delays.append(waited)
        self._recorder.sound_packet("forwarded")
        self._recorder.sound_waited(waited)
        pts = self._pts.of(held.x, now)
        self._tracks = [track for track in self._tracks if track.readyState == "live"]
        for track in self._tracks:
            track.give(held.sound.payload, pts)
        for heard in self._hearing:
            heard(held.sound.payload, held.x + offset + self.ahead_s)

    def _drop(self, reason: str) -> None:
        self._dropped[reason] += 1
        self._recorder.sound_packet(reason)


def slewed(offset: float, wanted: float, step: float) -> float:
    """One step from an offset towards the wanted one. step: the most that the packet allows; more than STEP_S only
    counts as far as FAST_FROM_S is left to make up."""
    apart = wanted - offset
    if abs(apart) <= DEAD_S:
        return offset
    gently = min(STEP_S, max(LEAST_STEP_S, APPROACH * abs(apart)))
    most = max(gently, min(step, abs(apart) - FAST_FROM_S))
    return offset + min(most, max(-most, apart))


class _Pts:
    """Media times to a track's rising ones, across a new beginning by the clock."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._origin: float | None = None
        self._last: tuple[int, float] | None = None

    def begin(self) -> None:
        self._origin = None

    def of(self, x: float, now: float) -> int:
        if self._last is None:
            self._origin = x
        elif self._origin is None:
            pts, left_s = self._last
            self._origin = x - (pts / self._rate + max(1 / self._rate, now - left_s))
        pts = round((x - self._origin) * self._rate)
        self._last = pts, now
        return pts


class SoundTrack(MediaStreamTrack):
    """What one listener gets: encoded packets, which aiortc's sender only packs. Used on the event loop."""

    kind = "audio"

    def __init__(self, rate: int, drop: Callable[[str], None], ahead: Callable[[], float]) -> None:
        super().__init__()
        self._ahead = ahead
        self._time_base = Fraction(1, rate)
        self._drop = drop
        self._packets: deque[av.Packet[Any]] = deque()
        self._wake = asyncio.Event()
        self._taking = False
        self._over = False

    @property
    def ahead_s(self) -> float:
        """As SoundLine.ahead_s."""
        return self._ahead()

    def give(self, payload: bytes, pts: int) -> None:
        """One more packet; where nobody takes them only the newest are kept."""
        packet = av.Packet(payload)
        packet.pts, packet.time_base = pts, self._time_base
        self._packets.append(packet)
        while self._packets and (pts - (self._packets[0].pts or 0)) * self._time_base > _TRACK_WAITS_S:
            self._packets.popleft()
            if self._taking:
                self._drop("overflow")
        self._wake.set()

    async def recv(self) -> av.Packet[Any]:
        """The next packet. Raises MediaStreamError, the sender's sign to stop, at the end."""
        if not self._taking:
            self._taking = True
            self._packets.clear()  # what was said before anybody listened
        while True:
            if self._over or self.readyState != "live":
                raise MediaStreamError
            if self._packets:
                return self._packets.popleft()
            self._wake.clear()
            await self._wake.wait()

    def end(self) -> None:
        """Let nothing out from now on."""
        self._over = True
        self._packets.clear()
        self._wake.set()
        self.stop()

    def stop(self) -> None:
        super().stop()
        self._packets.clear()
        self._wake.set()


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 2)
