"""A handshake whose packets are lost goes on soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import State

from streaming.rtc_handshake import AGAIN_S, _hasten, hasten_handshakes


class Ice:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def _send(self, data: bytes) -> None:
        self.sent.append(data)


class Dtls:
    def __init__(self) -> None:
        self.transport = Ice()
        self._state = State.CONNECTING
        self._told: Callable[[], None] = lambda: None

    def on(self, name: str, told: Callable[[], None]) -> None:
        assert name == "statechange"
        self._told = told

    def end(self, state: State) -> None:
        self._state = state
        self._told()


def test_a_flight_that_is_not_answered_is_sent_again_whole():
    """All that left together, in its order; nothing of the one before it; and no more once hands are shaken."""

    async def run() -> None:
        dtls = Dtls()
        before = dtls.transport._send
        _hasten(dtls)
        _hasten(dtls)
        await dtls.transport._send(b"hello")
        await asyncio.sleep(AGAIN_S / 2)
        await dtls.transport._send(b"key")
        await dtls.transport._send(b"done")
        async with asyncio.timeout(20):
            while len(dtls.transport.sent) < 5:
                await asyncio.sleep(0.01)
        assert dtls.transport.sent[:5] == [b"hello", b"key", b"done", b"key", b"done"]
        dtls.end(State.CONNECTED)
        sent = len(dtls.transport.sent)
        await dtls.transport._send(b"media")
        await asyncio.sleep(3 * AGAIN_S)
        assert dtls.transport.sent[sent:] == [b"media"]
        assert dtls.transport._send == before

    asyncio.run(run())


def test_a_handshake_that_is_given_up_leaves_nothing():
    """No task goes on for a transport that failed or was closed, or that never began."""

    async def run() -> None:
        for state in (State.FAILED, State.CLOSED):
            dtls = Dtls()
            _hasten(dtls)
            await dtls.transport._send(b"hello")
            dtls.end(state)
        _hasten(Dtls())
        await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_two_ends_meet_though_the_first_packets_are_lost():
    """Real connections, of which one loses its first flight: what is repeated is what they go on with."""

    async def run() -> None:
        one, other = RTCPeerConnection(), RTCPeerConnection()
        opened = asyncio.Event()
        one.createDataChannel("x").on("open", opened.set)
        await one.setLocalDescription(await one.createOffer())
        await other.setRemoteDescription(one.localDescription)
        hasten_handshakes(other)
        dtls = other.sctp.transport
        flight, lost = dtls.transport._send.__self__, []
        send = flight._send

        async def losing(data: bytes) -> None:
            if lost:
                await send(data)
            else:
                lost.append(data)

        flight._send = losing
        await other.setLocalDescription(await other.createAnswer())
        await one.setRemoteDescription(other.localDescription)
        async with asyncio.timeout(20):
            await opened.wait()
        assert lost
        await asyncio.gather(one.close(), other.close())

    asyncio.run(run())
