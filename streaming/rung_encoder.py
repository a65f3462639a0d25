"""A rung's encoder in a thread of its own: each picture once, however many watch it; the newest wins."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable

import av
from av.video.reformatter import Interpolation, VideoReformatter

from engine.worker.interface import TICKS
from streaming.codecs import RATE, kind_of
from streaming.encoders import Coder
from streaming.ladder import Rung
from streaming.measured import NoRecorder, Recorder
from streaming.tracks import Encoded

_EARLY = 0.25  # of the time between two pictures, which never come quite evenly
_MEAN_OF = 20  # pictures
_log = logging.getLogger(__name__)


class _Picture:
    """One picture, for several encoders."""

    def __init__(self, frame: av.VideoFrame, left: Callable[[], None] | None) -> None:
        assert frame.pts is not None
        self.pts: int = frame.pts
        self.taken = False
        self.passed = False
        """An encoder that waits did not want it, for it has as many as its rung takes."""
        self._time_base = frame.time_base
        self._frame = frame
        self._lock = threading.Lock()
        self._left = left

    def take(self, rung: Rung, reformatter: VideoReformatter) -> av.VideoFrame:
        """A frame of the rung's size for one encoder alone, which writes its picture type and its time into it."""
        with self._lock:
            first, self.taken = not self.taken, True
        if first and self._left is not None:
            _tell(self._left)
        frame = self._frame
        size = frame.width, frame.height
        if rung.side_share < 1.0:
            own = reformatter.reformat(frame, *rung.size(*size), interpolation=Interpolation.AREA, threads=1)
        elif first:
            return frame
        else:
            own = av.VideoFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name)
        own.pts, own.time_base = self.pts, self._time_base
        return own


def _tell(left: Callable[[], None]) -> None:
    try:
        left()
    except Exception:  # counting must not end an encoder
        _log.exception("a picture that left was not counted")


class Newest:
    """The slot that a session's encoders take from. Any thread."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._picture: _Picture | None = None
        self._watched = 0
        self._ended = False

    def put(self, frame: av.VideoFrame, left: Callable[[], None] | None) -> bool:
        """Returns whether the one before was wanted by an encoder that was too slow for it."""
        with self._news:
            if self._ended:
                return False
            former, watched = self._picture, self._watched > 0
            # What is shown to nobody does not count as having left, when somebody comes who is shown it first.
            self._picture = _Picture(frame, left if watched else None)
            self._news.notify_all()
            return watched and former is not None and not (former.taken or former.passed)

    def end(self) -> None:
        with self._news:
            self._ended = True
            self._picture = None
            self._news.notify_all()

    @property
    def taken(self) -> bool:
        """Whether anybody takes from it."""
        return self._watched > 0

    def watched(self, by: int) -> None:
        """So many more take from it."""
        with self._news:
            self._watched += by

    def look(self) -> None:
        """Have everybody look again."""
        with self._news:
            self._news.notify_all()

    def after(self, pts: float, ready: Callable[[], bool], over: Callable[[], bool]) -> _Picture | None:
        """Wait for a picture of this time or later while `ready`; None when it has ended or is `over`."""

        def found() -> bool:
            if self._ended or over():
                return True
            picture = self._picture
            if picture is None or not ready():
                return False
            picture.passed |= picture.pts < pts
            return picture.pts >= pts

        with self._news:
            self._news.wait_for(found)
            return None if self._ended or over() else self._picture


class RungEncoder:
    """Encodes what is put into `newest`, for as long as it is not ended. Made, and told, on the event loop.

    name: for the recorder's bitrates. number: the rung's place on the ladder, for its counts. made: called on the loop
    with each encoded picture. encoder: as ServeConfig has it.
    """

    def __init__(
        self,
        name: str,
        codec: str,
        number: int,
        rung: Rung,
        newest: Newest,
        recorder: Recorder,
        made: Callable[[RungEncoder, Encoded], None],
        encoder: str = "software",
    ) -> None:
        self.codec, self.number = codec, number
        self.rung = rung
        """Where the ladder changes with the pictures' size it is set to what stands at its place."""
        self._name = name
        self._newest = newest
        self._recorder = recorder
        self._made = made
        self._counts = _Counts(recorder, number)
        self._coder = Coder(kind_of(codec, encoder), name, self._counts)
        self._reformatter = VideoReformatter()
        self._loop = asyncio.get_running_loop()
        self._key = threading.Event()
        self._key.set()
        self._due = -float("inf")
        self._away = False  # an encoded picture is on its way to the loop
        self._over = False
        self._told = False
        self._thread = threading.Thread(target=self._encode_on, name=f"encode-{name}", daemon=True)
        newest.watched(+1)
        recorder.encoder_running(codec, True)
        self._thread.start()

    @property
    def encode_s(self) -> float | None:
        """Mean time to encode one picture of late; None until it is known."""
        return self._counts.encode_s

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def ask_key(self) -> None:
        """Asked often, it comes as often as streaming.encoders allows."""
        self._key.set()

    def aim(self, bits: int) -> None:
        """Send so many bits per second from the next picture on."""
        self._coder.aim(bits)

    def end(self) -> None:
        """Take no picture from now on."""
        if not self._over:
            self._over = True
            self._newest.watched(-1)
            self._newest.look()
            self._recorder.encoder_running(self.codec, False)

    def join(self) -> None:
        """Wait for the thread's end, after `end` or that of the pictures."""
        self._thread.join()

    def _encode_on(self) -> None:
        try:
            while (picture := self._newest.after(self._due, self._is_ready, lambda: self._over)) is not None:
                self._due = self._next_due(picture.pts)
                try:
                    self._encode(picture)
                except Exception as error:
                    self._key.set()  # the next one may need what this one was to be
                    if not self._told:
                        self._told = True
                        _log.error("%s: a picture was not encoded: %r", self._name, error)
        finally:
            self._recorder.bitrate(self._name, self.codec, 0)

    def _is_ready(self) -> bool:
        """Not further ahead of the loop than one picture: what is encoded is not replaced by what is newer."""
        return not self._away

    def _next_due(self, pts: int) -> float:
        """From when on a picture is taken, so that no more a second are than the rung has; the fastest takes all."""
        if self.rung.fps >= RATE:
            return pts + 1
        step = TICKS / self.rung.fps
        return max(self._due, pts - _EARLY * step) + step

    def _encode(self, picture: _Picture) -> None:
        frame = picture.take(self.rung, self._reformatter)
        if key := self._key.is_set():
            self._key.clear()
        data = self._coder.encode(frame, key)
        if not data:
            if key:
                self._key.set()
            return
        self._away = True
        encoded = Encoded(data, picture.pts, self._counts.keyframe, (frame.width, frame.height))
        try:
            self._loop.call_soon_threadsafe(self._arrive, encoded)
        except RuntimeError:  # the loop is closed: nobody watches
            return

    def _arrive(self, encoded: Encoded) -> None:
        self._away = False
        if not self._over:
            self._made(self, encoded)
        self._newest.look()


class _Counts(NoRecorder):
    """What the codec tells its recorder, and the place of its rung beside it."""

    def __init__(self, recorder: Recorder, number: int) -> None:
        self._recorder = recorder
        self._number = number
        self._seconds: deque[float] = deque(maxlen=_MEAN_OF)
        self._opening = False
        self.keyframe = False
        """Whether the last picture became a key frame."""

    @property
    def encode_s(self) -> float | None:
        seconds = tuple(self._seconds)
        return sum(seconds) / _MEAN_OF if len(seconds) == _MEAN_OF else None

    def encoded(self, codec: str, seconds: float, size_bytes: int, keyframe: bool) -> None:
        if not self._opening:  # which takes longer than any picture
            self._seconds.append(seconds)
        self._opening = False
        self.keyframe = keyframe
        self._recorder.encoded(codec, seconds, size_bytes, keyframe)
        self._recorder.picture_encoded(codec, self._number)

    def bitrate(self, session: str, codec: str, bits_per_s: int) -> None:
        self._recorder.bitrate(session, codec, bits_per_s)

    def encoder_opened(self, codec: str, reason: str) -> None:
        self._opening = True
        self._seconds.clear()
        self._recorder.encoder_opened(codec, reason)
