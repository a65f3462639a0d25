"""A UDP relay between two ends of a call that impairs what passes, in both directions, by seeds.

Each end is told that the other one is at the relay: `through` puts the relay's address in place of every candidate of a
description. ICE then finds no other way.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from typing import Any, Self

import aioice.ice

from tests.streaming.impairment.lane import Impairment, Lane

Address = tuple[str, int]
_HEADERS = 28  # of IPv4 and UDP


def own_address() -> str:
    """This machine's first address, which both ends can be reached at."""
    return aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=False)[0]


def through(sdp: str, address: Address) -> str:
    """A description whose only candidate is `address`."""
    host, port = address
    lines = [line for line in sdp.splitlines() if not re.match(r"a=(candidate:|end-of-candidates)", line)]
    candidate = f"a=candidate:1 1 udp 2130706431 {host} {port} typ host"
    made: list[str] = []
    for line in lines:
        made.append(line)
        if line.startswith("a=ice-pwd:"):
            made += [candidate, "a=end-of-candidates"]
    return "\r\n".join(made) + "\r\n"


def candidate_of(sdp: str) -> Address:
    """Where an end is: its first UDP candidate with an IPv4 address."""
    for found in re.finditer(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", sdp, re.M | re.I):
        if re.fullmatch(r"[\d.]+", found[1]):
            return found[1], int(found[2])
    raise ValueError("description: got no host candidate, expected one after gathering")


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, came: Any) -> None:
        self._came = came

    def datagram_received(self, data: bytes, address: Address) -> None:
        self._came(data, address)


class Relay:
    """Between a client, which sees it at `for_client`, and a server, which sees it at `for_server`.

    up, down: schedules of the two directions, as Lane has them; their time begins with `begin`. An async context.
    """

    def __init__(
        self,
        up: Sequence[tuple[float, Impairment]],
        down: Sequence[tuple[float, Impairment]],
        seed: int = 0,
    ) -> None:
        self._up, self._down = Lane(up, 2 * seed), Lane(down, 2 * seed + 1)
        self._client: Address | None = None
        self._server: Address | None = None
        self.carried: dict[str, list[tuple[float, int]]] = {"up": [], "down": []}
        """(seconds since `begin`, bytes with their headers) of what came out."""
        self.fell = {"up": 0, "down": 0}

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._begun_s = self._loop.time()
        self._near = await self._open(self._from_client)
        self._far = await self._open(self._from_server)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._near.close()
        self._far.close()

    async def _open(self, came: Any) -> asyncio.DatagramTransport:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        opened.bind((own_address(), 0))
        transport, _ = await self._loop.create_datagram_endpoint(lambda: _Socket(came), sock=opened)
        return transport

    @property
    def for_client(self) -> Address:
        return self._near.get_extra_info("sockname")

    @property
    def for_server(self) -> Address:
        return self._far.get_extra_info("sockname")

    def lead_to(self, server: Address, client: Address | None = None) -> None:
        """What the client sends goes to `server` from now on, and what that sends to `client`, or to where the client
        was heard from last."""
        self._server = server
        self._client = client or self._client

    def begin(self) -> None:
        """The schedules' time is 0 now."""
        self._begun_s = self._up.begun_s = self._down.begun_s = self._loop.time()
        for carried in self.carried.values():
            carried.clear()

    @property
    def now_s(self) -> float:
        return self._loop.time() - self._begun_s

    def rate(self, direction: str, since: float, until: float) -> float:
        """Bits per second that came out."""
        return 8 * sum(size for at, size in self.carried[direction] if since <= at < until) / (until - since)

    def _from_client(self, data: bytes, address: Address) -> None:
        self._client = address
        self._pass("up", self._up, data, self._far, lambda: self._server)

    def _from_server(self, data: bytes, address: Address) -> None:
        self._pass("down", self._down, data, self._near, lambda: self._client)

    def _pass(self, name: str, lane: Lane, data: bytes, out: asyncio.DatagramTransport, to: Any) -> None:
        now = self._loop.time()
        size = len(data) + _HEADERS
        leaves = lane.carry(now, size)
        if leaves is None:
            self.fell[name] += 1
            return

        def send() -> None:
            address = to()
            if address is not None and not out.is_closing():
                self.carried[name].append((self.now_s, size))
                out.sendto(data, address)

        if leaves <= now:
            send()
        else:
            self._loop.call_at(leaves, send)
