"""Sockets of ICE within a range of ports, also when ICE begins anew, and relays that are known late."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aioice
import pytest
from aioice import stun
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

from engine.errors import ConfigError
from streaming.rtc_ice import RestartableIce
from streaming.rtc_ports import Ports, PortsConnection, add_relay, ports_of


def free_range(count: int) -> Ports:
    """Of ports that nobody has now."""
    for low in range(41_000, 60_000, count):
        opened = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
        try:
            for number, each in enumerate(opened):
                each.bind(("", low + number))
            return Ports(low, low + count - 1)
        except OSError:
            continue
        finally:
            for each in opened:
                each.close()
    raise AssertionError("no range is free")


def test_every_host_candidate_is_within_the_range() -> None:
    """Before and after ICE begins anew, for as many connections as the range has room for."""
    ports = free_range(8)

    async def run() -> None:
        connections = [RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2)]
        ices, sessions = [], []
        for connection in connections:
            connection.addTransceiver("video", "sendonly")
            ices.append(RestartableIce(connection, ports))
            await connection.setLocalDescription(await connection.createOffer())
            assert f"a=ice-ufrag:{ices[-1].local_username}\r\n" in connection.localDescription.sdp
        sessions.append(await ices[0].begin())
        hosts = [each for ice in ices for each in ice.local_candidates if each.type == "host"]
        assert hosts
        assert all(ports.low <= each.port <= ports.high for each in hosts)
        assert len({(each.host, each.port) for each in hosts}) == len(hosts)
        again = [line.split(" ") for line in sessions[0].candidates]
        assert again
        assert all(ports.low <= int(words[5]) <= ports.high for words in again)
        for ice, connection in zip(ices, connections):
            await ice.close()
            await connection.close()

    asyncio.run(run())


def test_two_connections_within_a_range_find_each_other() -> None:
    """What leaves comes from these ports."""
    ports = free_range(8)

    async def run() -> None:
        ends = [PortsConnection(ice_controlling=first) for first in (True, False)]
        for end in ends:
            end.ports = ports
            await end.gather_candidates()
        for end, other in zip(ends, reversed(ends)):
            for each in other.local_candidates:
                await end.add_remote_candidate(each)
            await end.add_remote_candidate(None)
            end.remote_username, end.remote_password = other.local_username, other.local_password
        await asyncio.gather(*(end.connect() for end in ends))
        await ends[0].send(b"hello")
        assert await ends[1].recv() == b"hello"
        await asyncio.gather(*(end.close() for end in ends))

    asyncio.run(run())


def test_a_full_range_leaves_no_candidate_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """The connection then has what its relays give, or fails in its own time."""
    ports = free_range(1)

    async def run() -> None:
        first, second = PortsConnection(ice_controlling=True), PortsConnection(ice_controlling=True)
        for each in (first, second):
            each.ports = ports
            await each.gather_candidates()
        assert first.local_candidates
        assert second.local_candidates == []
        await asyncio.gather(first.close(), second.close())

    asyncio.run(run())
    assert f"within ports {ports.low}-{ports.low}" in caplog.text


@pytest.mark.parametrize(
    "text", ["", "50000", "50000-", "-5", "2-1", "80-90", "60000-70000", "1e4-2e4", "5000-4000"]
)
def test_a_range_that_is_none_is_refused(text: str) -> None:
    """Before anything starts, with what was expected."""
    with pytest.raises(ConfigError, match="udp_ports"):
        ports_of(text)


def test_a_stun_server_is_asked_from_within_the_range() -> None:
    """So that the address it sees is one that the firewall lets in."""
    ports = free_range(4)

    seen: list[tuple[str, int]] = []

    class Stun(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
            asked = stun.parse_message(data)
            answer = stun.Message(asked.message_method, stun.Class.RESPONSE, asked.transaction_id)
            answer.attributes["XOR-MAPPED-ADDRESS"] = ("192.0.2.1", 4567)
            seen.append(address)
            self.transport.sendto(bytes(answer), address)

    async def run() -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Stun, local_addr=("0.0.0.0", 0)
        )
        server = ("127.0.0.1", transport.get_extra_info("sockname")[1])
        made = PortsConnection(ice_controlling=True, stun_server=server, use_ipv6=False)
        made.ports = ports
        await made.gather_candidates()
        (reflexive,) = {(each.host, each.port) for each in made.local_candidates if each.type == "srflx"}
        assert reflexive == ("192.0.2.1", 4567)
        assert all(ports.low <= port <= ports.high for _, port in seen)
        await made.close()
        transport.close()

    asyncio.run(run())


def test_a_relay_that_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes on without it."""
    from streaming import rtc_ports

    monkeypatch.setattr(rtc_ports, "RELAY_S", 0.2)

    async def run() -> None:
        made = aioice.Connection(ice_controlling=True)
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        silent.bind(("127.0.0.1", 0))
        url = f"turn:127.0.0.1:{silent.getsockname()[1]}?transport=udp"
        assert not await add_relay(made, RTCIceServer(url, username="a", credential="b"))
        closed = RTCIceServer("turn:127.0.0.1:1?transport=tcp", username="a", credential="b")
        assert not await add_relay(made, closed)
        assert not await add_relay(made, RTCIceServer("stun:127.0.0.1:1"))
        assert made.local_candidates == []
        silent.close()
        await made.close()

    asyncio.run(run())
