"""Real clients of aiortc's at the endpoints: what they send drives a session, and what they watch is what leaves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)

from engine.types import U8
from streaming.rtc_ice import RestartableIce
from tests.streaming.calls import MAGENTA, Camera, has_hue, plain
from tests.streaming.doorstep import Answer, Site
from tests.streaming.whip.house import open_house, until

AS_SDP = {"Content-Type": "application/sdp"}
AS_FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
HIGH = re.compile(r"(a=fmtp:\d+ .*profile-level-id=)42\w{4}")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
        with open_house() as opened:
            yield opened


def tinted(number: int) -> U8:
    """A driver's frame in the hue that no portrait has."""
    return plain(MAGENTA)


class Client:
    """One connection to an endpoint: `place` and `etag` are its resource's."""

    def __init__(self, site: Site, *tracks: MediaStreamTrack | str) -> None:
        self.site = site
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for track in tracks:
            direction = "recvonly" if isinstance(track, str) else "sendonly"
            self.connection.addTransceiver(track, direction)
        self.connection.on("track", self._received)
        self.pictures: list[U8] = []
        self.sounds = 0
        self.place = self.etag = self.offer = self.answer = ""
        self.ice: RestartableIce
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await asyncio.to_thread(self.site.ask, method, path, body.encode(), headers=named)

    async def post(self, path: str, change: Callable[[str], str] = lambda sdp: sdp) -> Answer:
        """Offer, in other words if wished, and take the answer."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        self.offer = change(self.connection.localDescription.sdp)
        made = await self.ask("POST", path, self.offer, **AS_SDP)
        if made.status == 201:
            self.place, self.etag, self.answer = (
                made.headers["Location"],
                made.headers["ETag"],
                made.body.decode(),
            )
            answer = RTCSessionDescription(HIGH.sub(r"\g<1>42e01f", self.answer), "answer")
            await self.connection.setRemoteDescription(answer)
            self.ice = RestartableIce(self.connection)
        return made

    async def patch(self, *lines: str, match: str) -> Answer:
        body = "".join(f"{line}\r\n" for line in ("m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:0", *lines))
        return await self.ask("PATCH", self.place, body, **AS_FRAGMENT, If_Match=match)

    async def close(self) -> None:
        if self.place:
            await self.ask("DELETE", self.place)
        await self.connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _received(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.ensure_future(self._take(track)))

    async def _take(self, track: MediaStreamTrack) -> None:
        while True:
            frame: Any = await track.recv()
            if track.kind == "video":
                self.pictures.append(frame.to_ndarray(format="yuv420p"))
            else:
                self.sounds += 1


@asynccontextmanager
async def client(site: Site, *tracks: MediaStreamTrack | str) -> AsyncIterator[Client]:
    made = Client(site, *tracks)
    try:
        yield made
    finally:
        await made.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def without_candidates(sdp: str) -> str:
    return "\r\n".join(line for line in sdp.split("\r\n") if "candidate" not in line)


def test_one_publishes_and_others_watch(house: Site) -> None:
    """A camera and a microphone without a data channel drive a session; two viewers see its pictures, one hears it, and
    none sees the driver. The driver gets nothing back; its end ends them."""

    async def test() -> None:
        async with (
            client(house, Camera(tinted), AudioStreamTrack()) as driver,
            client(house, "video", "audio") as one,
            client(house, "video") as other,
        ):
            posted = len(house.worker.posted)
            assert (await driver.post("/whip/show")).status == 201
            assert driver.answer.count("a=recvonly") == 2
            await until(lambda: len(house.worker.posted) > posted + 5)
            for viewer in (one, other):
                assert (await viewer.post("/whep/show")).status == 201
                assert "a=sendonly" in viewer.answer
            await until(lambda: len(one.pictures) > 5 and len(other.pictures) > 5 and one.sounds > 5)
            assert not any(has_hue(picture) for picture in (*one.pictures, *other.pictures))
            assert driver.pictures == []
            assert (await other.ask("DELETE", other.place)).status == 200
            assert (await other.ask("GET", other.place)).status == 404
            assert (await one.ask("GET", one.place)).status == 204
            assert (await driver.ask("DELETE", driver.place)).status == 200
            await until(lambda: one.connection.connectionState in ("closed", "failed"))
            assert (await one.ask("GET", one.place)).status == 404
            refused = await other.ask("POST", "/whep/show", other.offer, **AS_SDP)
            assert refused.status == 404

    run(test)


def test_h264_of_a_high_profile_is_read(house: Site) -> None:
    """It is answered with the profile that was offered."""

    async def test() -> None:
        async with client(house, Camera(tinted)) as driver:
            posted = len(house.worker.posted)
            made = await driver.post("/whip/high?codec=h264", lambda sdp: HIGH.sub(r"\g<1>640028", sdp))
            assert made.status == 201
            assert "profile-level-id=640028" in driver.answer
            assert "profile-level-id=42" not in driver.answer
            assert driver.answer.index("H264") < driver.answer.index("VP8")
            await until(lambda: len(house.worker.posted) > posted + 5)

    run(test)


def test_candidates_may_come_after_the_offer(house: Site) -> None:
    """The offer has none, a PATCH brings them: frames arrive."""

    async def test() -> None:
        async with client(house, Camera(tinted)) as driver:
            posted = len(house.worker.posted)
            await driver.connection.setLocalDescription(await driver.connection.createOffer())
            late = [
                line for line in driver.connection.localDescription.sdp.split("\r\n") if "candidate" in line
            ]
            assert (await driver.post("/whip/trickle", without_candidates)).status == 201
            assert (await driver.patch(*late, match=driver.etag)).status == 204
            await until(lambda: len(house.worker.posted) > posted + 5)

    run(test)


def test_ice_begins_anew_and_the_show_goes_on(house: Site) -> None:
    """Of a driver and of a viewer: over other ports, with the same DTLS, and nobody ends."""

    async def anew(peer: Client) -> None:
        own = await peer.ice.begin()
        names = (
            f"a=ice-ufrag:{own.ufrag}",
            f"a=ice-pwd:{own.password}",
            *own.candidates,
            "a=end-of-candidates",
        )
        told = await peer.patch(*names, match="*")
        assert told.status == 200
        assert told.headers["ETag"] != peer.etag
        lines = told.body.decode().split("\r\n")
        ufrag, password = (
            line.split(":")[1] for line in lines if line.startswith(("a=ice-ufrag", "a=ice-pwd"))
        )
        peer.ice.turn_to(
            ufrag, password, [line for line in lines if line.startswith("a=candidate")], ended=True
        )
        await until(lambda: peer.ice.local_username == own.ufrag)

    async def test() -> None:
        async with client(house, Camera(tinted)) as driver, client(house, "video") as viewer:
            assert (await driver.post("/whip/anew")).status == 201
            posted = len(house.worker.posted)
            await until(lambda: len(house.worker.posted) > posted + 5)
            assert (await viewer.post("/whep/anew")).status == 201
            await until(lambda: viewer.pictures)
            for peer in (driver, viewer):
                await anew(peer)
            posted, shown = len(house.worker.posted), len(viewer.pictures)
            await until(lambda: len(house.worker.posted) > posted + 5 and len(viewer.pictures) > shown + 5)
            assert all(peer.connection.connectionState == "connected" for peer in (driver, viewer))

    run(test)
