"""What it takes to send one session's pictures to several viewers: from the showing of a picture until its last packet
leaves, and the processor time of all that is here, which is both ends of every connection.

    python -m tests.streaming.figures_viewers --codec h264 --viewers 5

Pictures of 640x480 that move, 30 a second. The viewers are aiortc's own in the same process; they take the packets and
decode nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rtp import RtpPacket, is_rtcp

from engine.types import U8
from engine.worker.interface import TICKS, TIME_BASE
from streaming.broadcast import Broadcast
from streaming.measured import NoRecorder
from streaming.offer import preferring
from streaming.reports import Tally
from streaming.rtc_send import send_pictures

SIZE = (640, 480)
RATE = 30
SETTLE_S = 1.0


@dataclass(slots=True)
class Measured(NoRecorder):
    """shown_s: when each picture was, by perf_counter. sent_s: when the last packet of one left, to anybody. encoded:
    how often one was. cpu_s: of this process, in seconds."""

    shown_s: list[float] = field(default_factory=list)
    sent_s: list[float] = field(default_factory=list)
    encoded_count: int = 0
    cpu_s: float = 0.0
    seconds: float = 0.0

    def picture_encoded(self, codec: str, rung: int) -> None:
        self.encoded_count += 1

    @property
    def ways_ms(self) -> list[float]:
        """From the showing of the newest picture before it until the last packet, once per picture and viewer."""
        since = self.shown_s[0] + SETTLE_S if self.shown_s else 0.0
        ends = [end for end in self.sent_s if end > since]
        return [1000 * (end - self.shown_s[bisect.bisect_right(self.shown_s, end) - 1]) for end in ends]


def pictures() -> list[U8]:
    """A second of blocks that wander, as I420 planes."""
    width, height = SIZE
    blocks = np.random.default_rng(1).integers(60, 180, (height * 3 // 2 // 8, width // 8), dtype=np.uint8)
    still = np.kron(blocks, np.ones((8, 8), np.uint8))
    return [np.ascontiguousarray(np.roll(still, 2 * number, axis=1)) for number in range(RATE)]


async def measure(codec: str, viewers: int, seconds: float) -> Measured:
    """Show pictures for so long to so many."""
    measured = Measured()
    broadcast = Broadcast("bench", Tally(measured))
    connections: list[RTCPeerConnection] = []
    try:
        for _ in range(viewers):
            connections += await _joined(broadcast, codec, measured)
        while any(connection.connectionState != "connected" for connection in connections):
            await asyncio.sleep(0.01)
        over = threading.Event()
        showing = asyncio.create_task(asyncio.to_thread(_show, broadcast, measured, over))
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        measured.seconds, measured.cpu_s = time.perf_counter() - began, time.process_time() - cpu
        over.set()
        await showing
    finally:
        broadcast.end()
        await asyncio.gather(*(connection.close() for connection in connections))
        await asyncio.to_thread(broadcast.join)
    return measured


async def _joined(broadcast: Broadcast, codec: str, measured: Measured) -> list[RTCPeerConnection]:
    server, viewer = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    sending = server.addTransceiver("video", "sendonly")
    sending.setCodecPreferences(preferring(codec))
    receiving: Any = viewer.addTransceiver("video", "recvonly").receiver
    await viewer.setLocalDescription(await viewer.createOffer())
    await server.setRemoteDescription(viewer.localDescription)
    watch = send_pictures(sending, broadcast)
    watch.track.rates = lambda: (0.0, 0)  # type: ignore[method-assign]  # aiortc's estimate is of no way here
    _listen(sending.sender, lambda: measured.sent_s.append(time.perf_counter()))
    await server.setLocalDescription(await server.createAnswer())
    await viewer.setRemoteDescription(server.localDescription)
    decoding = receiving._RTCRtpReceiver__decoder_queue
    put = decoding.put
    decoding.put = lambda task: put(task) if task is None else None
    return [server, viewer]


def _listen(sender: Any, left: Callable[[], None]) -> None:
    """Have `left` called after the last packet of each picture."""
    transport, ssrc = sender.transport, sender._ssrc
    send = transport._send_rtp

    async def send_told(data: bytes) -> None:
        await send(data)
        if not is_rtcp(data):
            packet = RtpPacket.parse(data)
            if packet.marker and packet.ssrc == ssrc:
                left()

    transport._send_rtp = send_told


def _show(broadcast: Broadcast, measured: Measured, over: threading.Event) -> None:
    planes = pictures()
    began, number = time.perf_counter(), 0
    while not over.wait(max(0.0, began + number / RATE - time.perf_counter())):
        frame = av.VideoFrame.from_numpy_buffer(planes[number % len(planes)], format="yuv420p")
        frame.pts, frame.time_base = 1 + number * TICKS // RATE, TIME_BASE
        measured.shown_s.append(time.perf_counter())
        broadcast.show(frame)
        number += 1


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(prog="python -m tests.streaming.figures_viewers", description=__doc__)
    parser.add_argument("--codec", choices=("vp8", "h264"), default="h264")
    parser.add_argument("--viewers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    measured = asyncio.run(measure(options.codec, options.viewers, options.seconds))
    half, most = np.percentile(measured.ways_ms, (50, 95))
    print(
        f"{options.codec}, {options.viewers} viewers: {half:.1f} ms (p95 {most:.1f}) until the last packet, "
        f"{len(measured.shown_s)} shown, {measured.encoded_count} encoded, {len(measured.sent_s)} sent, "
        f"{100 * measured.cpu_s / measured.seconds:.0f} % of a core"
    )


if __name__ == "__main__":
    main()
