"""The driver's own picture sent back, which the operator asks for by name to measure the way there and back.

There is no badge on it: nothing is generated. There is no worker behind it either, and no still: it ends with the
frames that come. A strip in the frames is in what goes back, as it is in the picture itself.
"""

from __future__ import annotations

import threading
import time

import av

from engine.fallback import grey
from engine.media.planes import i420_of
from engine.worker.interface import TICKS, TIME_BASE
from streaming.reports import Tally
from streaming.tracks import Pictures

_SIZE = (640, 480)
"""Of the grey of a camera that was never on."""


class Echo:
    """Stands where the intake and the outlet stand otherwise."""

    def __init__(self, pictures: Pictures, tally: Tally) -> None:
        self.paused = self.shut = False
        self.size: tuple[int, int] | None = None
        """(width, height) of the last frame."""
        self._pictures = pictures
        self._tally = tally
        self._begun_s = time.perf_counter()
        self._pts = -1
        self._lock = threading.Lock()

    def arrived(self, frame: av.VideoFrame, first_packet_s: float) -> None:
        """Send one decoded frame back, in the decoder's thread."""
        self._tally.frame_received()
        with self._lock:
            if self.paused or self.shut:
                self._tally.frame_dropped("paused")
                return
            self.size = frame.width, frame.height
            self._show(frame, first_packet_s)

    def show_grey(self) -> None:
        """In place of a camera that is off. From any thread."""
        with self._lock:
            if self.shut:
                width, height = self.size or _SIZE
                planes = i420_of(grey((width & ~1, height & ~1)))
                self._show(av.VideoFrame.from_ndarray(planes, format="yuv420p"), time.perf_counter())

    def _show(self, frame: av.VideoFrame, first_packet_s: float) -> None:
        if frame.format.name != "yuv420p":
            frame = frame.reformat(format="yuv420p")
        self._pts = max(self._pts + 1, int((time.perf_counter() - self._begun_s) * TICKS))
        frame.pts, frame.time_base = self._pts, TIME_BASE
        frame.pict_type = 0  # the decoder's choice must not become the encoder's
        if self._pictures.show(frame, lambda: self._tally.echo_left(time.perf_counter() - first_packet_s)):
            self._tally.frame_dropped("unsent")

    def stop(self) -> None:
        """End the output now."""
        self._pictures.end()
