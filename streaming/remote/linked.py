"""STUN and TURN servers as another server's Link headers name them (RFC 9725, 4.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from aiortc import RTCIceServer
from aiortc.rtcicetransport import parse_stun_turn_uri

from streaming.remote.reach import found
from streaming.transport import LostError

MOST_SERVERS: Final = 8
_MOST_HEADER: Final = 8192
_LINK: Final = re.compile(
    r'<([^<>"\s]{1,512})>((?:\s*;\s*[\w-]{1,40}\s*=\s*(?:"(?:[^"\\]|\\.){0,512}"|[^\s;,"]{0,512})){0,8})'
)
_PARAMETER: Final = re.compile(r';\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))')


def ice_servers_of(headers: Iterable[str]) -> tuple[RTCIceServer, ...]:
    """Those that can be used, at most MOST_SERVERS; what cannot be read is passed over."""
    found: list[RTCIceServer] = []
    for header in headers:
        for match in _LINK.finditer(header[:_MOST_HEADER]):
            parameters = {
                name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
                for name, quoted, plain in _PARAMETER.findall(match[2])
            }
            server = _server(match[1], parameters)
            if server is not None and len(found) < MOST_SERVERS:
                found.append(server)
    return tuple(found)


async def relays_of(servers: Iterable[RTCIceServer], *, near: bool) -> list[RTCIceServer]:
    """The TURN servers among them that may be connected to. near: as streaming.remote.reach.found has it. A name is
    looked up once, but for TLS, whose certificate says whether it was the one that was meant."""
    relays = []
    for server in servers:
        url = str(server.urls)
        if not url.startswith("turn"):
            continue
        parsed = parse_stun_turn_uri(url)
        try:
            (address, *_) = await found(parsed["host"], parsed["port"], near=near)
        except LostError:
            continue
        if parsed["scheme"] == "turn":
            at = f"[{address}]" if ":" in address else address
            url = f"turn:{at}:{parsed['port']}?transport={parsed['transport']}"
        relays.append(RTCIceServer(url, username=server.username, credential=server.credential))
    return relays


def _server(url: str, parameters: dict[str, str]) -> RTCIceServer | None:
    if "ice-server" not in parameters.get("rel", "").lower().split():
        return None
    if parameters.get("credential-type", "password").lower() != "password":
        return None
    try:
        port = parse_stun_turn_uri(url)["port"]
    except ValueError:
        return None
    if not 0 < port <= 65535:
        return None
    if not url.startswith("turn"):
        return RTCIceServer(url)
    name, password = parameters.get("username"), parameters.get("credential")
    return RTCIceServer(url, username=name, credential=password) if name and password else None
