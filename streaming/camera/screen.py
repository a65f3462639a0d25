"""Pictures at a fixed size and rate: what other programs take for a camera never stands still and never changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from engine.errors import MarotteError
from engine.fallback import grey
from engine.types import U8
from streaming.camera.sinks import EndedError, Output, Sink

STALE_S = 2.0
"""Grey is shown when nothing came for so long: an outlet repeats its picture sooner, so something is broken."""

_log = logging.getLogger("marotte.camera")


class Screen:
    """Stands where a session's broadcast does (streaming.tracks.Pictures): its newest picture goes to a sink at the
    output's rate, the same one again where no newer one came, whole, with black beside it where its shape is another.

    ended: called once from its thread where it ends by itself, with what the sink raised; None: somebody wants no more.
    killed: whether nothing may leave at all (streaming.kill).
    """

    def __init__(
        self,
        sink: Sink,
        output: Output,
        ended: Callable[[MarotteError | None], None],
        killed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._killed = killed
        self._sink, self._size, self._fps, self._ended = sink, output.size, output.fps, ended
        self._lock = threading.Lock()
        self._newest: tuple[av.VideoFrame, Callable[[], None] | None] | None = None
        self._over = threading.Event()
        self._reformatter = VideoReformatter()
        self._picture = self._blank = grey(output.size)
        self._fitted_size: tuple[int, int] | None = None
        self._newest_s = -np.inf
        self.sent = 0
        """Pictures, repeated ones among them."""
        self.fresh = 0
        """Those that were no repetition."""
        self._thread = threading.Thread(target=self._run, name="marotte-screen", daemon=True)

    def start(self) -> None:
        """Send from now on, grey until the first picture comes."""
        self._thread.start()

    def show(self, frame: av.VideoFrame, left: Callable[[], None] | None = None) -> bool:
        """As streaming.tracks.Pictures; `left` is called when the sink has it."""
        with self._lock:
            if self._over.is_set():
                return False
            replaced = self._newest is not None
            self._newest = frame, left
            return replaced

    def end(self) -> None:
        """Nothing leaves any more, not even what waits."""
        self._over.set()
        with self._lock:
            self._newest = None

    def join(self) -> None:
        """Wait for its thread, after `end`; the sink may be closed then."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        why: MarotteError | None = None
        try:
            self._send_on()
            return
        except EndedError:
            pass
        except MarotteError as error:
            why = error
        except Exception as error:
            _log.exception("the output failed")
            why = MarotteError(f"output: {self._sink.name} failed ({type(error).__name__}: {error})")
        self.end()
        self._ended(why)

    def _send_on(self) -> None:
        began_s, number = time.perf_counter(), 0
        while not self._over.wait(max(0.0, began_s + number / self._fps - time.perf_counter())):
            self._send(number)
            # One that is late is left out: a camera has no past.
            number = max(number + 1, int((time.perf_counter() - began_s) * self._fps))

    def _send(self, number: int) -> None:
        with self._lock:
            taken, self._newest = self._newest, None
        now = time.perf_counter()
        if taken is not None:
            self._picture = self._fitted(taken[0])
            self._newest_s = now
            self.fresh += 1
        elif now - self._newest_s > STALE_S:
            self._picture, self._fitted_size = self._blank, None
        if self._killed():
            return
        self._sink.send(self._picture, number)
        self.sent += 1
        if taken is not None and taken[1] is not None:
            taken[1]()

    def _fitted(self, frame: av.VideoFrame) -> U8:
        """All of it, as large as fits, in the middle: the badge is never cut off."""
        width, height = self._size
        share = min(width / frame.width, height / frame.height)
        size = max(2, round(frame.width * share)), max(2, round(frame.height * share))
        rgb = self._reformatter.reformat(
            frame, *size, "rgb24", interpolation=Interpolation.AREA if share < 1.0 else Interpolation.BILINEAR
        )
        if size != self._fitted_size:
            self._fitted_size, self._canvas = size, np.zeros((height, width, 3), np.uint8)
        left, top = (width - size[0]) // 2, (height - size[1]) // 2
        self._canvas[top : top + size[1], left : left + size[0]] = rgb.to_ndarray()
        return self._canvas
