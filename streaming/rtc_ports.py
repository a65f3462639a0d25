"""ICE sockets within a range of ports, and relays of servers that are known late. Reaches into aioice, as
streaming/rtc_ice.py does.

aioice opens each socket at any free port of the system's. Here a connection of the same kind opens its own, so that a
firewall may let a range in and nothing else. A relay's socket goes out to its server from any port, as a client's does.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

import aioice
from aioice import ice, turn
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import RTCIceServer
from aiortc.rtcicetransport import RTCIceGatherer, connection_kwargs

from engine.errors import ConfigError

_log = logging.getLogger(__name__)

USED: Final[tuple[tuple[Any, str, str], ...]] = (
    (
        aioice.Connection,
        "get_component_candidates",
        "addresses component timeout create_datagram_endpoint _protocols local_candidate "
        "server_reflexive_candidate relayed_candidate stun_server turn_server",
    ),
    (aioice.Connection, "gather_candidates", "_local_candidates _components"),
    (aioice.Connection, "connect", "_remote_candidates _pair_remote_candidate"),
    (aioice.Connection, "_pair_remote_candidate", "_protocols local_candidate"),
    (ice, "relayed_candidate", "create_turn_endpoint protocol_factory hide_related_address local_candidate"),
    (ice, "server_reflexive_candidate", "protocol stun_server local_candidate"),
    (RTCIceGatherer, "__init__", "connection_kwargs Connection"),
)
"""For streaming.rtc.check_aiortc."""

LOWEST_PORT: Final = 1024
RELAY_S: Final = 3.0
"""So long a relay has to answer."""

_HOST: Final = "host"


@dataclass(frozen=True, slots=True)
class Ports:
    """UDP ports from `low` to `high`, both of them too. Each connection takes one on each address of this machine, and
    one more while ICE begins anew. Raises ConfigError."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not LOWEST_PORT <= self.low <= self.high <= 65535:
            raise ConfigError(
                f"udp_ports: got {self.low}-{self.high}, expected two of {LOWEST_PORT} .. 65535, the lower one first"
            )


def ports_of(text: str) -> Ports:
    """LOW-HIGH. Raises ConfigError."""
    low, dash, high = text.partition("-")
    if not (dash and all(part.isascii() and part.isdigit() and len(part) <= 5 for part in (low, high))):
        raise ConfigError(f"udp_ports: got {text[:40]!r}, expected LOW-HIGH, such as 50000-50100")
    return Ports(int(low), int(high))


class PortsConnection(aioice.Connection):
    """As aioice's, with host candidates within `ports`."""

    ports: Ports

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[aioice.Candidate]:
        """aioice gathers the relay, we the rest of it at the same time."""
        relayed = asyncio.ensure_future(super().get_component_candidates(component, [], timeout))
        try:
            hosts = [one for one in [await self._opened(component, each) for each in addresses] if one]
            self._protocols += hosts
            reflexive = await self._reflexive(hosts, timeout)
        except BaseException:
            relayed.cancel()
            raise
        return [protocol.local_candidate for protocol in hosts] + reflexive + await relayed

    async def _opened(self, component: int, address: str) -> Any:
        """A socket at an address, None where there is none to be had."""
        opened = _bound(address, self.ports)
        if opened is None:
            return None
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(lambda: ice.StunProtocol(self), sock=opened)
        host, port = opened.getsockname()[:2]
        protocol.local_candidate = aioice.Candidate(
            foundation=candidate_foundation(_HOST, "udp", host),
            component=component,
            transport="udp",
            priority=candidate_priority(component, _HOST),
            host=host,
            port=port,
            type=_HOST,
        )
        return protocol

    async def _reflexive(self, hosts: list[Any], timeout: int) -> list[aioice.Candidate]:
        server = self.stun_server
        asked = [
            asyncio.ensure_future(ice.server_reflexive_candidate(protocol, server))
            for protocol in hosts
            if server is not None and ip_address(protocol.local_candidate.host).version == 4
        ]
        if not asked:
            return []
        done, pending = await asyncio.wait(asked, timeout=timeout)
        for task in pending:
            task.cancel()
        return [task.result()[0] for task in done if not task.cancelled() and task.exception() is None]


def _bound(address: str, ports: Ports) -> socket.socket | None:
    """From anywhere in the range on: the next connection is not to wait for those before it to be tried."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.setblocking(False)
    count = ports.high - ports.low + 1
    first = random.randrange(count)
    for step in range(count):
        try:
            opened.bind((address, ports.low + (first + step) % count))
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, turn.UDP_SOCKET_BUFFER_SIZE)
            return opened
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                break
    opened.close()
    _log.warning("no socket at %s within ports %d-%d; are they all in use?", address, ports.low, ports.high)
    return None


async def add_relay(connection: Any, server: RTCIceServer) -> bool:
    """Have an aioice connection that has gathered, and not connected yet, use one relay more; whether it answered.

    The other side need not hear of it: what comes through a relay that it does not know is a candidate that it learns
    of by itself (RFC 8445, 7.3.1.3).
    """
    asked = connection_kwargs([server])
    if "turn_server" not in asked:
        return False
    try:
        async with asyncio.timeout(RELAY_S):
            candidate, protocol = await ice.relayed_candidate(
                component=1,
                hide_related_address=False,
                protocol_factory=lambda: ice.StunProtocol(connection),
                **asked,
            )
    except (OSError, TimeoutError, ConnectionError, aioice.stun.TransactionError):
        _log.info("a relay of the other server's did not answer")
        return False
    connection._protocols.append(protocol)
    connection._local_candidates.append(candidate)
    return True
