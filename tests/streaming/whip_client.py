"""aiortc as a WHIP client of a real server: it sends a clip as its camera, and counts what comes back.

It keeps no picture, so that it may run for a day.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import av
import cv2
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from engine.media.planes import i420_of
from engine.types import U8
from engine.worker.interface import TIME_BASE

PATIENCE_S = 30.0
_KEPT = 4096  # times of pictures
_SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


def clip(path: Path, size: tuple[int, int], fps: float, seconds: float = 5.0) -> list[U8]:
    """I420 planes of a clip's first seconds, fitted to (width, height) and cut to it, at `fps`."""
    read, made = cv2.VideoCapture(str(path)), []
    step = (read.get(cv2.CAP_PROP_FPS) or fps) / fps
    for number in range(round(seconds * fps)):
        read.set(cv2.CAP_PROP_POS_FRAMES, round(number * step))
        whole, bgr = read.read()
        if not whole:
            break
        made.append(i420_of(np.ascontiguousarray(_cut(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), size))))
    read.release()
    assert made, f"{path} holds no picture"
    return made


def _cut(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    share = max(size[0] / rgb.shape[1], size[1] / rgb.shape[0])
    fitted = cv2.resize(
        rgb,
        (max(size[0], round(rgb.shape[1] * share)), max(size[1], round(rgb.shape[0] * share))),
        interpolation=cv2.INTER_AREA,
    )
    x, y = (fitted.shape[1] - size[0]) // 2, (fitted.shape[0] - size[1]) // 2
    return fitted[y : y + size[1], x : x + size[0]]


class Camera(MediaStreamTrack):
    """The pictures over and over, by the clock; one that is asked for late is left out."""

    kind = "video"

    def __init__(self, pictures: Sequence[U8], fps: float) -> None:
        super().__init__()
        self._pictures, self._fps = pictures, fps
        self._begun_s, self._number = time.perf_counter(), -1

    async def recv(self) -> av.VideoFrame:
        self._number = max(self._number + 1, int((time.perf_counter() - self._begun_s) * self._fps))
        await asyncio.sleep(max(0.0, self._begun_s + self._number / self._fps - time.perf_counter()))
        planes = self._pictures[self._number % len(self._pictures)]
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = round(self._number * 90_000 / self._fps), TIME_BASE
        return frame


class NotCreatedError(Exception):
    """The server answered with another status than 201."""

    def __init__(self, status: int, said: str, retry_after: str | None, took_s: float) -> None:
        super().__init__(f"{status}: {said}")
        self.status, self.said, self.retry_after, self.took_s = status, said, retry_after, took_s


class Client:
    """One call. looked_at: called with each picture's planes (I420), where they matter."""

    def __init__(
        self, http: aiohttp.ClientSession, origin: str, looked_at: Callable[[U8], None] | None = None
    ) -> None:
        self._http, self._origin, self._looked_at = http, origin, looked_at
        self.rtc: RTCPeerConnection | None = None
        self.place = ""
        self.arrived_s: deque[float] = deque(maxlen=_KEPT)
        """When each picture came, by perf_counter."""
        self.told: dict[str, Any] = {}
        """What the channel said last, by the message's first name."""
        self._watching: asyncio.Task[None] | None = None

    async def call(self, camera: Camera | None, sound: MediaStreamTrack | None = None, **asked: Any) -> float:
        """Publish; returns after how many seconds the answer came. asked: options of the address. Raises
        NotCreatedError."""
        self.rtc = rtc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        rtc.on("track", self._received)
        rtc.addTransceiver(camera or "video", "sendrecv" if camera else "recvonly")
        self.channel = rtc.createDataChannel("marotte")  # who has none is only listened to
        self.channel.on("message", self._heard)
        if sound is not None:
            rtc.addTransceiver(sound, "sendonly")
        await rtc.setLocalDescription(await rtc.createOffer())
        began = time.perf_counter()
        query = {"driver": "camera" if camera else "demo", "codec": "vp8"} | asked
        headers = {"Content-Type": "application/sdp"}
        async with self._http.post(
            f"{self._origin}/whip", params=query, data=rtc.localDescription.sdp.encode(), headers=headers
        ) as answer:
            said = await answer.text()
            took = time.perf_counter() - began
            if answer.status != 201:
                await self.close()
                raise NotCreatedError(answer.status, said, answer.headers.get("Retry-After"), took)
            self.place = urljoin(self._origin, answer.headers["Location"])
        await rtc.setRemoteDescription(RTCSessionDescription(said, "answer"))
        return took

    async def seen(self, count: int = 1, within_s: float = PATIENCE_S) -> None:
        """Until so many more pictures have come."""
        since = time.perf_counter()
        async with asyncio.timeout(within_s):
            while sum(at > since for at in self.arrived_s) < count:
                await asyncio.sleep(0.02)

    def fps(self, seconds: float) -> float:
        """Of the pictures that came in the last so many seconds."""
        since = time.perf_counter() - seconds
        return sum(at > since for at in self.arrived_s) / seconds

    def longest_gap_s(self, since: float) -> float:
        """Without a picture, from then (perf_counter) until now."""
        times = [since, *(at for at in self.arrived_s if at > since), time.perf_counter()]
        return max(after - before for before, after in pairwise(times))

    async def end(self) -> None:
        """As WHIP wants it: DELETE, then the connection."""
        if self.place:
            with suppress(aiohttp.ClientError):
                async with self._http.delete(self.place) as answer:
                    await answer.read()
        await self.close()

    async def close(self) -> None:
        """The connection alone: the server is told by it, or by nothing."""
        if self.rtc is not None:
            await self.rtc.close()
            self.rtc = None
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def _heard(self, message: str) -> None:
        self.told |= json.loads(message)

    def _received(self, track: MediaStreamTrack) -> None:
        if track.kind == "video":
            self._watching = asyncio.ensure_future(self._watch(track))

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.arrived_s.append(time.perf_counter())
            if self._looked_at is not None:
                self._looked_at(frame.to_ndarray(format="yuv420p"))


async def metrics(http: aiohttp.ClientSession, origin: str) -> dict[tuple[str, str], float]:
    """Every series by name and labels, as they are written."""
    async with http.get(f"{origin}/metrics") as answer:
        text = await answer.text()
    found = (_SERIES.match(line) for line in text.splitlines())
    return {(line[1], line[2] or ""): float(line[3]) for line in found if line}


def client_session(token: str) -> aiohttp.ClientSession:
    """Of a client that has this token. Each request has a connection of its own: none is kept in the server."""
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}"},
        connector=aiohttp.TCPConnector(force_close=True),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
    )
