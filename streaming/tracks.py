"""The picture on its way from the outlet's threads to the sender on the event loop: one slot, the newest wins."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

_log = logging.getLogger(__name__)


class PictureTrack(MediaStreamTrack):
    """A video track that is fed by `show`. Made on the event loop that its sender runs on.

    `show` and `end` may be called from any thread, the rest from the loop. A frame given to `show` belongs to the
    encoder from then on, which writes its picture type into it: it is never given twice.
    """

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._sender_loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._slot_lock = threading.Lock()
        self._slot: tuple[av.VideoFrame, Callable[[], None] | None] | None = None
        self._taking = False
        self._ended = False
        self._told = False

    def show(self, frame: av.VideoFrame, left: Callable[[], None] | None = None) -> bool:
        """Give the newest frame, with rising pts. `left` is called on the loop when the sender takes it.

        Returns whether it replaced one that the sender was too slow for. After `end` it is let fall.
        """
        with self._slot_lock:
            if self._ended:
                return False
            replaced = self._slot is not None and self._taking
            self._slot = frame, left
        self._wake_up()
        return replaced

    async def recv(self) -> av.VideoFrame:
        """The newest frame that was not taken yet. Raises MediaStreamError, the sender's sign to stop, at the end."""
        self._taking = True
        while True:
            self._wake.clear()
            with self._slot_lock:
                if self._ended or self.readyState != "live":
                    raise MediaStreamError
                taken, self._slot = self._slot, None
            if taken is not None:
                frame, left = taken
                if left is not None:
                    self._tell(left)
                return frame
            await self._wake.wait()

    def end(self) -> None:
        """Let nothing out from now on, not even what waits."""
        with self._slot_lock:
            self._ended = True
            self._slot = None
        self._wake_up()

    def _tell(self, left: Callable[[], None]) -> None:
        try:
            left()
        except Exception:  # counting must not end the sender
            if not self._told:
                self._told = True
                _log.exception("a picture that left was not counted")

    def _wake_up(self) -> None:
        try:
            self._sender_loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # the loop is closed: nobody waits
            return
