"""The way of received frames from the event loop to the decoder's thread, and through the decoder."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

import av
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.video.codeccontext import VideoCodecContext

from streaming.assembly import ASK_AGAIN_S, EncodedFrame
from streaming.sizes import declared_pixels

MOST_WAITING = 12
"""Encoded frames that may wait for the decoder; then the next key frame is asked for."""
MOST_PIXELS = 2560 * 1440
"""A larger picture is not decoded: a call may ask for no more memory than a camera needs."""
TELL_AGAIN_S = 10.0
"""Frames that cannot be decoded are logged once in so long."""

logger = logging.getLogger(__name__)


class Ready:
    """What the receiver passes from its jitter buffer to its decoder: every frame that one packet completed."""

    def __init__(self, frames: list[EncodedFrame]) -> None:
        self.frames = frames
        self.timestamp = 0  # the receiver maps it; each frame has its own


class Inbox:
    """Stands where the receiver has the queue to its decoder thread: `get` decodes, and returns when all is over."""

    def __init__(
        self,
        ask: threading.Event,
        arrived: Callable[[av.VideoFrame, float], None],
        ended: Callable[[], None],
        passed_over: Callable[[int], None],
    ) -> None:
        self._ask = ask  # the receiver asks for a key frame with its next packet, and clears it
        self._arrived = arrived
        self._ended = ended
        self._passed_over = passed_over
        self._waiting: deque[tuple[str, EncodedFrame]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._needs_key = False
        self._asked_s = float("-inf")
        self._decoder: tuple[str, VideoCodecContext] | None = None
        self._told = False
        self._failed_s = float("-inf")

    def put(self, task: tuple[RTCRtpCodecParameters, Ready] | None) -> None:
        with self._changed:
            if task is None:
                self._closed = True
                self._waiting.clear()
            else:
                codec, ready = task
                for frame in ready.frames:
                    self._add(codec.name, frame)
            self._changed.notify()

    def get(self) -> None:
        while (task := self._next()) is not None:
            self._decode(*task)
        self._decoder = None
        self._ended()

    def _add(self, codec: str, frame: EncodedFrame) -> None:
        if self._needs_key and not frame.key:
            self._ask_for_key()
            self._passed_over(1)
            return
        if frame.key and (self._needs_key or len(self._waiting) >= MOST_WAITING):
            self._drop_waiting()
        self._needs_key = False
        self._waiting.append((codec, frame))
        if len(self._waiting) > MOST_WAITING:
            self._drop_waiting()
            self._needs_key = True
            self._ask_for_key()

    def _drop_waiting(self) -> None:
        if self._waiting:
            self._passed_over(len(self._waiting))
            self._waiting.clear()

    def _ask_for_key(self) -> None:
        now = time.perf_counter()
        if now - self._asked_s >= ASK_AGAIN_S:
            self._asked_s = now
            self._ask.set()

    def _next(self) -> tuple[str, EncodedFrame] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return None if self._closed else self._waiting.popleft()

    def _decode(self, codec: str, frame: EncodedFrame) -> None:
        try:
            pictures = self._pictures(codec, frame)
        except (av.FFmpegError, ValueError) as error:
            self._not_decoded(codec, error)
            return
        if len(self._waiting) > 1:  # two newer ones are there already
            self._passed_over(1)
            return
        for picture in pictures:
            self._hand_on(picture, frame.first_packet_s)

    def _pictures(self, codec: str, frame: EncodedFrame) -> list[av.VideoFrame]:
        if (pixels := declared_pixels(codec, frame.data)) > MOST_PIXELS:
            raise ValueError(f"a picture of {pixels} pixels, expected at most {MOST_PIXELS}")
        if self._decoder is None or self._decoder[0] != codec:
            self._decoder = codec, _open_decoder(codec)
        packet = av.Packet(frame.data)
        packet.pts, packet.time_base = frame.pts, VIDEO_TIME_BASE
        return self._decoder[1].decode(packet)

    def _not_decoded(self, codec: str, error: Exception) -> None:
        """Nothing is shown that builds on it, and what the decoder took of memory is given back."""
        self._decoder = None
        now = time.perf_counter()
        if now - self._failed_s >= TELL_AGAIN_S:
            self._failed_s = now
            logger.warning("%s frame not decoded: %s", codec, error)
        with self._changed:
            self._needs_key = True
            self._ask_for_key()

    def _hand_on(self, picture: av.VideoFrame, first_packet_s: float) -> None:
        """The call outlives one frame that nobody could use."""
        try:
            self._arrived(picture, first_packet_s)
        except Exception:
            if not self._told:
                self._told = True
                logger.exception("a received frame was not taken")


def _open_decoder(codec: str) -> VideoCodecContext:
    context = av.CodecContext.create("h264" if codec == "H264" else "libvpx", "r")
    assert isinstance(context, VideoCodecContext)
    context.options = {"max_pixels": str(MOST_PIXELS)}
    context.thread_count = 1  # a frame takes 1 ms; FFmpeg would start a thread for every core
    return context
