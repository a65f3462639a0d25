"""The viewer's end of an impaired call: aiortc as a browser that sends a moving picture and shows what comes back."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

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

from engine.media.planes import i420_of
from engine.worker.interface import TIME_BASE
from streaming.codecs import kind_of
from streaming.encoders import Coder, TunedH264Encoder, TunedVp8Encoder
from streaming.measured import NoRecorder
from streaming.offer import preferring
from streaming.rtc import tune_receiver
from streaming.rtc_handshake import hasten_handshakes
from streaming.rtc_repair import send_again, widen_buffers
from tests.streaming.encoding import use_encoder
from tests.streaming.impairment.offering import take_part, transport_wide
from tests.streaming.impairment.relay import Relay, candidate_of, through

FAR = Path(__file__).with_name("far.py")
PORTRAIT = Path(__file__).resolve().parents[3] / "engine" / "data" / "sample_portrait.webp"
FPS = 30
PATIENCE_S = 30.0
"""How long a first picture is waited for."""
LOOP = 60
"""Pictures until the camera's begin anew, forth and back."""


def moving(size: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    """I420 planes of a portrait that sways before a camera that has grain."""
    width, height = size
    read = cv2.imread(str(PORTRAIT))
    assert read is not None
    rgb = cv2.cvtColor(cv2.resize(read, (width * 3 // 2, height * 3 // 2)), cv2.COLOR_BGR2RGB)
    rng = np.random.default_rng(seed)
    made = []
    for number in range(LOOP):
        x, y = (
            round(side * (0.22 + 0.2 * np.sin(number / 10 + phase)))
            for side, phase in ((width, 0), (height, 1))
        )
        grain = rng.integers(-8, 9, (height, width, 1), np.int16)
        shown = np.clip(rgb[y : y + height, x : x + width].astype(np.int16) + grain, 0, 255)
        made.append(i420_of(np.ascontiguousarray(shown.astype(np.uint8))))
    return made


class Camera(MediaStreamTrack):
    """The pictures forth and back at 30 a second, by the clock; one that is asked for late is left out."""

    kind = "video"

    def __init__(self, pictures: list[np.ndarray]) -> None:
        super().__init__()
        self._pictures = [*pictures, *pictures[-2:0:-1]]
        self._begun_s = time.perf_counter()
        self._number = -1

    async def recv(self) -> av.VideoFrame:
        self._number = max(self._number + 1, int((time.perf_counter() - self._begun_s) * FPS))
        await asyncio.sleep(max(0.0, self._begun_s + self._number / FPS - time.perf_counter()))
        planes = self._pictures[self._number % len(self._pictures)]
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = self._number * 90_000 // FPS, TIME_BASE
        return frame


@dataclass
class Seen:
    """What one end saw. shown_s: when each picture was decoded, in seconds since the first one. sizes: of each."""

    first_s: float | None = None
    shown_s: list[float] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    received: int = 0
    keys: int = 0
    opened: int = 0
    reports: list[dict[str, Any]] = field(default_factory=list)
    failed: str = ""


def frozen(shown_s: list[float], since: float, until: float) -> float:
    """The share of the time in which the picture stood: W3C's totalFreezesDuration, that is gaps longer than three mean
    ones and than a mean one and 150 ms, with the mean of the 30 before."""
    times = [at for at in shown_s if since <= at <= until]
    if len(times) < 2:
        return 1.0
    total, recent = 0.0, [1 / FPS]
    for gap in [b - a for a, b in pairwise(times)] + [until - times[-1]]:
        mean = sum(recent) / len(recent)
        if gap > max(3 * mean, mean + 0.15):
            total += gap
        else:
            recent = [*recent[-29:], gap]
    return (total + times[0] - since) / (until - since)


class Far:
    """The other end's process."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size

    async def __aenter__(self) -> Far:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(FAR),
            f"{self._size[0]}x{self._size[1]}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        return self

    async def ask(self, question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write((json.dumps(question) + "\n").encode())
        await self._process.stdin.drain()
        async with asyncio.timeout(20):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the far end ended")
        return json.loads(line)

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 15)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    @property
    def ended_well(self) -> bool:
        return self._process.returncode == 0


async def watch(
    relay: Relay,
    seconds: float,
    pictures: list[np.ndarray],
    size: tuple[int, int],
    codec: str = "vp8",
    enough: int | None = None,
) -> Seen:
    """One call of so many seconds through the relay, from the first picture on; or until so many came."""
    seen = Seen()
    async with Far(size) as far:
        await far.ask("report")  # it is up
        connection = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        try:
            await _call(connection, relay, far, seen, pictures, seconds, codec, enough)
        finally:
            await connection.close()
            told = await far.ask("ages")
            seen.ages, seen.received = told["ages"], told["received"]
            seen.keys, seen.opened = told["keys"], told["opened"]
    seen.failed = "" if far.ended_well else "the far end did not end well"
    return seen


async def _call(
    connection: RTCPeerConnection,
    relay: Relay,
    far: Far,
    seen: Seen,
    pictures: list[np.ndarray],
    seconds: float,
    codec: str,
    enough: int | None,
) -> None:
    with transport_wide():
        transceiver = connection.addTransceiver(Camera(pictures), "sendrecv")
        transceiver.setCodecPreferences(preferring(codec))
        channel = connection.createDataChannel("marotte")
        channel.on("message", lambda text: _report(seen, relay, text))
        await connection.setLocalDescription(await connection.createOffer())
        local = connection.localDescription.sdp
        offered_s = time.perf_counter()

        def arrived(frame: av.VideoFrame, first_packet_s: float) -> None:
            now = time.perf_counter() - offered_s
            if seen.first_s is None:
                seen.first_s = now
            seen.shown_s.append(relay.now_s)
            seen.sizes.append((frame.width, frame.height))

        answer = (await far.ask({"sdp": through(local, relay.for_server), "codec": codec}))["sdp"]
        relay.lead_to(candidate_of(answer), candidate_of(local))
        coders: list[Coder] = []

        def make(name: str) -> Any:
            coders.append(Coder(kind_of(name), "near", NoRecorder()))
            return TunedH264Encoder(coders[0]) if name == "h264" else TunedVp8Encoder(coders[0])

        told = RTCSessionDescription(through(answer, relay.for_client), "answer")
        await connection.setRemoteDescription(told)  # it connects behind this; what is tuned now is in time
        hasten_handshakes(connection)
        widen_buffers(connection)
        tune_receiver(transceiver.receiver, arrived, lambda: None)
        use_encoder(transceiver, make)
        send_again(transceiver.sender, lambda: coders[0].bits)
        take_part(transceiver, lambda bits: coders[0].wish(round(0.95 * bits), time.monotonic()))
    async with asyncio.timeout(PATIENCE_S):
        while seen.first_s is None:
            await asyncio.sleep(0.02)
    relay.begin()
    seen.shown_s.clear()
    while relay.now_s < seconds and (enough is None or len(seen.shown_s) < enough):
        await asyncio.sleep(0.05)


def _report(seen: Seen, relay: Relay, text: str) -> None:
    told = json.loads(text)
    if "report" in told:
        seen.reports.append(told["report"] | {"at": relay.now_s})
