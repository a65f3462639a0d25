"""What passed in one call: told to the page five times a second, and passed on to whoever counts for all calls."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from engine.types import FrameReport
from streaming.load import Work
from streaming.measured import Recorder

REPORT_S = 0.2
"""Seconds between two reports."""

_RATE_WINDOW_S = 2.0
_MOST_AGES = 90
_ENCODE_SHARE = 0.1  # of the newest picture, in the mean time to encode one


class Tally:
    """The Recorder of one call: it keeps what the call's report needs and passes everything on to `recorder`.

    Every method may be called from any thread.
    """

    def __init__(self, recorder: Recorder, clock: Callable[[], float] = time.perf_counter) -> None:
        self._recorder = recorder
        self._clock = clock
        self._lock = threading.Lock()
        self._in: deque[float] = deque()
        self._out: deque[float] = deque()
        self._sent: deque[tuple[float, int]] = deque()
        self._ages: deque[tuple[float, float]] = deque(maxlen=_MOST_AGES)
        self._dropped: Counter[str] = Counter()
        self._codec: str | None = None
        self._stages: dict[str, tuple[float, int]] = {}
        self._lags: list[float] = []
        self._outcome = "waiting"
        self._reason: str | None = None
        self._faces = 0
        self._round_trip_s: float | None = None
        self._encode_s = 0.0
        self.work = Work()
        """What it costs."""
        self._tell_left: Callable[[float, float], None] = lambda arrived_s, left_s: None

    def tell_left(self, left: Callable[[float, float], None]) -> None:
        """Have it called in any thread for each picture made of a driver's frame: when the frame's first packet arrived
        and when the picture, encoded, is about to leave."""
        self._tell_left = left

    def report(self) -> dict[str, Any]:
        """The fields of docs/live.md that pass through here; the means begin anew."""
        now = self._clock()
        with self._lock:
            stages = {name: _ms(total / count) for name, (total, count) in self._stages.items()}
            lags = self._lags
            self._stages, self._lags = {}, []
            return {
                "outcome": self._outcome,
                "reason": self._reason,
                "faces": self._faces,
                "stages": stages,
                "age_ms": _percentiles(self._ages, now),
                "filter_lag_ms": _ms(sum(lags) / len(lags)) if lags else None,
                "fps_in": _rate(self._in, now),
                "fps_out": _rate(self._out, now),
                "dropped": dict(self._dropped),
                "codec": self._codec,
                "kbps": self._kbps(now),
                "round_trip_ms": None if self._round_trip_s is None else _ms(self._round_trip_s),
            }

    def age_s(self) -> float | None:
        """95th percentile of the last two seconds' frame ages, in seconds; None without any."""
        with self._lock:
            found = _percentiles(self._ages, self._clock())
        return None if found is None else found["p95"] / 1000

    def session_opened(self, driver: str) -> None:
        self._recorder.session_opened(driver)

    def session_closed(self, reason: str) -> None:
        self._recorder.session_closed(reason)

    def showing(self, session: str, bundle: str, mode: str) -> None:
        self._recorder.showing(session, bundle, mode)

    def frame_received(self) -> None:
        with self._lock:
            self._in.append(self._clock())
            _forget(self._in, self._in[-1])
        self.work.received()
        self._recorder.frame_received()

    def frame_dropped(self, reason: str) -> None:
        with self._lock:
            self._dropped[reason] += 1
        self._recorder.frame_dropped(reason)

    def frame_left(self, report: FrameReport, age_s: float, stages: dict[str, float]) -> None:
        with self._lock:
            now = self._left(report.outcome.value, report.reason)
            self._faces = report.faces
            self._ages.append((now, age_s))
            if math.isfinite(report.filter_lag_s):
                self._lags.append(report.filter_lag_s)
            for name, seconds in stages.items():
                if math.isfinite(seconds):
                    total, count = self._stages.get(name, (0.0, 0))
                    self._stages[name] = total + seconds, count + 1
        self.work.left(stages, report.batch)
        self._tell_left(now - age_s, now + self._encode_s)
        self._recorder.frame_left(report, age_s, stages)

    def fallback_left(self, outcome: str, reason: str) -> None:
        with self._lock:
            self._left(outcome, reason)
        self._recorder.fallback_left(outcome, reason)

    def echo_left(self, age_s: float) -> None:
        """The driver's own picture was sent back, in pass-through."""
        with self._lock:
            now = self._left("pass_through", None)
            self._ages.append((now, age_s))
        self.work.left({}, 0)
        self._tell_left(now - age_s, now + self._encode_s)

    def encoded(self, codec: str, seconds: float, size_bytes: int, keyframe: bool) -> None:
        with self._lock:
            now = self._clock()
            self._codec = codec
            self._encode_s += (seconds - self._encode_s) * _ENCODE_SHARE
            self._sent.append((now, size_bytes))
            while self._sent[0][0] < now - _RATE_WINDOW_S:
                self._sent.popleft()
        self.work.encoded(seconds)
        self._recorder.encoded(codec, seconds, size_bytes, keyframe)

    def bitrate(self, session: str, codec: str, bits_per_s: int) -> None:
        self._recorder.bitrate(session, codec, bits_per_s)

    def encoder_opened(self, codec: str, reason: str) -> None:
        self._recorder.encoder_opened(codec, reason)

    def encoder_running(self, codec: str, on: bool) -> None:
        self._recorder.encoder_running(codec, on)

    def picture_encoded(self, codec: str, rung: int) -> None:
        self._recorder.picture_encoded(codec, rung)

    def pictures_given(self, codec: str, viewers: int) -> None:
        self._recorder.pictures_given(codec, viewers)

    def rooms(self, rooms: int, members: int) -> None:
        self._recorder.rooms(rooms, members)

    def viewer_opened(self) -> None:
        self._recorder.viewer_opened()

    def viewer_closed(self, reason: str) -> None:
        self._recorder.viewer_closed(reason)

    def round_trip(self, seconds: float) -> None:
        with self._lock:
            self._round_trip_s = seconds
        self._recorder.round_trip(seconds)

    def sound_packet(self, outcome: str) -> None:
        self._recorder.sound_packet(outcome)

    def sound_waited(self, seconds: float) -> None:
        self._recorder.sound_waited(seconds)

    def sound_skew(self, seconds: float) -> None:
        self._recorder.sound_skew(seconds)

    def remote(self, kind: str, former: str | None, state: str | None) -> None:
        self._recorder.remote(kind, former, state)

    def remote_lost(self, kind: str, reason: str) -> None:
        self._recorder.remote_lost(kind, reason)

    def source_added(self, outcome: str) -> None:
        self._recorder.source_added(outcome)

    def refused(self, reason: str) -> None:
        self._recorder.refused(reason)

    def _left(self, outcome: str, reason: str | None) -> float:
        now = self._clock()
        self._outcome, self._reason = outcome, reason
        self._out.append(now)
        _forget(self._out, now)
        return now

    def _kbps(self, now: float) -> int:
        size = sum(size for when, size in self._sent if when >= now - _RATE_WINDOW_S)
        return round(size * 8 / 1000 / _RATE_WINDOW_S)


def _forget(times: deque[float], now: float) -> None:
    while times[0] < now - _RATE_WINDOW_S:
        times.popleft()


def _rate(times: deque[float], now: float) -> float:
    """Per second, over what is left of the window."""
    recent = [when for when in times if when >= now - _RATE_WINDOW_S]
    if len(recent) < 2:
        return 0.0
    return round((len(recent) - 1) / max(now - recent[0], 1e-3), 1)


def _percentiles(ages: deque[tuple[float, float]], now: float) -> Mapping[str, float] | None:
    recent = sorted(age for when, age in ages if when >= now - _RATE_WINDOW_S)
    if not recent:
        return None
    last = len(recent) - 1
    return {"p50": _ms(recent[last // 2]), "p95": _ms(recent[round(last * 0.95)])}


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 2)
