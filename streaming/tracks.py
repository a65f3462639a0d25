"""Encoded pictures on their way from a rung's encoder to one viewer's sender, which only packs them into RTP."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError

MOST_WAITING = 4
"""Encoded pictures; a sender that is further behind gets a key frame next, and not what it missed."""

_WINDOW_S = 2.0


class Pictures(Protocol):
    """Where pictures leave; any thread."""

    def show(self, frame: av.VideoFrame, left: Callable[[], None] | None = None) -> bool:
        """Give the newest picture, yuv420p, with rising pts in 1/90000 s; it belongs to whoever takes it from then on.
        `left` is called, from any thread, when it is handed to the first encoder.

        Returns whether it replaced one that the encoders were too slow for. After `end` it is let fall.
        """
        ...

    def end(self) -> None:
        """Let nothing out from now on, not even what waits."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """pts: in 1/90000 s. size: (width, height)."""

    data: bytes
    pts: int
    key: bool
    size: tuple[int, int]


class EncodedTrack(MediaStreamTrack):
    """What one viewer gets, all of it on the event loop: pictures of one encoder after another, each beginning with a
    key frame.

    joined: called when the sender first asks, before which nothing need be encoded for it. ask_key: called when nothing
    but a key frame helps.
    """

    kind = "video"

    def __init__(self, joined: Callable[[], None], ask_key: Callable[[], None]) -> None:
        super().__init__()
        self._joined = joined
        self._ask_key = ask_key
        self._source: object = None
        self._next: object = None
        self._missed = False
        self._queue: deque[Encoded] = deque()
        self._wake = asyncio.Event()
        self._begun = False
        self.over = False
        """Nothing leaves once this is set, which any thread may do; `end` follows on the loop."""
        self._pts = -1
        self._given: deque[tuple[float, int]] = deque()
        self.size: tuple[int, int] | None = None
        """(width, height) of the last picture."""

    def turn(self, source: object) -> None:
        """Go on with another encoder's pictures from its next key frame on; until then the present one's come."""
        self._next = source

    def give(self, source: object, picture: Encoded) -> bool:
        """Give what an encoder made; returns whether the viewer gets it."""
        if self.over or (source is not self._source and (source is not self._next or not picture.key)):
            return False
        if self._missed and not picture.key:
            return False
        if len(self._queue) >= MOST_WAITING:
            self._queue.clear()
            self._missed = True
            self._ask_key()
            return False
        self._source, self._missed = source, False
        self._count(picture)
        self._queue.append(picture)
        self._wake.set()
        return True

    async def recv(self) -> av.Packet[Any]:
        """The next one. Raises MediaStreamError, the sender's sign to stop, at the end."""
        if not self._begun:
            self._begun = True
            self._joined()
        while True:
            if self.over or self.readyState != "live":
                raise MediaStreamError
            if self._queue:
                break
            self._wake.clear()
            await self._wake.wait()
        picture = self._queue.popleft()
        packet = av.Packet(picture.data)
        # Two encoders may have made one of the same picture: a receiver takes equal times for one frame.
        self._pts = max(self._pts + 1, picture.pts)
        packet.pts, packet.time_base = self._pts, VIDEO_TIME_BASE
        return packet

    def end(self) -> None:
        """Let nothing out from now on, not even what waits."""
        self.over = True
        self._queue.clear()
        self._wake.set()

    def rates(self) -> tuple[float, int]:
        """Pictures a second and kilobits a second over the last two seconds."""
        since = time.monotonic() - _WINDOW_S
        sizes = [size for when, size in self._given if when >= since]
        return round(len(sizes) / _WINDOW_S, 1), round(sum(sizes) * 8 / 1000 / _WINDOW_S)

    def _count(self, picture: Encoded) -> None:
        now = time.monotonic()
        self.size = picture.size
        self._given.append((now, len(picture.data)))
        while self._given[0][0] < now - _WINDOW_S:
            self._given.popleft()
