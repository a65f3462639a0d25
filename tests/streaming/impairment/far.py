"""The server's end of an impaired call, as a process of its own: `python tests/streaming/impairment/far.py [OPTIONS]`.

A real session, intake, outlet, broadcast and peer, and a worker that gives each of the driver's pictures back at once:
what is late or missing is the network's, or the network side's. Every line of JSON that it reads is answered with one:
{"sdp": offer, "codec": C} with {"sdp": answer}; "ages" with all frames' ages so far in seconds; "reports" with the
session's report; the end of its input ends it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from engine.media.planes import i420_of
from engine.types import FrameReport
from streaming.config import ServeConfig
from streaming.measured import NoRecorder
from streaming.peer import Offer, Peer
from tests.streaming.calls import FakeWorker, open_peer, source_info


@dataclass
class Ages(NoRecorder):
    """ages: of every picture that left, in seconds. keys, opened: key frames and encoders."""

    ages: list[float] = field(default_factory=list)
    received: int = 0
    keys: int = 0
    opened: int = 0

    def frame_received(self) -> None:
        self.received += 1

    def frame_left(self, report: FrameReport, age_s: float, stages: dict[str, float]) -> None:
        self.ages.append(age_s)

    def encoded(self, codec: str, seconds: float, size_bytes: int, keyframe: bool) -> None:
        self.keys += keyframe

    def encoder_opened(self, codec: str, reason: str) -> None:
        self.opened += 1


async def serve(size: tuple[int, int]) -> None:
    recorder = Ages()
    still = source_info(size=size)
    worker = FakeWorker(still)
    worker.making = lambda session, rgb, stamp: (
        i420_of(rgb) if rgb.shape[:2] == size[::-1] else worker.picture(session)
    )
    worker.start()
    peer: Peer | None = None
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        asked = json.loads(line)
        if asked == "ages":
            told = {
                "ages": recorder.ages,
                "received": recorder.received,
                "keys": recorder.keys,
                "opened": recorder.opened,
            }
        elif asked == "report":
            told = peer.report() if peer is not None else {}
        else:
            offer = Offer(asked["sdp"], "offer", "still", codec=asked.get("codec", "auto"))
            peer = await open_peer(offer, worker, still, config=ServeConfig(), recorder=recorder)
            told = {"sdp": peer.answer.sdp}
        print(json.dumps(told), flush=True)
    if peer is not None:
        await peer.close("shutdown")
    worker.close()


if __name__ == "__main__":
    width, height = (int(side) for side in (sys.argv[1] if len(sys.argv) > 1 else "640x480").split("x"))
    asyncio.run(serve((width, height)))
