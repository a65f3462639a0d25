"""What one session costs: `python -m tests.streaming.session_cost --size 640x480 --fps 30 --seconds 20`.

Processor time of the server's processes, less what they use with none, for a session that sends its camera's own
picture back (pass-through), one that the demo drives, and one that a camera drives. The client is another process.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from streaming.bench.run import wait_until_ready
from streaming.bench.server import ServerProcess, cpu_seconds
from tests.streaming.conftest import UNHURRIED
from tests.streaming.soak import _size
from tests.streaming.whip_client import Camera, Client, client_session, clip

_REST_S, _WARM_S = 5.0, 5.0


async def cost(server: ServerProcess, camera: Camera | None, seconds: float) -> tuple[float, float, float]:
    """Share of a core at rest and for one session besides, and the pictures a second that came back."""
    async with client_session(server.token) as http:
        await asyncio.sleep(_REST_S)
        rest = await _used(server, seconds / 2)
        client = Client(http, server.origin)
        await client.call(camera)
        await client.seen(5)
        await asyncio.sleep(_WARM_S)
        used = await _used(server, seconds)
        fps = client.fps(seconds)
        await client.end()
    return rest, used - rest, fps


async def _used(server: ServerProcess, seconds: float) -> float:
    before, began = cpu_seconds(server.pid) or 0.0, time.monotonic()
    await asyncio.sleep(seconds)
    return ((cpu_seconds(server.pid) or 0.0) - before) / (time.monotonic() - began)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.streaming.session_cost", description=__doc__)
    parser.add_argument("--size", type=_size, default=(640, 480), metavar="WxH")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", action="append", choices=("pass-through", "demo", "camera"))
    parser.add_argument("--driver", type=Path, required=True, help="clip of a face")
    options = parser.parse_args(arguments)
    pictures = clip(options.driver, options.size, options.fps)
    for name, serving, drives in (
        ("pass-through", {"pass_through": True}, True), ("demo", {}, False), ("camera", {}, True)
    ):  # fmt: skip
        if options.only and name not in options.only:
            continue
        with ServerProcess({"rates": UNHURRIED, "worker": {"spare": False}} | serving) as server:
            wait_until_ready(server)
            camera = Camera(pictures, options.fps) if drives else None
            rest, used, fps = asyncio.run(cost(server, camera, options.seconds))
        print(
            f"{name}: {used:.2f} of a core at {fps:.1f} pictures a second; {rest:.2f} with no session",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
