"""Two real connections on this machine, the ICE below which is begun anew; and candidates that come late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from engine.errors import ConfigError
from streaming import rtc_ice
from streaming.rtc_ice import Own, RestartableIce

WAIT_S = 20.0


class Pair:
    """Who offers (`left`) and who answers (`right`), with a channel between them; each hears what the other says."""

    def __init__(self) -> None:
        self.left, self.right = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
        self.channel = self.left.createDataChannel("test")
        self.channel.on("message", lambda text: self.heard.append(text))
        self.heard: list[str] = []
        self.said: list[str] = []
        self.ices: list[RestartableIce] = []

        @self.right.on("datachannel")
        def opened(channel: Any) -> None:
            channel.on("message", lambda text: (self.said.append(text), channel.send(f"{text}!")))

    async def meet(self, *, candidates: bool = True) -> list[str]:
        """Returns the candidates of who offers. candidates: whether both descriptions have any."""
        await self.left.setLocalDescription(await self.left.createOffer())
        offer = self.left.localDescription.sdp
        await self.right.setRemoteDescription(_described(offer, "offer", candidates))
        self.ices = [RestartableIce(self.left), RestartableIce(self.right)]
        await self.right.setLocalDescription(await self.right.createAnswer())
        await self.left.setRemoteDescription(
            _described(self.right.localDescription.sdp, "answer", candidates)
        )
        return [line for line in offer.split("\r\n") if line.startswith("a=candidate:")]

    async def talk(self, text: str) -> None:
        """A message goes there and comes back."""
        await until(lambda: self.channel.readyState == "open")
        self.channel.send(text)
        await until(lambda: f"{text}!" in self.heard)

    async def begin_anew(self) -> tuple[Own, Own]:
        left, right = [await ice.begin() for ice in self.ices]
        self.ices[1].turn_to(left.ufrag, left.password, left.candidates, ended=True)
        self.ices[0].turn_to(right.ufrag, right.password, right.candidates, ended=True)
        return left, right

    def ways(self) -> list[int]:
        """The ports that both use now."""
        return [next(iter(ice._now._nominated.values())).local_addr[1] for ice in self.ices]


def _described(sdp: str, kind: str, candidates: bool) -> RTCSessionDescription:
    kept = [line for line in sdp.split("\r\n") if candidates or "candidate" not in line]
    return RTCSessionDescription("\r\n".join(kept), kind)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    try:
        yield made
    finally:
        await made.left.close()
        await made.right.close()


def run(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_a_restart_changes_the_way_below_a_connection_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other names and ports on both sides, what is said meanwhile arrives, the old sockets are freed, and neither DTLS
    nor the states of the connection see any of it. It can be done again."""
    monkeypatch.setattr(rtc_ice, "_LINGER_S", 0.05)

    async def test() -> None:
        async with pair() as made:
            states: list[str] = []
            await made.meet()
            await made.talk("one")
            made.left.on("connectionstatechange", lambda: states.append(made.left.connectionState))
            for number in range(2):
                before, old = made.ways(), [ice._now for ice in made.ices]
                names = [each.local_username for each in old]
                left, right = await made.begin_anew()
                await made.talk(f"meanwhile {number}")
                await until(lambda: all(each._closed for each in old))  # noqa: B023
                assert not set(before) & set(made.ways())
                assert names != [left.ufrag, right.ufrag]
                assert [ice.local_username for ice in made.ices] == [left.ufrag, right.ufrag]
                await made.talk(f"after {number}")
            assert states == []
            assert made.right.sctp.transport.state == "connected"

    run(test)


def test_a_restart_that_finds_no_way_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up after its time; what was connected goes on, and its consent is asked for again."""
    monkeypatch.setattr(rtc_ice, "RESTART_S", 0.2)

    async def test() -> None:
        async with pair() as made:
            await made.meet()
            await made.talk("one")
            ice = made.ices[1]
            asking = ice._now._query_consent_task
            await ice.begin()
            ice.turn_to("nobody", "x" * 22, ["a=candidate:1 1 udp 1 192.0.2.1 9999 typ host"])
            await until(lambda: ice._next is None)
            assert asking.cancelled()
            assert not ice._now._query_consent_task.done()
            await made.talk("two")
            await made.begin_anew()
            await made.talk("three")

    run(test)


def test_a_newer_restart_takes_the_place_of_one_under_way() -> None:
    """The last one counts, and the sockets of the one before are freed."""

    async def test() -> None:
        async with pair() as made:
            await made.meet()
            await made.talk("one")
            ice = made.ices[1]
            await ice.begin()
            ice.turn_to("nobody", "x" * 22, [])
            given_up = ice._next
            await made.begin_anew()
            assert given_up._closed
            await until(lambda: ice._next is None)
            await made.talk("two")

    run(test)


def test_a_restart_before_the_first_way_was_found_leads_to_one() -> None:
    """Whoever lost its network between the offer and the connection need not begin from nothing."""

    async def test() -> None:
        async with pair() as made:
            await made.meet(candidates=False)
            await made.begin_anew()
            await made.talk("one")
            assert made.right.connectionState == "connected"

    run(test)


def test_candidates_that_come_later_lead_to_a_connection() -> None:
    """The offer has none; after the end of candidates more are no fault."""

    async def test() -> None:
        async with pair() as made:
            late = await made.meet(candidates=False)
            ice = made.ices[1]
            ice.add(late[:1])
            ice.add(late[1:], ended=True)
            ice.add(late)
            await made.talk("one")
            assert {each.port for each in ice.remote_candidates} >= {int(line.split(" ")[5]) for line in late}

    run(test)


def test_the_end_is_told_whichever_session_carries() -> None:
    """After a restart as before one: a way that is lost ends the connection, and nothing of ICE is left."""

    async def test() -> None:
        async with pair() as made:
            await made.meet()
            await made.talk("one")
            await made.begin_anew()
            ice = made.ices[1]
            await until(lambda: ice._next is None)
            await ice._now.close()
            await until(lambda: made.right.connectionState in ("failed", "closed"))
            await made.right.close()
            assert not ice._tasks
            with pytest.raises(ConnectionError):
                await ice.begin()

    run(test)


def test_the_other_side_of_nothing_is_refused() -> None:
    """What was not begun cannot be turned to."""

    async def test() -> None:
        async with pair() as made:
            await made.meet()
            with pytest.raises(ConfigError):
                made.ices[1].turn_to("name", "x" * 22, [])

    run(test)
