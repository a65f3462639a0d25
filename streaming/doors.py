"""Who is let in, and with how much: every request passes here before anything else looks at it.

Checked in this order: the Host that was asked for, the page that asks (Origin, Sec-Fetch-Site), the token. What
fails gets a status and one line.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote, urlsplit

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from engine.errors import BackendError, InputError, MarotteError, TooLargeError
from streaming.measured import Recorder
from streaming.once import OneTimeCode, is_anothers

_log = logging.getLogger("marotte.doors")

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
EVERY_ADDRESS: Final = ("", "0.0.0.0", "::")
"""Hosts to be bound to that are no address to be opened."""
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""What a supervisor asks without a token."""

_FORM_OVERHEAD: Final = 16 << 10  # heads and edges of the parts

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
        "connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=(), serial=(), hid=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RefusedError(Exception):
    """A request that gets a status and one line. reason: as Recorder.refused counts it."""

    def __init__(
        self, status: int, kind: str, message: str, reason: str = "request", wait_s: int = 0
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.reason, self.wait_s = status, kind, reason, wait_s


def busy(message: str, wait_s: int = 1) -> RefusedError:
    """429: try again later."""
    return RefusedError(429, "BusyError", message, "busy", wait_s)


class Allowance:
    """Tries per address: `burst` at once, then one every `every_s` seconds. Not for several threads.

    At most `most` addresses are remembered; an IPv6 network of 64 bits counts as one.
    """

    def __init__(
        self, burst: int, every_s: float, most: int = 1024, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._every_s, self._most, self._clock = burst, every_s, most, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def used_up(self, address: str | None) -> bool:
        """Whether the next try comes too early."""
        ahead_s = self._full_at.get(_network(address), 0.0) - self._clock()
        return ahead_s > (self._burst - 1) * self._every_s

    def take(self, address: str | None) -> bool:
        """Count a try; False when it came too early, and then it costs nothing."""
        if self.used_up(address):
            return False
        key, now = _network(address), self._clock()
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._every_s
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return True


def _network(address: str | None) -> str:
    plain = _plain(address or "")
    if ":" not in plain:
        return plain
    try:
        return str(ipaddress.ip_network((int(ipaddress.IPv6Address(plain)) >> 64 << 64, 64)))
    except ValueError:
        return plain


def in_url(name: str) -> str:
    """A host as it stands in an address: figures of IPv6 in brackets."""
    return f"[{name.lower()}]" if name.count(":") > 1 and "[" not in name else name.lower()


def _plain(address: str) -> str:
    """An IPv4 address as such, also where a socket for both kinds writes it as one of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str((parsed.version == 6 and parsed.ipv4_mapped) or parsed)


class Doors:
    """The checks of one port. token: None lets in without (the metrics' own port). hosts: further names, each alone
    (on this port, or behind a proxy on the usual ones) or with a port of its own. bound: what the port is bound to.
    once: the code that a browser of this machine's user may come with instead of the token."""

    def __init__(
        self,
        token: str | None,
        port: int,
        recorder: Recorder,
        *,
        hosts: Iterable[str] = (),
        bound: str = LOOPBACK_NAMES[0],
        once: OneTimeCode | None = None,
    ) -> None:
        self._key = None if token is None else quote(token, safe="").encode()
        self._token = b"" if token is None else token.encode()
        self._port, self._once = port, once
        self._cookie = f"marotte-{port}"
        self._recorder = recorder
        self._wrong = Allowance(20, 1.0)
        self._hosts: set[str] = set()
        for name in LOOPBACK_NAMES if bound in EVERY_ADDRESS else (*LOOPBACK_NAMES, in_url(bound)):
            self._hosts |= {f"{name}:{port}", name} if port == 80 else {f"{name}:{port}"}
        for name in map(in_url, hosts):
            self._hosts |= {name} if _has_port(name) else {name, f"{name}:{port}"}

    @property
    def middleware(self) -> Middleware:
        """For an application's list; it turns every error into its answer."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                self._check_host(request)
                self._check_page(request)
                return self._enter(request) or await _expected(request, handler)
            except RefusedError as error:
                self._recorder.refused(error.reason)
                return answer(request, error.status, error.kind, str(error), error.wait_s)
            except web.HTTPException as error:
                if error.status < 400:
                    raise
                return answer(request, error.status, "RequestError", error.reason)
            except MarotteError as error:
                return answer(request, status_of(error), type(error).__name__, str(error))
            except Exception:
                _log.exception("%s %s failed", request.method, request.path)
                return answer(
                    request, 500, "ServerError", "something failed here; the server's log says what"
                )

        return guard

    def _check_host(self, request: web.Request) -> None:
        named = [name.lower() for name in request.headers.getall(hdrs.HOST, [])]
        if len(named) != 1 or not (named[0] in self._hosts or self._own_address(request, named[0])):
            raise RefusedError(
                403, "HostError", "this server is not known by that name; --host-name allows another", "host"
            )

    def _own_address(self, request: web.Request, named: str) -> bool:
        """An address in figures cannot be rebound: it may be named where it is the one that was connected to."""
        own = request.transport.get_extra_info("sockname") if request.transport else None
        if not own:
            return False
        address = _plain(own[0])
        address = f"[{address}]" if ":" in address else address
        return named == f"{address}:{self._port}" or (self._port == 80 and named == address)

    def _check_page(self, request: web.Request) -> None:
        origins = request.headers.getall(hdrs.ORIGIN, [])
        host = request.headers[hdrs.HOST].lower()
        foreign = any(origin.lower() not in (f"http://{host}", f"https://{host}") for origin in origins)
        if foreign or request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise RefusedError(
                403,
                "OriginError",
                "only this server's own page may ask; type or paste its address, links elsewhere do not open it",
                "origin",
            )

    def _enter(self, request: web.Request) -> web.Response | None:
        """None for who may go on; for an address with the token, or a code, a cookie instead of it."""
        if self._key is None or request.path in OPEN_PATHS:
            return None
        first = request.path == "/" and request.method == "GET"
        if first and "token" in request.query:
            self._check_token(request, request.query["token"], self._token)
            return self._let_in(self._key)
        if first and "code" in request.query and self._takes_code(request):
            return self._let_in(self._key)
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer":
            self._check_token(request, given.strip(), self._token)
        elif (kept := request.cookies.get(self._cookie)) is not None:
            self._check_token(request, kept, self._key)
        else:
            raise _no_token()
        return None

    def _let_in(self, key: bytes) -> web.Response:
        response = web.Response(status=303, headers={hdrs.LOCATION: "/", hdrs.CACHE_CONTROL: "no-store"})
        response.set_cookie(self._cookie, key.decode(), path="/", httponly=True, samesite="Strict")
        return response

    def _takes_code(self, request: web.Request) -> bool:
        """Another user of this machine, who has read it from the browser's command line, leaves it as it was."""
        peer = request.transport.get_extra_info("peername") if request.transport else None
        if self._once is None or not peer or is_anothers(_plain(peer[0]), peer[1], self._port):
            return False
        return self._once.take(request.query["code"])

    def _check_token(self, request: web.Request, given: str, expected: bytes) -> None:
        # The right one always enters: others at its address (a proxy's, a tunnel's) must not lock its owner out.
        if hmac.compare_digest(given.encode(errors="surrogateescape"), expected):
            return
        if not self._wrong.take(request.remote):
            raise busy("too many wrong tokens came from this address; wait a little", wait_s=5)
        raise _no_token()


def _expects(request: web.Request) -> set[bytes]:
    """What its Expect headers say; the library is kept from answering them by itself (streaming/listen.py)."""
    return {value.strip().lower() for name, value in request.raw_headers if name.lower() == b"expect"}


async def _expected(request: web.Request, handler: Handler) -> web.StreamResponse:
    if not _expects(request) <= {b"100-continue"}:
        raise RefusedError(417, "RequestError", "only 100-continue can be expected here")
    return await handler(request)


def _no_token() -> RefusedError:
    return RefusedError(401, "TokenError", "open the address that marotte printed, with its token", "token")


def _has_port(name: str) -> bool:
    return urlsplit(f"//{name}").netloc.rpartition("]")[2].count(":") == 1


def status_of(error: MarotteError) -> int:
    """The status of an error where the route says nothing closer."""
    if isinstance(error, TooLargeError):
        return 413
    if isinstance(error, InputError):
        return 400
    return 500 if isinstance(error, BackendError) else 503


def answer(request: web.Request, status: int, kind: str, message: str, wait_s: int = 0) -> web.Response:
    """An error as JSON for the API, as one line elsewhere."""
    headers = {hdrs.RETRY_AFTER: str(wait_s)} if wait_s else {}
    if request.path.startswith("/api/"):
        body = {"error": {"kind": kind, "message": message}}
        return web.json_response(body, status=status, headers=headers)
    return web.Response(status=status, text=f"{status}: {message}\n", headers=headers)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For an application's on_response_prepare: what every answer carries, and no version."""
    response.headers.update(HEADERS)
    response.headers.pop(hdrs.SERVER, None)
    if request.path.startswith("/static/") or request.path == "/":
        response.headers.setdefault(hdrs.CACHE_CONTROL, "no-cache")
    else:
        response.headers[hdrs.CACHE_CONTROL] = "no-store"


async def go_ahead(request: web.Request) -> None:
    """Tell who waits for it that the body may come."""
    if _expects(request) and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # nothing of the answer was sent yet


async def read_body(request: web.Request, most: int, within_s: float, what: str) -> bytes:
    """The whole body, at most `most` bytes of it, stated or not. Raises RefusedError for more, and for a slow one."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise RefusedError(400, "RequestError", f"{what}: a packed body is not read; send it as it is")
    too_large = RefusedError(413, "TooLargeError", f"{what}: at most {most} bytes are read", "size")
    if (request.content_length or 0) > most:
        raise too_large
    parts: list[bytes] = []
    count = 0
    try:
        async with asyncio.timeout(within_s):
            await go_ahead(request)
            async for part in request.content.iter_any():
                count += len(part)
                if count > most:
                    raise too_large
                parts.append(part)
    except TimeoutError as error:
        raise RefusedError(408, "RequestError", f"{what}: it did not come within {within_s:g} s") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise RefusedError(400, "RequestError", f"{what}: it broke off") from error
    return b"".join(parts)


def is_form(request: web.Request) -> bool:
    """Whether files come as parts of a form."""
    return request.headers.get(hdrs.CONTENT_TYPE, "").lower().startswith("multipart/form-data")


BROKEN_FORM: Final = (
    web.RequestPayloadError,
    HttpProcessingError,
    ConnectionError,
    ValueError,
    AssertionError,
)
"""What reading one raises that breaks off, or is none; the second one for the head of a part."""


def check_form(request: web.Request, most: int, what: str) -> None:
    """Before a form is read: that it is one, and of at most `most` bytes of files. Raises RefusedError."""
    if not is_form(request):
        raise RefusedError(400, "RequestError", f"{what}: expected multipart/form-data")
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise RefusedError(400, "RequestError", f"{what}: a packed body is not read; send it as it is")
    if request.content_length is None:
        raise RefusedError(411, "RequestError", f"{what}: expected a Content-Length")
    if request.content_length > most + _FORM_OVERHEAD:
        raise RefusedError(
            413, "TooLargeError", f"{what}: at most {most >> 20} MB are taken; send less", "size"
        )
