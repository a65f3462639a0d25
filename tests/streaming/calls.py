"""One call in one process: aiortc as the browser, and a worker of which a test decides what it does."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

from engine.errors import WorkerError
from engine.media.planes import i420_of
from engine.types import U8, FrameReport, Mode, Outcome
from engine.worker.changes import parse
from engine.worker.interface import (
    TIME_BASE,
    BundleInfo,
    Delivery,
    SessionSpec,
    SourceInfo,
    Stamp,
    State,
    WorkerStatus,
)
from streaming.config import ServeConfig
from streaming.consents import Consents
from streaming.measured import NoRecorder, Recorder
from streaming.offer import sections_of_driver, spec_of
from streaming.peer import Offer, Peer
from streaming.session import Session

MAGENTA = (230, 20, 230)
"""The driver's hue in these tests; no portrait has it."""
PATIENCE_S = 20.0
"""How long a test waits for what must come; no measure of speed."""


def plain(rgb: tuple[int, int, int], size: tuple[int, int] = (320, 240)) -> U8:
    """A picture of one colour, uint8 (H, W, 3)."""
    return np.full((size[1], size[0], 3), rgb, np.uint8)


def source_info(
    name: str = "still", rgb: tuple[int, int, int] = (40, 90, 160), size=(320, 240)
) -> SourceInfo:
    return SourceInfo(name, name, size, 1, i420_of(plain(rgb, size)))


def has_hue(planes: U8) -> bool:
    """Whether any 8 x 8 region of I420 planes is magenta rather than anything else."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    chroma = planes[height:].reshape(2, height // 2, width // 2).astype(np.float64)
    rows, columns = height // 8, width // 8
    means = chroma[:, : rows * 4, : columns * 4].reshape(2, rows, 4, columns, 4).mean(axis=(2, 4)) - 128
    return bool(np.any((means[0] > 20) & (means[1] > 20)))


class FakeWorker:
    """Delivers a plain picture for each frame, from a thread of its own; `making` may be replaced.

    making: (session, rgb, stamp) to the planes to deliver, or None for nothing. It runs in the delivering thread.
    """

    def __init__(self, *infos: SourceInfo) -> None:
        self.sources = {info.id: info for info in infos}
        self.state = State.READY
        self.specs: dict[str, SessionSpec] = {}
        self.posted: list[tuple[tuple[int, ...], Stamp]] = []
        self.changes: list[Mapping[str, Any]] = []
        self.closed: list[str] = []
        self.making: Callable[[str, U8, Stamp], U8 | None] = lambda session, rgb, stamp: self.picture(session)
        self.full = False
        self._deliver: dict[str, Callable[[Delivery], None]] = {}
        self._slot: tuple[str, U8, Stamp] | None = None
        self._wake = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def picture(self, session: str) -> U8:
        spec = self.specs[session]
        height, width = self.sources[spec.source].still.shape
        planes = np.full((height, width), 128, np.uint8)
        planes[: height * 2 // 3] = 60 + 20 * min(9, len(self.changes))
        return planes

    def start(self) -> None:
        self._thread.start()

    def bundles(self) -> tuple[BundleInfo, ...]:
        return (BundleInfo("mesh_flow", "Mesh flow", "mesh_flow", "Apache-2.0"),)

    def status(self) -> WorkerStatus:
        return WorkerStatus(self.state, {"crashed": 1, "hung": 1})

    def open(self, session: str, spec: SessionSpec, deliver: Callable[[Delivery], None]) -> None:
        if self.full:
            raise WorkerError("sessions: got one more, expected at most 4; end another one first")
        self.specs[session], self._deliver[session] = spec, deliver

    def post(self, session: str, rgb: U8, stamp: Stamp) -> bool:
        with self._wake:
            replaced = self._slot is not None
            self._slot = session, rgb, stamp
            self.posted.append((rgb.shape, stamp))
            self._wake.notify()
        return replaced or self.state is not State.READY

    def change(self, session: str, change: Mapping[str, Any]) -> int:
        parse(change)
        self.changes.append(change)
        return len(self.changes)

    def deliver(self, session: str, planes: U8, stamp: Stamp, **others: Any) -> None:
        report = FrameReport(
            stamp.pts, Outcome.GENERATED, {"track": 0.001}, 0.002, filter_lag_s=0.003, faces=1
        )
        spec = self.specs[session]
        told = {"changes": len(self.changes), "source": spec.source, "report": report} | others
        told = {"bundle": spec.bundle or "mesh_flow", "mode": spec.mode or Mode.PUPPET} | told
        self._deliver[session](Delivery(told.pop("named", session), planes, stamp, **told))

    def close_session(self, session: str) -> None:
        self.closed.append(session)
        self._deliver.pop(session, None)

    def close(self) -> None:
        with self._wake:
            self._ended = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._ended or self._slot is not None)
                if self._ended or self._slot is None:
                    return
                (session, rgb, stamp), self._slot = self._slot, None
            planes = self.making(session, rgb, stamp)
            if planes is not None and session in self._deliver:
                self.deliver(session, planes, stamp)


class Camera(MediaStreamTrack):
    """Pictures of `rgb_of(number)` at about `rate` a second, for as long as it is asked."""

    kind = "video"

    def __init__(self, rgb_of: Callable[[int], U8], rate: float = 30.0) -> None:
        super().__init__()
        self._rgb_of = rgb_of
        self._rate = rate
        self._number = 0
        self.on = asyncio.Event()
        self.on.set()

    async def recv(self) -> av.VideoFrame:
        await self.on.wait()
        await asyncio.sleep(1 / self._rate)
        frame = av.VideoFrame.from_ndarray(i420_of(self._rgb_of(self._number)), format="yuv420p")
        frame.pts, frame.time_base = round(self._number * 90_000 / self._rate), TIME_BASE
        self._number += 1
        return frame


class Browser:
    """The page's side: what it received, and what its channel said. channel: None opens none. direction: of its video,
    where that does not follow from the camera."""

    def __init__(
        self,
        camera: Camera | None,
        codec: str | None = None,
        *,
        channel: str | None = "marotte",
        direction: str = "",
    ) -> None:
        self.connection = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.said: list[dict[str, Any]] = []
        self.pictures: list[U8] = []
        self._news = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        direction = direction or ("sendrecv" if camera else "recvonly")
        transceiver = self.connection.addTransceiver(camera or "video", direction)
        if codec:
            known = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences(
                [each for each in known if each.mimeType.lower() == f"video/{codec}"]
            )
        self.connection.on("track", self._received)
        if channel is not None:
            self.channel = self.connection.createDataChannel(channel)
            self.channel.on("message", self._heard)

    async def offer(self, source: str = "still", **others: Any) -> Offer:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        local = self.connection.localDescription
        return Offer(local.sdp, local.type, source, **others)

    async def accept(self, answer: RTCSessionDescription) -> None:
        await self.connection.setRemoteDescription(answer)

    async def say(self, **message: Any) -> None:
        await self.until(lambda: self.channel.readyState == "open")
        self.channel.send(json.dumps(message))

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until it holds, looking whenever anything came; returns its value."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            while not (value := condition()):
                try:
                    await asyncio.wait_for(self._news.wait(), 0.1)
                except TimeoutError:
                    continue
            return value

    def heard(self, name: str) -> list[Any]:
        return [message for message in self.said if name in message]

    def report(self, field: str) -> Any:
        """A field of the newest report, None before the first."""
        reports = self.heard("report")
        return reports[-1]["report"][field] if reports else None

    async def close(self) -> None:
        await self.connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _heard(self, message: str) -> None:
        self.said.append(json.loads(message))

    def _received(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.ensure_future(self._watch(track)))

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            frame = await track.recv()
            self.pictures.append(frame.to_ndarray(format="yuv420p"))
            async with self._news:
                self._news.notify_all()


class Call:
    """A browser and the peer that it talks to."""

    def __init__(self, browser: Browser, peer: Peer, worker: Any, ended: list[tuple[str, str]]) -> None:
        self.browser, self.peer, self.worker, self.ended = browser, peer, worker, ended

    async def connected(self) -> None:
        await self.browser.until(lambda: self.browser.pictures)


async def open_peer(
    offer: Offer,
    worker: Any,
    still: SourceInfo,
    *,
    config: ServeConfig | None = None,
    recorder: Recorder | None = None,
    closed: Callable[[str, str], None] = lambda session, reason: None,
    **others: Any,
) -> Peer:
    """As Calls.open does it, with nothing kept. others: of the session."""
    config = config or ServeConfig()
    spec = spec_of(offer, still.id)
    sections = sections_of_driver(offer, spec.driver)
    session = Session(
        spec,
        config=config,
        worker=worker,
        recorder=recorder or NoRecorder(),
        still=still,
        closed=closed,
        camera=sections.camera,
        **{"sources": {still.id: still}.get} | others,
    )
    return await Peer.open(offer, session, sections, config=config)


@asynccontextmanager
async def call(
    worker: Any,
    still: SourceInfo,
    camera: Camera | None = None,
    *,
    codec: str = "auto",
    driver: str = "camera",
    config: ServeConfig | None = None,
    recorder: Recorder | None = None,
    sources: Callable[[str], SourceInfo | None] | None = None,
    browser: Browser | None = None,
    killed: Callable[[], bool] = lambda: False,
    consents: Consents | None = None,
    **asked: Any,
) -> AsyncIterator[Call]:
    """A call that is connected: its first picture came. asked: further fields of the offer."""
    browser = browser or Browser(camera)
    ended: list[tuple[str, str]] = []
    peer = None
    try:
        peer = await open_peer(
            await browser.offer(still.id, driver=driver, codec=codec, **asked),
            worker,
            still,
            config=config,
            recorder=recorder,
            sources=sources or {still.id: still}.get,
            closed=lambda session, reason: ended.append((session, reason)),
            killed=killed,
            consents=consents,
        )
        await browser.accept(peer.answer)
        made = Call(browser, peer, worker, ended)
        await made.connected()
        yield made
    finally:
        if peer is not None:
            await peer.close("shutdown")
        await browser.close()


def now_stamp(pts: int = 0, **others: Any) -> Stamp:
    return Stamp(pts, time.perf_counter(), **others)
