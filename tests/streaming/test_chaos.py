"""What goes wrong around a call: it is back within five seconds, and meanwhile nothing of the driver leaves.

The driver is tinted as no portrait is; every picture that comes is looked at. The page's own way through them
is tests/streaming/test_live_fail_closed.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.types import U8
from streaming.bench.run import wait_until_ready
from streaming.bench.server import ServerProcess
from tests.streaming.calls import has_hue
from tests.streaming.conftest import UNHURRIED, server_command
from tests.streaming.faults import at_work, warm
from tests.streaming.recording.stage import pictures as recorded
from tests.streaming.whip_client import Camera, Client, client_session, clip

pytestmark = [
    pytest.mark.alone,
    pytest.mark.full,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are stopped, and found, as Linux has it"),
]

SIZE, FPS = (320, 240), 10.0
BACK_S = 5.0
PATIENCE_S = 60.0


def tinted(planes: U8) -> U8:
    """Magenta all over, as light as before."""
    height = planes.shape[0] * 2 // 3
    made = planes.copy()
    made[height:] = np.clip(made[height:].astype(np.int16) + 60, 0, 255)
    return made


class Chaos:
    """One call to one server, and whether it is well."""

    def __init__(self, server: ServerProcess, folder: Path, client: Client, seen: list[bool]) -> None:
        self.server, self.folder, self.client, self.seen = server, folder, client, seen

    @property
    def outcome(self) -> str:
        return str(self.client.told.get("report", {}).get("outcome", ""))

    async def well(self, within_s: float = PATIENCE_S) -> None:
        """Until pictures of the driver's motion come, for a second on end."""
        until, since = time.monotonic() + within_s, None
        while since is None or time.monotonic() - since < 1.0:
            good = self.outcome == "generated" and self.client.fps(1.0) >= 0.3 * FPS
            since = (since or time.monotonic()) if good else None
            assert time.monotonic() < until, (self.client.told, self.server.log[-800:])
            await asyncio.sleep(0.05)

    async def back(self, since: float) -> float:
        """Seconds from then until it was well again, which it has to be in time."""
        await self.well()
        return time.monotonic() - since - 1.0

    async def at_work(self) -> int:
        """Pid of the worker that tracks, once another is warm behind it."""
        until = time.monotonic() + PATIENCE_S
        while (pid := at_work(self.folder)) is None:
            assert time.monotonic() < until, "no spare worker"
            await asyncio.sleep(0.2)
        return pid


async def killed(chaos: Chaos, http: Any) -> float:
    """The worker's process is gone; another is there."""
    os.kill(await chaos.at_work(), signal.SIGKILL)
    return time.monotonic()


async def stopped(chaos: Chaos, http: Any) -> float:
    """It stands still for three seconds, and is replaced after two."""
    pid = await chaos.at_work()
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(3.0)
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGCONT)
    return time.monotonic()


async def stepped(chaos: Chaos, http: Any) -> float:
    """The wall clock leaps by an hour, and back by two."""
    for step_s in (3600, -7200):
        await asyncio.to_thread(chaos.server.ask, f"step {step_s}")
        await asyncio.sleep(1.0)
    return time.monotonic()


async def stalled(chaos: Chaos, http: Any) -> float:
    """The network's thread does nothing for two seconds."""
    await asyncio.to_thread(chaos.server.ask, "stall 2")
    await asyncio.sleep(2.0)
    return time.monotonic()


async def full(chaos: Chaos, http: Any) -> float:
    """Nothing can be written any more: who has to be recorded is not let in, a recording ends and plays to where it
    came, and the call goes on."""
    recording = await _record(chaos, http)
    await asyncio.to_thread(chaos.server.ask, "full")
    client = Client(http, chaos.server.origin)
    with pytest.raises(Exception, match=r"5\d\d: ") as refused:
        await client.call(None, kind="myself", attested_by="Ann", statement="It is me")
    assert "Traceback" not in str(refused.value)
    assert (await _ended(chaos, http, recording))["why"] == "disk full"
    assert list(recorded(chaos.folder / "kept" / f"{recording}.mp4"))
    assert chaos.outcome == "generated"
    await asyncio.to_thread(chaos.server.ask, "free")
    since = time.monotonic()
    await client.call(None, kind="myself", attested_by="Ann", statement="It is me")
    await client.end()
    return since


async def _record(chaos: Chaos, http: Any) -> str:
    """Record the call until some of it is on the disk; returns the recording's id."""
    origin = chaos.server.origin
    session = chaos.client.place.rpartition("/")[2]
    async with http.post(f"{origin}/api/v1/sessions/{session}/recording") as begun:
        assert begun.status == 201, await begun.text()
        id = str((await begun.json())["id"])
    until = time.monotonic() + PATIENCE_S
    while not (chaos.folder / "kept" / f"{id}.part.mp4").stat().st_size:
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
    return id


async def _ended(chaos: Chaos, http: Any, id: str) -> dict[str, Any]:
    """A recording that is whole."""
    until = time.monotonic() + PATIENCE_S
    while True:
        async with http.get(f"{chaos.server.origin}/api/v1/recordings/{id}") as answer:
            told: dict[str, Any] = await answer.json()
        if told["state"] == "ready":
            return told
        assert time.monotonic() < until, told
        await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def serving(models: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Path]]:
    folder = tmp_path_factory.mktemp("faults")
    tools = {"tools": "tests.streaming.faults:FaultyTools", "tools_with": {"folder": str(folder)}}
    kept = {"recordings": str(folder / "kept"), "recording_free_gb": 0}
    with ServerProcess({"rates": UNHURRIED} | tools | kept, server_command()) as server:
        wait_until_ready(server)
        yield server, folder


@pytest.mark.parametrize("fault", [killed, stopped, stepped, stalled, full], ids=lambda fault: fault.__name__)
def test_a_call_is_back_and_nothing_of_the_driver_left(
    fault: Callable[[Chaos, Any], Any],
    serving: tuple[ServerProcess, Path],
    faces_root: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Generated pictures come again within five seconds, in the same session, and no picture ever had the driver's
    colour."""
    server, folder = serving
    pictures = [tinted(one) for one in clip(faces_root / "drivers" / "man_wide_mouth_frontal.mp4", SIZE, FPS)]
    assert all(map(has_hue, pictures))
    until = time.monotonic() + PATIENCE_S
    while len(warm(folder)) < 2 and time.monotonic() < until:
        time.sleep(0.2)

    async def go() -> float:
        seen: list[bool] = []
        async with client_session(server.token) as http:
            client = Client(http, server.origin, lambda planes: seen.append(has_hue(planes)))
            await client.call(Camera(pictures, FPS))
            chaos = Chaos(server, folder, client, seen)
            await chaos.well()
            back_s = await chaos.back(await fault(chaos, http))
            assert client.rtc is not None
            assert client.rtc.connectionState == "connected"
            await client.end()
        assert len(seen) > 20
        assert not any(seen), f"{sum(seen)} of {len(seen)} pictures have the driver's colour"
        return back_s

    back_s = asyncio.run(go())
    with capsys.disabled():
        print(f"\n{fault.__name__}: back after {max(0.0, back_s):.2f} s")
    assert back_s < BACK_S
