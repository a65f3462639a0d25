"""Whole servers, in real time: sound beside its picture, and a server that is killed."""

from __future__ import annotations

import asyncio
import fractions
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack

from engine.media.planes import i420_of
from engine.types import U8
from engine.worker.interface import TIME_BASE
from streaming.config import ServeConfig
from streaming.sound import OPUS_RATE
from tests.streaming.calls import plain
from tests.streaming.recording.stage import BEEP_S, flashes, onsets, pictures
from tests.streaming.whip.house import open_house
from tests.streaming.whip.test_connections import client
from tests.streaming.whip_client import Client, client_session

pytestmark = [pytest.mark.full, pytest.mark.alone]

SECONDS = 14.0
SKEW_S = 0.04
BEGIN_S = 3.0
"""What is said of the two streams' clocks takes as long to be known."""


class Flashing(MediaStreamTrack):
    """Bright for BEEP_S at each full second since `zero`."""

    kind = "video"

    def __init__(self, zero: float) -> None:
        super().__init__()
        self._zero, self._number = zero, 0
        self._dark, self._bright = (
            i420_of(plain(rgb, (160, 128))) for rgb in ((30, 30, 30), (250, 250, 250))
        )

    async def recv(self) -> av.VideoFrame:
        self._number += 1
        at_s = self._number / 30
        await asyncio.sleep(max(0.0, self._zero + at_s - time.perf_counter()))
        planes = self._bright if at_s % 1.0 < BEEP_S - 1e-6 else self._dark
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = round(at_s * 90_000), TIME_BASE
        return frame


class Beeping(MediaStreamTrack):
    """A tone of BEEP_S at each full second since `zero`; a packet is sent when its first sample is due, by which aiortc
    reports its time."""

    kind = "audio"

    def __init__(self, zero: float) -> None:
        super().__init__()
        self._zero, self._number = zero, 0

    async def recv(self) -> av.AudioFrame:
        at_s = self._number * 0.02
        times = at_s + np.arange(960) / OPUS_RATE
        tone = 12000 * np.sin(2 * np.pi * 1000 * times) * (times % 1.0 < BEEP_S)
        await asyncio.sleep(max(0.0, self._zero + at_s - time.perf_counter()))
        frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base = OPUS_RATE, fractions.Fraction(1, OPUS_RATE)
        frame.pts = self._number * 960
        self._number += 1
        return frame


def copied(session: str, rgb: U8, stamp: Any) -> U8:
    """What the worker makes of a driver's frame: as light as it, and 25 ms later."""
    time.sleep(0.025)
    return i420_of(plain((240, 240, 240) if rgb.mean() > 128 else (40, 60, 80)))


def test_flash_and_beep_are_recorded_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From aiortc's camera and microphone through the server to the file: 95 of 100 within 40 ms."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    config = ServeConfig(recordings=tmp_path / "kept", recording_free_gb=0)

    async def record(site: Any) -> Path:
        zero = time.perf_counter()
        async with client(site, Flashing(zero), Beeping(zero)) as driver:
            assert (await driver.post("/whip/show")).status == 201
            session = driver.place.rpartition("/")[2]
            await asyncio.sleep(1.0)
            begun = await driver.ask("POST", f"/api/v1/sessions/{session}/recording")
            await asyncio.sleep(SECONDS)
            await driver.ask("DELETE", f"/api/v1/sessions/{session}/recording")
            id = begun.json["id"]
            async with asyncio.timeout(60):
                while (await driver.ask("GET", f"/api/v1/recordings/{id}")).json["state"] != "ready":
                    await asyncio.sleep(0.1)
            return tmp_path / "kept" / f"{id}.mp4"

    with open_house(config) as site:
        site.worker.making = copied
        path = asyncio.run(record(site))
    seen, heard = np.array(flashes(path)), np.array(onsets(path))
    seen = seen[seen > BEGIN_S]
    skews = [heard[np.abs(heard - flash).argmin()] - flash for flash in seen]
    with capsys.disabled():
        shown = ", ".join(f"{1000 * skew:.0f}" for skew in skews)
        print(
            f"\nrecorded: sound after its picture by {shown} ms; p95 {1000 * np.percentile(np.abs(skews), 95):.0f}"
        )
    assert len(skews) >= SECONDS - BEGIN_S - 2
    assert np.percentile(np.abs(skews), 95) <= SKEW_S


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed as POSIX has it")
def test_a_killed_server_leaves_what_plays(serving: Callable[..., Any], tmp_path: Path) -> None:
    """SIGKILL in the midst of a recording of the demo: the part plays at once, and the next server makes it whole."""
    kept = tmp_path / "kept"
    options = {"recordings": str(kept), "recording_free_gb": 0, "in_process": True}

    async def begin(server: Any) -> None:
        async with client_session(server.token) as http:
            demo = Client(http, server.origin)
            await demo.call(None)
            sessions = await http.get(f"{server.origin}/api/v1/sessions")
            (session,) = (await sessions.json())["sessions"]
            begun = await http.post(f"{server.origin}/api/v1/sessions/{session['id']}/recording")
            assert begun.status == 201, await begun.text()
            async with asyncio.timeout(60):
                while not any(path.stat().st_size for path in kept.glob("*.part.mp4")):
                    await asyncio.sleep(0.1)
            os.kill(server.pid, signal.SIGKILL)
            assert demo.rtc is not None
            await demo.rtc.close()

    with serving(**options) as server:
        asyncio.run(begin(server))
    (part,) = kept.glob("*.part.mp4")
    before = len(list(pictures(part)))
    assert before > 10
    whole = part.with_name(part.name.replace(".part", ""))
    with serving(**options):
        until = time.monotonic() + 60
        while not whole.exists():
            assert time.monotonic() < until
            time.sleep(0.1)
    assert len(list(pictures(whole))) >= before - 1
    assert not part.exists()
