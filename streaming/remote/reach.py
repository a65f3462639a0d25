"""Which addresses this server connects to for a push or a pull.

Nobody's address leads to what is never a server: multicast, unspecified, reserved and link-local addresses (where
clouds keep their secrets). What lies near, this machine and private networks, is reached where the operator named it at
the start, or allowed the API to; and from a public server no redirect, candidate or relay leads there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from streaming.transport import LostError

_WITHIN_S: Final = 5.0
_TRANSLATED: Final = ipaddress.ip_network("64:ff9b::/96")  # an IPv4 address inside (RFC 6052)

_IPv4 = ipaddress.IPv4Address
_IPv6 = ipaddress.IPv6Address


def is_public(text: str) -> bool:
    """Whether an address in figures is one that everybody on the net can reach."""
    address = _plain(text)
    return address.is_global and not address.is_multicast


def is_near(text: str) -> bool:
    """Whether it is this machine's or of a private network."""
    address = _plain(text)
    never = address.is_multicast or address.is_unspecified or address.is_link_local or address.is_reserved
    return not is_public(text) and (address.is_loopback or not never)


def _plain(text: str) -> _IPv4 | _IPv6:
    """What carries an IPv4 address inside goes where that one goes."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, _IPv6):
        if address in _TRANSLATED:
            return _IPv4(address.packed[-4:])
        return address.ipv4_mapped or address.sixtofour or address
    return address


async def found(host: str, port: int, *, near: bool) -> list[str]:
    """The addresses of a host that may be connected to. near: as Place has it. Raises LostError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_WITHIN_S):
            rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise LostError("unreachable", f"{host[:80]}: its address cannot be found") from None
    addresses = list(dict.fromkeys(str(row[4][0]) for row in rows))
    allowed = [one for one in addresses if is_public(one) or (near and is_near(one))]
    if not allowed:
        raise LostError(
            "refused",
            f"{host[:80]}: it lies at {addresses[0]}, where no push or pull of this kind goes; --remote-near allows "
            "addresses of this machine and of private networks",
            again=False,
        )
    return allowed


class Known(AbstractResolver):
    """Gives one host's addresses that were looked at, and no other's: a name cannot mean another one meanwhile."""

    def __init__(self, host: str, addresses: Iterable[str]) -> None:
        self._host, self._addresses = host, tuple(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host.lower() != self._host:
            raise OSError(f"{host[:80]} was not looked at")
        return [_resolved(host, port, address) for address in self._addresses]

    async def close(self) -> None:
        """Nothing is held."""


def _resolved(host: str, port: int, address: str) -> ResolveResult:
    family: Any = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
    )
