"""When a sound has to leave so that it leaves together with the picture of the same moment.

Both streams count time in ticks of their own. What joins them is, where there are any, the sender's reports (RTCP SR,
RFC 3550 section 6.4.1), which give the sender's clock at some tick of each; else the packets' arrivals: the way is the
same, so that what arrives together was taken together, but for what the sender's video encoder takes.

With x a packet's media time in seconds, c the moment it was taken and t the moment a picture leaves, all that is kept
of the pictures is t - x_picture, and of the two clocks the joint k = (c - x)_sound - (c - x)_picture. A sound leaves at

    x_sound + k + median(t - x_picture)

Of the sender's clock only differences enter: it may be wrong by years, or be set in mid-call.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable

PICTURE_RATE = 90_000
STEP_S = 0.02
"""A report whose clock is off by more from the one before: it was set, or the stream began anew."""
OLD_S = 30.0
"""Two reports are believed for so long; a sound card's clock drifts by up to 0.2 ms in a second."""
MOST_APART_S = 1.0
"""Reports that disagree by more with the arrivals are not believed."""
ANEW_S = 10.0
"""Packets further apart by their timestamps belong to a stream that began anew."""
EARLY_S = 0.5
"""So does a packet that arrives so much sooner than its timestamp allows."""

_LEAST_S = 5.0  # the least transit of a stream is that of the last 5 to 10 s
_MOST_PICTURES = 61
_LEAST_PICTURES = 7
_RECENT_S = 1.0
_MOST_ARRIVALS = 512
_MOST_JOINTS = 5
_NTP = 1 << 32


class MediaTime:
    """RTP timestamps (32 bits, any start) to seconds from the first one on, which may fall behind it."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._last: int | None = None
        self._ticks = 0

    def of(self, timestamp: int) -> float | None:
        """None where the stream begins anew with this packet: everything said of it before is void."""
        if self._last is not None and (near := self.near(timestamp)) is not None:
            self._ticks += self._ahead(timestamp)
            self._last = timestamp
            return near
        began, self._last = self._last is None, timestamp
        self._ticks = 0
        return 0.0 if began else None

    def near(self, timestamp: int) -> float | None:
        """The same of a timestamp that is not taken for the newest; None where it is not of this stream."""
        if self._last is None or abs(self._ahead(timestamp)) > ANEW_S * self._rate:
            return None
        return (self._ticks + self._ahead(timestamp)) / self._rate

    def _ahead(self, timestamp: int) -> int:
        assert self._last is not None
        return (timestamp - self._last + 0x80000000 & 0xFFFFFFFF) - 0x80000000


class StreamClock:
    """One stream's media time beside the sender's clock and beside ours."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._begin()

    def _begin(self) -> None:
        self._time = MediaTime(self._rate)
        self._least = self._least_before = math.inf
        self._least_since_s = -math.inf
        self.taken: float | None = None
        """Sender's clock less media time, by the last report."""
        self.told_s = -math.inf
        """When that came."""

    def packet(self, timestamp: int, at_s: float) -> tuple[float, bool]:
        """A packet's media time in seconds, and whether the stream begins (anew) with it."""
        x = self._time.of(timestamp)
        anew = x is None
        if x is None:
            self._begin()
            x = self._time.of(timestamp)
            assert x is not None
        if at_s - x < self._soonest - EARLY_S:  # it leapt ahead: nothing arrives before it is taken
            self._begin()
            x, anew = self._time.of(timestamp) or 0.0, True
        if at_s - self._least_since_s > _LEAST_S:
            self._least_before, self._least, self._least_since_s = self._least, math.inf, at_s
        self._least = min(self._least, at_s - x)
        return x, anew

    def report(self, ntp: int, timestamp: int, at_s: float) -> bool | None:
        """Take a sender report: its clock (64 bits, in 2^-32 s) at a timestamp. Returns whether that clock, or the
        stream, made a step since the last one; None for a report that says nothing."""
        x = self._time.near(timestamp)
        if ntp == 0 or x is None:  # nothing was sent yet, or it is of another stream
            return None
        taken = ntp / _NTP - x
        stepped = self.taken is not None and abs(taken - self.taken) > STEP_S
        self.taken, self.told_s = taken, at_s
        return stepped

    def doubt(self) -> None:
        """What was reported holds no more."""
        self.taken = None

    @property
    def arrived(self) -> float | None:
        """Our clock less media time, of the packets that were quickest on their way."""
        return None if math.isinf(self._soonest) else self._soonest

    @property
    def _soonest(self) -> float:
        least = min(self._least, self._least_before)
        return least if math.isfinite(least) else -math.inf


class LipSync:
    """From packets, reports and pictures that left to when sound has to leave. Every method may be called from any
    thread. Times are seconds of `clock`.

    rate: ticks in a second of the sound's timestamps.
    """

    def __init__(self, rate: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._sound = StreamClock(rate)
        self._picture = StreamClock(PICTURE_RATE)
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=_MOST_ARRIVALS)
        self._last_picture: float | None = None
        self._left: deque[tuple[float, float]] = deque(maxlen=_MOST_PICTURES)  # when, and how far behind x
        self._joints: deque[float] = deque(maxlen=_MOST_JOINTS)
        self._joint_s = -math.inf

    def sound_packet(self, timestamp: int) -> tuple[float, bool]:
        """Take the arrival of a packet of sound. Returns its media time in seconds, and whether the stream began anew:
        former media times are not to be compared with it."""
        with self._lock:
            x, anew = self._sound.packet(timestamp, self._clock())
            if anew:
                self._joints.clear()
            return x, anew

    def sound_anew(self) -> None:
        """Another stream of sound takes this one's place."""
        with self._lock:
            self._sound = StreamClock(self._rate)
            self._joints.clear()

    def picture_packet(self, timestamp: int) -> None:
        """Take the arrival of a packet of the video, before anybody else does."""
        with self._lock:
            now = self._clock()
            x, anew = self._picture.packet(timestamp, now)
            if anew:
                self._last_picture = None
                self._joints.clear()
                self._left.clear()
                self._arrivals.clear()
            if self._last_picture is None or x > self._last_picture:
                self._last_picture = x
                self._arrivals.append((now, x))

    def sound_report(self, ntp: int, timestamp: int) -> None:
        """Take a sender report of the sound; ntp: 64 bits."""
        self._report(self._sound, self._picture, ntp, timestamp)

    def picture_report(self, ntp: int, timestamp: int) -> None:
        """Take a sender report of the video."""
        self._report(self._picture, self._sound, ntp, timestamp)

    def picture_left(self, arrived_s: float, left_s: float) -> float | None:
        """A picture left that was made of the frame whose first packet arrived at arrived_s. Returns when a sound of
        media time 0 would have had to leave for it, None where there is no sound yet."""
        with self._lock:
            at = bisect_right(self._arrivals, arrived_s, key=lambda arrival: arrival[0])
            if not at:
                return None
            behind = left_s - self._arrivals[at - 1][1]
            self._left.append((left_s, behind))
            joint = self._join()
            return None if joint is None else behind + joint

    def due(self) -> float | None:
        """When a sound of media time 0 has to leave, by the clock; None until a picture has left."""
        with self._lock:
            joint = self._join() if self._left else None
            return None if joint is None else joint + self._behind()

    def arrived(self) -> float | None:
        """When a sound of media time 0 arrived, had it been as quick on its way as the quickest; it cannot leave
        before. None before the first."""
        with self._lock:
            return self._sound.arrived

    @property
    def by_reports(self) -> bool:
        """Whether the sender's reports join the two, rather than their arrivals."""
        with self._lock:
            return self._reported() is not None

    def _report(self, own: StreamClock, other: StreamClock, ntp: int, timestamp: int) -> None:
        with self._lock:
            now = self._clock()
            stepped = own.report(ntp, timestamp, now)
            if stepped is None:
                return
            if stepped:
                other.doubt()  # the same clock: what the other stream said of it is of before the step
            sound, picture = self._sound.taken, self._picture.taken
            if (
                sound is None
                or picture is None
                or now - min(self._sound.told_s, self._picture.told_s) > OLD_S
            ):
                return
            joint, by_arrival = sound - picture, self._by_arrival()
            if by_arrival is not None and abs(joint - by_arrival) <= MOST_APART_S:
                self._joints.append(joint)
                self._joint_s = now

    def _behind(self) -> float:
        """Of the pictures of the last second, or of the last few."""
        since_s = self._left[-1][0] - _RECENT_S
        recent = [behind for left_s, behind in self._left if left_s > since_s]
        if len(recent) < _LEAST_PICTURES:
            recent = [behind for _, behind in list(self._left)[-_LEAST_PICTURES:]]
        return statistics.median(recent)

    def _join(self) -> float | None:
        reported = self._reported()
        return self._by_arrival() if reported is None else reported

    def _reported(self) -> float | None:
        if not self._joints or self._clock() - self._joint_s > OLD_S:
            return None
        return statistics.median(self._joints)

    def _by_arrival(self) -> float | None:
        sound, picture = self._sound.arrived, self._picture.arrived
        return None if sound is None or picture is None else sound - picture
