"""How long after the operator's word a packet of picture still arrives, with every session of a real server busy.

    python -m tests.streaming.figures_kill --sessions 3 --way api signal file hung busy

Each session is a demo of a real worker and has a viewer besides; all connections are aiortc's in this process, over
this machine's own network, and only note when a packet of RTP came. The word is counted from before it is given.

    api      POST /api/v1/kill
    signal   SIGUSR2
    file     what `marotte kill` does, by the state's folder
    hung     a signal, while the worker's process is stopped
    busy     a signal, while the server's event loop does something else for a second
    one      DELETE of each session, all at once: a session's own end
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from streaming.bench.run import wait_until_ready
from streaming.bench.server import ServerProcess, family
from streaming.kill import KillSwitch
from tests.streaming.conftest import UNHURRIED, server_command

WAYS = ("api", "signal", "file", "hung", "busy", "one")
INTERVAL_S = 1 / 30
MOST_S = INTERVAL_S + 0.05
"""One frame interval and 50 ms."""
FLOW_S = 1.0
LISTEN_S = 1.5
STALL_S = 1.0
FADING_S = 0.8
"""After its worker has stopped a session's picture fades, and leaves often."""
PATIENCE_S = 60.0


@dataclass(slots=True)
class Heard:
    """One connection. times_s: when each packet of RTP came, by perf_counter."""

    place: str
    connection: RTCPeerConnection
    times_s: list[float] = field(default_factory=list)

    def listen(self) -> None:
        """From now on packets are noted and not looked at: nothing is decoded here."""
        dtls: Any = self.connection.getTransceivers()[0].receiver.transport

        async def note(data: bytes, arrival_time_ms: int) -> None:
            self.times_s.append(time.perf_counter())

        dtls._handle_rtp_data = note


@dataclass(frozen=True, slots=True)
class Kill:
    """Of one run. last_s: from the word to the last packet of each connection, below 0 where it came before the word.
    after: packets that came later than MOST_S. rates: packets a second of each before it. answered_s: until the word
    was acknowledged, where it was."""

    way: str
    last_s: tuple[float, ...]
    after: int
    rates: tuple[float, ...]
    answered_s: float | None


async def measure(way: str, sessions: int, options: dict[str, Any] | None = None) -> Kill:
    """One server, from its start to its end."""
    settings = {"rates": UNHURRIED, "worker": {"sessions": sessions}, "viewers": 2} | (options or {})
    async with AsyncExitStack() as opened:
        server = await asyncio.to_thread(ServerProcess(settings, server_command()).__enter__)
        opened.push_async_callback(asyncio.to_thread, server.close)
        await asyncio.to_thread(wait_until_ready, server)
        headers = {"Authorization": f"Bearer {server.token}"}
        http = await opened.enter_async_context(aiohttp.ClientSession(server.origin, headers=headers))
        heard: list[Heard] = []
        for number in range(sessions):
            heard.append(await _join(opened, http, f"/whip/s{number}?driver=demo"))
            heard.append(await _join(opened, http, f"/whep/s{number}"))
        for one in heard:
            one.listen()
        await _until(lambda: all(one.times_s for one in heard))
        await asyncio.sleep(FLOW_S)
        asked_s, answered_s = await _give(way, server, http, heard)
        await asyncio.sleep(LISTEN_S + (STALL_S if way == "busy" else 0.0))
        if way == "hung":
            _signal_worker(server.pid, signal.SIGCONT)
        return _told(way, heard, asked_s, answered_s)


async def _join(opened: AsyncExitStack, http: aiohttp.ClientSession, path: str) -> Heard:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    opened.push_async_callback(connection.close)
    connection.addTransceiver("video", "recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    content = {"Content-Type": "application/sdp"}
    async with http.post(path, data=connection.localDescription.sdp, headers=content) as answer:
        text = await answer.text()
        assert answer.status == 201, text
        place = answer.headers["Location"]
    await connection.setRemoteDescription(RTCSessionDescription(text, "answer"))
    await _until(lambda: connection.connectionState == "connected")
    return Heard(place, connection)


async def _give(
    way: str, server: ServerProcess, http: aiohttp.ClientSession, heard: Sequence[Heard]
) -> tuple[float, float | None]:
    """When the word was given, and when it was acknowledged."""
    if way == "hung":
        _signal_worker(server.pid, signal.SIGSTOP)
        await asyncio.sleep(FADING_S)
    if way == "busy":
        await asyncio.to_thread(server.ask, f"stall {STALL_S}")
        await asyncio.sleep(0.1)
    asked_s = time.perf_counter()
    if way == "api":
        async with http.post("/api/v1/kill?why=measured") as answer:
            assert answer.status == 200
        return asked_s, time.perf_counter()
    if way == "one":
        ends = (http.delete(one.place) for one in heard if one.place.startswith("/whip"))
        for answer in await asyncio.gather(*ends):
            assert answer.status == 200
        return asked_s, time.perf_counter()
    if way == "file":
        assert server._state is not None
        KillSwitch(Path(server._state.name), what="command").kill("measured")
    else:
        os.kill(server.pid, signal.SIGUSR2)
    return asked_s, None


def _signal_worker(pid: int, number: int) -> None:
    for below in family(pid):
        if below != pid:
            with suppress(ProcessLookupError):
                os.kill(below, number)


def _told(way: str, heard: Sequence[Heard], asked_s: float, answered_s: float | None) -> Kill:
    before = [sum(asked_s - FLOW_S <= when < asked_s for when in one.times_s) / FLOW_S for one in heard]
    return Kill(
        way,
        tuple(one.times_s[-1] - asked_s for one in heard),
        sum(when - asked_s > MOST_S for one in heard for when in one.times_s),
        tuple(before),
        None if answered_s is None else answered_s - asked_s,
    )


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--way", nargs="+", choices=WAYS, default=list(WAYS))
    asked = parser.parse_args()
    for way in asked.way:
        runs = [asyncio.run(measure(way, asked.sessions)) for _ in range(asked.runs)]
        last = [1000 * one for run in runs for one in run.last_s]
        rates = [rate for run in runs for rate in run.rates]
        answered = [1000 * run.answered_s for run in runs if run.answered_s is not None]
        print(
            json.dumps(
                {
                    "way": way,
                    "connections": len(last),
                    "packets_a_second": round(statistics.fmean(rates)),
                    "last_ms": {"median": round(statistics.median(last), 1), "most": round(max(last), 1)},
                    "later_than_allowed": sum(run.after for run in runs),
                    "answered_ms": round(max(answered), 1) if answered else None,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
