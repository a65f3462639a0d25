"""One session's pictures and sound on their way to its recording: in a thread of its own, behind the live ones."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import av
from av.video.reformatter import VideoReformatter

from engine.media.unfinished import is_full
from engine.worker.interface import TICKS
from streaming.codecs import RATE
from streaming.ladder import Rung
from streaming.recording.sound import TimeLine
from streaming.recording.writer import Writer
from streaming.rung_encoder import Newest
from streaming.sound import SoundLine

LOOK_S = 1.0
"""How often the disk is looked at."""
LATE_S = 0.3
"""Sound that is behind its picture by more is taken for silence."""

_MOST_PACKETS = 1500  # of 20 ms: half a minute without a picture
_NICE = 5
_WHOLE = Rung(1.0, float(RATE), 0, 0)
_log = logging.getLogger(__name__)


class Why(Enum):
    """Why a recording ended. ASKED: somebody did. SESSION: with its session. KILLED: by the operator's switch.
    CONSENT: who is shown has not consented to it, or not any more. MINUTES, BYTES: its limits. FLOOR: the disk has
    hardly more left than it is to keep free. FULL: the disk did not take it. FAILED: the encoder."""

    ASKED = "asked"
    SESSION = "session"
    KILLED = "killed"
    CONSENT = "consent"
    MINUTES = "minutes"
    BYTES = "bytes"
    FLOOR = "disk"
    FULL = "disk full"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one recording. minutes: most. bytes: most of its file. floor: bytes of the disk that stay free, beside the
    room to make the file whole."""

    minutes: float = 60.0
    bytes: int = 4 << 30
    floor: int = 1 << 30


class Taker:
    """Writes what is put into `newest` to `path`, from its making until `end`, or until it ends by itself.

    sound: whose is written too. silent: whether nothing may be written any more. Made and ended on the event loop;
    ended: called once, from its thread, when the file is closed.
    """

    def __init__(
        self,
        name: str,
        newest: Newest,
        sound: SoundLine | None,
        path: Path,
        limits: Limits,
        tags: dict[str, str],
        ended: Callable[[Why, str], None],
        clock: Callable[[], float] = time.perf_counter,
        silent: Callable[[], bool] = lambda: False,
    ) -> None:
        self._newest, self._sound, self._path, self._limits = newest, sound, path, limits
        self._tags, self._ended, self._clock, self._silent = tags, ended, clock, silent
        self._over = False
        self._why = Why.SESSION
        self._packets: deque[tuple[bytes, float]] = deque(maxlen=_MOST_PACKETS)
        self._writer: Writer | None = None
        self._line = TimeLine() if sound is not None else None
        self._zero_s = float("inf")  # perf_counter at a picture's pts 0
        self._first_s = self._last_s = 0.0
        self._looked_s = -float("inf")
        newest.watched(+1)
        if sound is not None:
            sound.hear(self._hear)
        self._thread = threading.Thread(target=self._run, name=f"record-{name}", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """From the first picture to the last."""
        return self._last_s - self._first_s

    @property
    def written(self) -> int:
        """Bytes, so far."""
        return 0 if self._writer is None else self._writer.written

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) of the file; None before the first picture."""
        return None if self._writer is None else self._writer.size

    def end(self, why: Why) -> None:
        """Take nothing from now on."""
        if self._over:
            return
        self._why, self._over = why, True
        if self._sound is not None:
            self._sound.hear_no_more(self._hear)
        self._newest.watched(-1)
        self._newest.look()

    def join(self) -> None:
        """Wait until the file is closed, after `end` or that of the pictures."""
        self._thread.join()

    def _hear(self, payload: bytes, at_s: float) -> None:
        self._packets.append((payload, at_s))

    def _run(self) -> None:
        _step_back()
        try:
            why, told = self._take_all()
        except Exception as error:
            full = isinstance(error, OSError) and is_full(error)
            why, told = (Why.FULL if full else Why.FAILED), f"{type(error).__name__}: {error}"
            _log.error("%s: %s", self._path.name, told)
            self._abandon(full)
        self._ended(why, told)

    def _abandon(self, full: bool) -> None:
        if self._writer is None:
            return
        try:
            self._writer.abandon(full=full)
        except Exception as error:  # it is over in any case
            _log.error("%s: %r", self._path.name, error)

    def _take_all(self) -> tuple[Why, str]:
        reformatter, due = VideoReformatter(), -float("inf")
        why: Why | None = None
        while why is None:
            picture = self._newest.after(due, lambda: True, lambda: self._over)
            if picture is None or self._silent():
                break
            due = picture.pts + 1
            self._zero_s = min(self._zero_s, self._clock() - picture.pts / TICKS)
            self._write(picture.take(_WHOLE, reformatter), picture.pts / TICKS)
            why = self._limit()
        if self._writer is not None:
            self._write_sound(self.seconds + 1 / RATE, last=True)
            self._writer.close()
        return why or self._why, ""

    def _write(self, frame: av.VideoFrame, at_s: float) -> None:
        if self._writer is None:
            self._first_s = at_s
            size = frame.width, frame.height
            self._writer = Writer(self._path, size, sound=self._line is not None, tags=self._tags)
        self._last_s = at_s
        self._writer.picture(frame, self.seconds)
        self._write_sound(self.seconds)

    def _write_sound(self, until_s: float, *, last: bool = False) -> None:
        """What came; and silence, where nothing came for too long."""
        if self._line is None or self._writer is None:
            return
        begun_s = self._zero_s + self._first_s
        while self._packets:
            payload, at_s = self._packets.popleft()
            self._writer.sound(self._line.packet(payload, at_s - begun_s))
        self._writer.sound(self._line.silence(until_s - (0.0 if last else LATE_S)))

    def _limit(self) -> Why | None:
        """Which of its limits is reached."""
        if self.seconds >= 60 * self._limits.minutes:
            return Why.MINUTES
        if self.written >= self._limits.bytes:
            return Why.BYTES
        now = time.monotonic()
        if now - self._looked_s >= LOOK_S:
            self._looked_s = now
            if shutil.disk_usage(self._path.parent).free < self._limits.floor + self.written:
                return Why.FLOOR
        return None


def _step_back() -> None:
    """Behind those who encode for somebody who watches now. On Linux a thread has a place of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
