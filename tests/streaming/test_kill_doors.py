"""The kill switch over HTTP: who may, what is refused meanwhile, and that a session's own end is as fast."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streaming.kill import KillSwitch
from streaming.rtc_ice import carries_media
from streaming.tokens import Tokens, key_of, scope_of
from tests.streaming.calls import Call, Camera, FakeWorker, call, plain, source_info
from tests.streaming.doorstep import SDP, TOKEN, Site, open_site
from tests.streaming.test_layouts import Painter

KILL = "/api/v1/kill"


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[KillSwitch]:
    with KillSwitch(tmp_path) as opened:
        yield opened


@pytest.fixture
def site(tmp_path: Path, switch: KillSwitch, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site(switch=switch) as opened:
        yield opened


def watch(site: Site, stream: str) -> Any:
    headers = {"Content-Type": "application/sdp"}
    return site.ask("POST", f"/whep/{stream}", SDP.replace("sendrecv", "recvonly").encode(), headers=headers)


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_killed_nothing_is_shown_and_nothing_begins_until_it_is_released(site: Site) -> None:
    """Sessions end with their reason; WHIP and WHEP say 503 and what to do; /readyz says it, /healthz stays; it is said
    why it is released, and then sessions open again."""
    assert site.ask("GET", KILL).json == {"killed": False}
    assert site.offer().status == 201
    (session,) = site.peers.sessions.values()
    assert not session.silent()
    answer = site.ask("POST", f"{KILL}?why=a%20report")
    assert session.silent()
    assert answer.status == 200
    assert answer.json["killed"]
    assert (answer.json["why"], answer.json["sessions"]) == ("a report", 1)
    wait_for(lambda: site.peers.closed)
    assert site.peers.closed == [(session.id, "killed")]
    for refused in (site.offer(), watch(site, "any")):
        assert refused.status == 503
        kind, message = refused.error
        assert kind == "KilledError"
        assert "a report" not in message
        assert refused.headers["Retry-After"]
    ready = site.ask("GET", "/readyz", token=None)
    assert (ready.status, ready.body.split(b":")[0]) == (503, b"killed")
    assert site.ask("GET", "/healthz", token=None).status == 200
    assert site.ask("DELETE", KILL).status == 422
    assert site.offer().status == 503
    released = site.ask("DELETE", f"{KILL}?why=looked%20into")
    assert (released.status, released.json) == (200, {"killed": False})
    assert site.offer().status == 201


def test_a_server_that_starts_killed_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state outlives it, and it comes up to be released."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    KillSwitch(tmp_path).kill("before the restart")
    with KillSwitch(tmp_path) as switch, open_site(switch=switch) as site:
        assert site.offer().status == 503
        assert site.ask("GET", KILL).json["why"] == "before the restart"


def test_no_picture_beside_a_layout_leaves_either(switch: KillSwitch) -> None:
    """It was generated, and would leave over HTTP."""
    with open_site(worker=Painter(), switch=switch) as site:
        assert site.ask("GET", "/api/v1/sessions/any/layout").status == 200
        switch.kill("a report")
        refused = site.ask("GET", "/api/v1/sessions/any/layout")
        assert (refused.status, refused.error[0]) == (503, "KilledError")


def test_who_may_kill(site: Site) -> None:
    """The scope admin, and no other; a reason that is no line changes nothing but the gate, which is shut."""
    made = Tokens(key_of(TOKEN)).issue([scope_of("api"), scope_of("publish"), scope_of("view")], 60.0)[0]
    for method in ("GET", "POST", "DELETE"):
        assert site.ask(method, f"{KILL}?why=me", token=made).status == 403, method
    assert site.ask("GET", KILL).json == {"killed": False}
    for _ in range(12):  # nobody is told to wait a little before a kill
        assert site.ask("POST", KILL).status == 200


def test_no_reason_is_too_bad_to_kill(site: Site, tmp_path: Path) -> None:
    """Here, in the file and in the answer it is the same: killed, by who gave no reason that can be kept."""
    answer = site.ask("POST", f"{KILL}?why={'x' * 400}")
    assert (answer.status, answer.json["killed"], answer.json["why"]) == (200, True, "no reason was given")
    assert (tmp_path / "stop" / "killed.json").exists()
    assert site.ask("DELETE", f"{KILL}?why={'x' * 400}").status == 422
    assert site.ask("DELETE", f"{KILL}?why=a+mistake").json == {"killed": False}


def test_what_is_media_is_known_by_its_first_bytes() -> None:
    """RTP is held back; STUN, DTLS, TURN's channels and reports go on, so that the other side hears of the end."""
    assert carries_media(bytes([0x80, 96]) + bytes(10))
    assert carries_media(bytes([0x90, 0x80 | 97]) + bytes(10))
    for other in (
        b"",
        b"\x80",
        bytes([0, 1]),
        bytes([22, 254]),
        bytes([64, 0]),
        bytes([0x80, 200]),
        bytes([0x81, 206]),
    ):
        assert not carries_media(other + bytes(0)), other


class Counted:
    """The media packets of one connection that reach its socket."""

    def __init__(self, made: Call) -> None:
        self.count = 0
        self.numbers: list[int] = []
        inner: Any = made.peer.ice
        send = inner._now.send

        async def counted(data: bytes) -> None:
            if carries_media(data):
                self.count += 1
                self.numbers.append(int.from_bytes(data[2:4], "big"))
            await send(data)

        inner._now.send = counted


def test_no_packet_leaves_after_the_flag_though_the_loop_is_busy() -> None:
    """Raised from another thread while the loop does something else: what was encoded and queued meanwhile is not sent,
    and no picture comes in. Repairs are held back too."""

    async def run() -> None:
        worker, switch, still = FakeWorker(source_info()), KillSwitch(), source_info()
        worker.start()
        pictures = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
        camera = Camera(lambda number: np.roll(pictures, number, 0))
        try:
            async with call(worker, still, camera, killed=lambda: switch.killed) as made:
                counted = Counted(made)
                await made.browser.until(lambda: counted.count > 20)
                sender: Any = made.peer._connection.rtc.getTransceivers()[0].sender
                sent = counted.count
                await sender._retransmit(counted.numbers[-1])
                assert counted.count > sent  # a repair does leave, otherwise
                thread = threading.Thread(target=lambda: (time.sleep(0.05), switch.kill("a report")))
                thread.start()
                time.sleep(0.15)  # the loop is busy: nobody hears of the switch
                thread.join()
                before, pictures_before = counted.count, len(made.browser.pictures)
                await asyncio.sleep(0.5)
                assert counted.count == before
                for number in counted.numbers[-20:]:
                    await sender._retransmit(number)
                assert counted.count == before
                assert len(made.browser.pictures) <= pictures_before + 6  # on their way already
                switch.release()
                await made.browser.until(lambda: counted.count > before)
        finally:
            worker.close()

    asyncio.run(run())


def test_the_end_of_one_session_is_as_fast() -> None:
    """DELETE of a session: from its very call not one packet of it leaves, though its connection takes a while to
    close."""

    async def run() -> None:
        worker, still = FakeWorker(source_info()), source_info()
        worker.start()
        try:
            async with call(worker, still, Camera(lambda number: plain((number % 255, 90, 20)))) as made:
                counted = Counted(made)
                await made.browser.until(lambda: counted.count > 5)
                ending = asyncio.ensure_future(made.peer.session.close("page"))
                await asyncio.sleep(0)
                before = counted.count
                await ending
                assert counted.count == before
        finally:
            worker.close()

    asyncio.run(run())
