"""The HTTP half of a WHIP or WHEP client: an offer posted, its answer read, the resource ended.

Everything that the other server says is bounded: 5 redirects, 64 KiB of answer, 15 s in all. The token goes to the
origin of the address that the operator gave, and to no other.
"""

from __future__ import annotations

import email.utils
import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin

import aiohttp
from aiohttp import hdrs
from aiortc import RTCIceServer

from engine.errors import ConfigError
from streaming import candidates
from streaming.hosts import is_this_machine
from streaming.remote.linked import ice_servers_of
from streaming.remote.places import Place, SplitAddress, checked
from streaming.remote.reach import Known, found, is_public
from streaming.transport import LostError

MOST_REDIRECTS: Final = 5
MOST_WAIT_S: Final = 3600.0
WITHIN_S: Final = 15.0

_CONNECT_S: Final = 5.0
_END_S: Final = 2.0
_SDP: Final = "application/sdp"
_MOST_WORDS: Final = 120
_ENDED: Final = frozenset({200, 202, 204, 404, 410})


@dataclass(frozen=True, slots=True)
class Created:
    """What a POST made. location: where it is ended. public: whether it was answered from an address that everybody on
    the net can reach. servers: those that its Link headers name."""

    location: str
    answer: str
    public: bool
    servers: tuple[RTCIceServer, ...] = ()


async def post(place: Place, offer: str, *, insecure: bool) -> Created:
    """Post an offer. insecure: plain http may leave this machine. Raises LostError."""
    url, near, token = place.url, place.near, place.token
    own = checked(url).origin
    for _ in range(MOST_REDIRECTS + 1):
        at = _address(url, insecure)
        addresses = await found(at.host, at.port, near=near)
        public = all(map(is_public, addresses))
        headers: dict[str, str] = {hdrs.CONTENT_TYPE: _SDP, hdrs.ACCEPT: _SDP}
        if at.origin == own:
            headers |= _bearer(token)
        async with _asked("POST", url, at, addresses, headers, offer.encode()) as response:
            if response.status in (307, 308):
                url = _led_on(url, response)
                near = near and not public
                continue
            if response.status != 201:
                raise await _refused(response, at, place, at.origin == own)
            answer = await _answer(response, at)
            location = _location(url, response, at)
            links = response.headers.getall(hdrs.LINK, [])
            return Created(location, answer, public, ice_servers_of(links))
    raise LostError("answer", f"{checked(place.url).hostname}: more than {MOST_REDIRECTS} redirects")


async def end(place: Place, created: Created, *, insecure: bool) -> bool:
    """Delete what was made; whether the other server has said that it is gone. Never raises: it notices by itself too,
    only later."""
    try:
        at = _address(created.location, insecure)
        addresses = await found(at.host, at.port, near=place.near and not created.public)
        headers = _bearer(place.token) if at.origin == checked(place.url).origin else {}
        async with _asked("DELETE", created.location, at, addresses, headers, None, _END_S) as response:
            return response.status in _ENDED
    except LostError:
        return False


def _bearer(token: str) -> dict[str, str]:
    return {hdrs.AUTHORIZATION: f"Bearer {token}"} if token else {}


def _address(url: str, insecure: bool) -> SplitAddress:
    try:
        at = checked(url)
    except ConfigError as error:
        raise LostError("answer", f"the other server leads to where nothing can be: {error}") from error
    if at.scheme == "http" and not insecure and not is_this_machine(at.host):
        raise LostError(
            "refused",
            f"{at.hostname}: plain http would show the token and the way to everybody in between; expected https, or "
            "--remote-insecure",
            again=False,
        )
    return at


@asynccontextmanager
async def _asked(
    method: str,
    url: str,
    at: SplitAddress,
    addresses: list[str],
    headers: dict[str, str],
    body: bytes | None,
    within_s: float = 0.0,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """One request on a connection of its own, which follows nothing and keeps nothing. within_s: 0 for WITHIN_S."""
    within_s = within_s or WITHIN_S
    connector = aiohttp.TCPConnector(
        resolver=Known(at.host, addresses), force_close=True, use_dns_cache=False
    )
    timeout = aiohttp.ClientTimeout(total=within_s, sock_connect=min(_CONNECT_S, within_s))
    headers = headers | {hdrs.ACCEPT_ENCODING: "identity", hdrs.USER_AGENT: "marotte"}
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            ) as client,
            client.request(method, url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            yield response
    except TimeoutError as error:
        raise LostError("unreachable", f"{at.hostname}: no answer within {within_s:g} s") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise LostError("unreachable", f"{at.hostname}: its certificate is not one to trust") from error
    except aiohttp.ClientSSLError as error:
        raise LostError("unreachable", f"{at.hostname}: no TLS can be had with it") from error
    except aiohttp.ClientConnectorError as error:
        why = error.os_error.strerror or "no connection"
        raise LostError("unreachable", f"{at.hostname}:{at.port}: {why}") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise LostError(
            "answer", f"{at.hostname}: its answer cannot be read ({type(error).__name__})"
        ) from error


def _led_on(url: str, response: aiohttp.ClientResponse) -> str:
    """Where a redirect leads. From https to http none does."""
    target = _joined(url, response.headers.get(hdrs.LOCATION))
    if target is None:
        raise LostError("answer", f"{checked(url).hostname}: a redirect to nowhere")
    if url.startswith("https:") and not target.startswith("https:"):
        raise LostError("answer", f"{checked(url).hostname}: a redirect from https to http; expected https")
    return target


def _location(url: str, response: aiohttp.ClientResponse, at: SplitAddress) -> str:
    location = _joined(url, response.headers.get(hdrs.LOCATION))
    if location is None:
        raise LostError("answer", f"{at.hostname}: 201 without a Location, expected one as RFC 9725 has it")
    if url.startswith("https:") and not location.startswith("https:"):
        raise LostError("answer", f"{at.hostname}: it leads from https to http; expected https")
    return location


def _joined(url: str, location: str | None) -> str | None:
    if not location:
        return None
    try:
        target = urljoin(url, location)
        checked(target)
    except (ConfigError, ValueError):
        return None
    return target


async def _answer(response: aiohttp.ClientResponse, at: SplitAddress) -> str:
    if response.content_type != _SDP:
        raise LostError("answer", f"{at.hostname}: got {response.content_type[:60]}, expected {_SDP}")
    body = await _read(response, candidates.MOST_BYTES)
    if body is None:
        raise LostError(
            "answer", f"{at.hostname}: an answer of more than {candidates.MOST_BYTES} bytes, or a packed one"
        )
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise LostError("answer", f"{at.hostname}: its answer is no text in UTF-8") from error


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The whole body; None for one that is larger, or packed."""
    if response.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        return None
    if (response.content_length or 0) > most:
        return None
    parts, count = [], 0
    async for part in response.content.iter_any():
        count += len(part)
        if count > most:
            return None
        parts.append(part)
    return b"".join(parts)


_KINDS: Final[dict[int, tuple[str, str, bool]]] = {
    401: ("token", "it does not take the token", False),
    403: ("token", "the token is not for this", False),
    404: ("missing", "there is nothing at this address yet", True),
    406: ("refused", "it does not take the offer", False),
    409: ("taken", "the stream is somebody else's now, or our former connection's", True),
    429: ("busy", "too many are connected, or ask", True),
    503: ("busy", "it is full or away", True),
}


async def _refused(
    response: aiohttp.ClientResponse, at: SplitAddress, place: Place, with_token: bool
) -> LostError:
    status = response.status
    kind, why, again = _KINDS.get(status, ("refused", "it refuses the request", False))
    if status >= 500 and status not in _KINDS:
        kind, why, again = "server", "it fails", True
    if status in (301, 302, 303):
        why = "it redirects in a way that loses the offer; expected 307 or 308"
    if kind == "token" and place.token and not with_token:
        why = "it was redirected to, and the token goes to the first address alone; give this one itself"
    words = await _words(response, place.token)
    return LostError(
        kind,
        f"{at.hostname}: {why} ({status}{': ' + words if words else ''})",
        again=again,
        wait_s=_wait_s(response.headers.get(hdrs.RETRY_AFTER, "")),
    )


async def _words(response: aiohttp.ClientResponse, token: str) -> str:
    """The other server's own, in one short line without the token."""
    try:
        body = await _read(response, 4096)
    except (aiohttp.ClientError, TimeoutError):
        return ""
    text = (body or b"").decode(errors="replace")
    if response.content_type.endswith("json"):
        text = _detail(text)
    elif response.content_type != "text/plain":
        return ""
    if token:
        text = text.replace(token, "***")
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(line.split())[:_MOST_WORDS]


def _detail(text: str) -> str:
    try:
        told: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    for name in ("detail", "message", "error", "title"):
        if isinstance(told, dict) and isinstance(told.get(name), str):
            return str(told[name])
    return ""


def _wait_s(text: str) -> float:
    """Of a Retry-After, in seconds or as a date; 0 for none."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(MOST_WAIT_S, float(text[:9]))
    try:
        until = email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    wait_s = until - time.time()
    return min(MOST_WAIT_S, max(0.0, wait_s)) if math.isfinite(wait_s) else 0.0
