"""Sessions that come and go for hours: `python -m tests.streaming.soak --minutes 60 --sessions 4 --reconnect-s 30`.

A real server with its worker is a process of its own; the clients are aiortc in this one. Every session is a camera
with a microphone, and each reconnects every so often: in turn by WHIP's DELETE, and by a connection that is only
closed. It writes soak.csv (a row every few seconds) and soak.svg below --out, prints what was measured, and ends with
status 1 where a gate of tests/streaming/soak_gates.py fails. The same command runs 24 hours with --minutes 1440.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, fields
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from aiortc.mediastreams import AudioStreamTrack

from streaming.bench.run import wait_until_ready
from streaming.bench.server import ServerProcess, cpu_seconds, family
from tests.streaming.conftest import UNHURRIED, server_command
from tests.streaming.faults import warm
from tests.streaming.live_server import of_process
from tests.streaming.soak_gates import Row, age_s, judged
from tests.streaming.whip_client import Camera, Client, NotCreatedError, client_session, clip, metrics

LOOK_S = 5.0
REST_S = 60.0
_AGES = "marotte_frame_age_seconds_bucket"
Say = Callable[[str], None]


class Soak:
    """One run against one server."""

    def __init__(self, server: ServerProcess, folder: Path, options: argparse.Namespace, say: Say) -> None:
        """folder: of its tools (faults.py)."""
        self._server, self._folder, self._options, self._say = server, folder, options, say
        self._pictures = clip(options.driver, options.size, options.fps)
        self._clients: list[Client] = []
        self.reconnects = 0
        self.lost: list[str] = []
        """Calls that did not come about, and why."""
        self.rows: list[Row] = []
        self.rests: list[dict[str, Any]] = []

    async def run(self) -> None:
        """All of it; `rows` and `rests` are there then."""
        async with client_session(self._server.token) as http:
            await self._all_once(http)
            self.rests.append(await self._at_rest())
            began = time.monotonic()
            ends = began + 60 * self._options.minutes
            keeping = [
                asyncio.create_task(self._keep(http, number, ends))
                for number in range(self._options.sessions)
            ]
            looking = asyncio.create_task(self._look(http, began))
            try:
                await asyncio.gather(*keeping)
            finally:
                for task in (*keeping, looking):
                    task.cancel()
                await asyncio.gather(*keeping, looking, return_exceptions=True)
            if looking.done() and not looking.cancelled() and (error := looking.exception()):
                raise error
            self.rests.append(await self._at_rest())

    async def _all_once(self, http: aiohttp.ClientSession) -> None:
        """What is opened once is opened: a call of each kind of end, all at once."""
        for ends in (Client.end, Client.close):
            clients = [self._client(http) for _ in range(self._options.sessions)]
            for client in clients:
                await self._call(client)
            await asyncio.gather(*(ends(client) for client in clients))

    def _client(self, http: aiohttp.ClientSession) -> Client:
        return Client(http, self._server.origin)

    async def _call(self, client: Client) -> None:
        await client.call(Camera(self._pictures, self._options.fps), AudioStreamTrack())
        await client.seen(3)

    async def _keep(self, http: aiohttp.ClientSession, number: int, ends: float) -> None:
        """One session after the other, until then; those of the others end at other times."""
        every_s = self._options.reconnect_s
        next_s = time.monotonic() + every_s * (1 + number / self._options.sessions)
        while time.monotonic() < ends:
            client = self._client(http)
            self._clients.append(client)
            try:
                await self._call(client)
                await asyncio.sleep(max(0.0, min(next_s, ends) - time.monotonic()))
            except (NotCreatedError, TimeoutError, aiohttp.ClientError) as error:
                self.lost.append(f"{type(error).__name__}: {error}")
            finally:
                self._clients.remove(client)
                await (client.end() if self.reconnects % 2 else client.close())
            next_s = max(next_s + every_s, time.monotonic() + every_s / 2)
            self.reconnects += 1

    async def _look(self, http: aiohttp.ClientSession, began: float) -> None:
        with (self._options.out / "soak.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*(field.name for field in fields(Row)[:-1]), "age_p50_s", "age_p99_s"])
            told_s = 0.0
            while True:
                await asyncio.sleep(LOOK_S)
                row = await self._row(http, time.monotonic() - began)
                self.rows.append(row)
                ages = [age_s(self.rows[-2:], share, 0.0, row.at_s) for share in (0.5, 0.99)]
                writer.writerow([*astuple(row)[:-1], *ages])
                file.flush()
                if row.at_s - told_s >= 60.0:
                    told_s = row.at_s
                    self._say(_line(row, ages, self.reconnects))

    async def _row(self, http: aiohttp.ClientSession, at_s: float) -> Row:
        series = await metrics(http, self._server.origin)
        counts = await asyncio.to_thread(self._server.ask, "tasks", 30.0)
        pids = family(self._server.pid)
        held = [found for pid in pids if (found := of_process(pid))]
        ages = [(_bound(labels), value) for (name, labels), value in series.items() if name == _AGES]
        return Row(
            round(at_s, 1),
            round(sum(one["rss_mb"] for one in held), 2),
            round(of_process(self._server.pid)["rss_mb"], 2),
            sum(one["threads"] for one in held),
            sum(one["fds"] for one in held),
            counts["tasks"],
            int(series["marotte_sessions", ""]),
            os.getloadavg()[0],
            round(sum(client.fps(LOOK_S) for client in self._clients), 1),
            cpu_seconds(self._server.pid) or 0.0,
            int(sum(value for (name, _), value in series.items() if name == "marotte_worker_restarts_total")),
            tuple(sorted(ages)),
        )

    async def _at_rest(self) -> dict[str, Any]:
        """What the server holds when nothing is open, once both workers are there and two looks in a row agree."""
        until, last = time.monotonic() + REST_S, None
        while True:
            await asyncio.sleep(3.0)
            counts = await asyncio.to_thread(self._server.ask, "counts", 30.0)
            found = {key: counts[key] for key in ("fds", "tasks")}
            found["threads"] = counts["threads"] - counts["pooled"]
            found["processes"] = len(counts["below"])
            settled = found == last and len(warm(self._folder)) == 2
            if settled or time.monotonic() > until:
                return found
            last = found


def _bound(labels: str) -> float:
    return float(labels.removeprefix('le="').removesuffix('"'))


def _line(row: Row, ages: Sequence[float | None], reconnects: int) -> str:
    told = ", ".join("none" if age is None else f"{1000 * age:.0f}" for age in ages)
    return (
        f"{row.at_s / 60:5.1f} min: {row.rss_mb:.1f} MB ({row.net_mb:.1f}), {row.threads} threads, {row.fds} fds, "
        f"{row.tasks} tasks, {row.fps:.1f} fps, age p50, p99 {told} ms, load {row.load:.1f}, {reconnects} reconnects"
    )


_WIDTH, _TALL, _LEFT = 900, 130, 70


def drawing(rows: Sequence[Row]) -> str:
    """Memory, what is held, and ages over the time, as SVG."""
    pairs = list(pairwise(rows))
    p99 = [
        (after.at_s, 1000 * (age_s(pair, 0.99, 0, after.at_s) or 0)) for pair in pairs for after in pair[1:]
    ]
    panels = [
        ("MB, all processes", [(row.at_s, row.rss_mb) for row in rows]),
        ("threads", [(row.at_s, row.threads) for row in rows]),
        ("descriptors", [(row.at_s, row.fds) for row in rows]),
        ("tasks", [(row.at_s, row.tasks) for row in rows]),
        ("frame age p99, ms", p99),
        ("load of the machine", [(row.at_s, row.load) for row in rows]),
    ]
    drawn = [_panel(title, points, 30 + at * (_TALL + 40)) for at, (title, points) in enumerate(panels)]
    height = len(panels) * (_TALL + 40) + 30
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" fill="#222"><rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    )
    return "\n".join([head, *drawn, "</svg>\n"])


def _panel(title: str, points: Sequence[tuple[float, float]], top: float) -> str:
    if not points:
        return ""
    end, most = max(points[-1][0], 1.0), max(1e-9, 1.1 * max(value for _, value in points))
    wide = _WIDTH - _LEFT - 20
    path = "L".join(
        f"{_LEFT + wide * at / end:.1f} {top + _TALL * (1 - value / most):.1f}" for at, value in points
    )
    return (
        f'<path d="M{_LEFT} {top}v{_TALL}h{wide}" fill="none" stroke="#888"/>'
        f'<path d="M{path}" fill="none" stroke="#2b6cb0"/>'
        f'<text x="{_LEFT}" y="{top - 6}">{title}, {end / 60:.0f} min</text>'
        f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.0f}</text>'
        f'<text x="{_LEFT - 6}" y="{top + _TALL}" text-anchor="end">0</text>'
    )


def soak(options: argparse.Namespace, say: Say = print) -> tuple[list[str], list[str]]:
    """Run it; returns what was measured and what of it fails."""
    options.out.mkdir(parents=True, exist_ok=True)
    tools = {"tools": "tests.streaming.faults:FaultyTools"}
    with (
        TemporaryDirectory() as folder,
        ServerProcess(
            {
                "rates": UNHURRIED,
                "worker": {"sessions": 2 * options.sessions, "hang_s": options.hang_s},
            }
            | tools
            | {"tools_with": {"folder": folder}},
            server_command(),
        ) as running,
    ):
        wait_until_ready(running)
        soaked = Soak(running, Path(folder), options, say)
        asyncio.run(soaked.run())
        told, failed = judged(soaked.rows, *soaked.rests)
        told.append(_load(soaked.rows))
        if restarts := soaked.rows[-1].restarts:
            failed.append(f"the worker was replaced {restarts} times")
        if soaked.lost:
            failed.append(
                f"{len(soaked.lost)} calls did not come about, the last one: {soaked.lost[-1][:200]}"
            )
        told.append(f"{soaked.reconnects} reconnects of {options.sessions} sessions")
    (options.out / "soak.svg").write_text(drawing(soaked.rows), encoding="utf-8")
    return told, failed


def _load(rows: Sequence[Row]) -> str:
    mean = sum(row.load for row in rows) / len(rows)
    used = (rows[-1].cpu_s - rows[0].cpu_s) / max(rows[-1].at_s - rows[0].at_s, 1e-9)
    fps = sum(row.fps for row in rows) / len(rows)
    cores = os.cpu_count()
    return (
        f"load: {mean:.1f} on {cores} cores in the mean, of which the server uses {used:.2f} cores; "
        f"{fps:.1f} pictures a second"
    )


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.streaming.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--size", type=_size, default=(320, 240), metavar="WxH")
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--reconnect-s", type=float, default=30.0)
    parser.add_argument("--driver", type=Path, required=True, help="clip of a face, which every camera shows")
    parser.add_argument(
        "--hang-s", type=float, default=2.0, help="a worker that is silent for so long is replaced"
    )
    parser.add_argument("--out", type=Path, default=Path("soak"), help="folder of soak.csv and soak.svg")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = options_of(arguments)
    told, failed = [], ["interrupted"]
    with suppress(KeyboardInterrupt):
        told, failed = soak(options, lambda line: print(line, flush=True))
    print("\n".join(told))
    print("\n".join(f"FAILED {line}" for line in failed) or "all gates hold")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
