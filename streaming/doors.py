"""Who is let in, and with how much: every request passes here before anything else looks at it.

Checked in this order: the Host that was asked for, the page that asks (Origin, Sec-Fetch-Site), the token and its scope
(streaming/routes.py), how often it was asked (streaming/rates.py). What fails gets a status and one line.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from engine.errors import BackendError, ConsentError, InputError, MarotteError, TooLargeError
from streaming.cors import SHARED_WITH, Origins, share
from streaming.entry import GRANT, Entry, follows_link, is_crossing
from streaming.measured import Recorder
from streaming.once import OneTimeCode
from streaming.rates import Allowances, Proxies, Rates, plain
from streaming.refusals import RefusedError as RefusedError
from streaming.refusals import busy as busy
from streaming.routes import ANY_TOKEN, Route, route_of
from streaming.tokens import OWN, Tokens, key_of

_log = logging.getLogger("marotte.doors")

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
EVERY_ADDRESS: Final = ("", "0.0.0.0", "::")
"""Hosts to be bound to that are no address to be opened."""
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""What a supervisor asks without a token."""

_PROBLEM: Final = "application/problem+json"
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
    "Permissions-Policy": (
        "camera=(self), microphone=(self), geolocation=(), display-capture=(), usb=(), serial=(), hid=()"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

COMPILES: Final = web.AppKey("compiles", bool)
"""Of an application whose page follows faces by itself."""
COMPILING: Final = {
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace(
        "script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'"
    )
}
"""The page's there: it may compile WebAssembly, and still evaluates no text."""


def in_url(name: str) -> str:
    """A host as it stands in an address: figures of IPv6 in brackets."""
    return f"[{name.lower()}]" if name.count(":") > 1 and "[" not in name else name.lower()


class Doors:
    """The checks of one port. token: None lets in without (the metrics' own port). hosts: further names, each alone
    (on this port, or behind a proxy on the usual ones) or with a port of its own. bound: what the port is bound to.
    once: the code that a browser of this machine's user may come with instead of the token. tokens: those that are
    signed; None: by the token itself. origins: pages of other sites that may ask with a token of their own. proxies:
    addresses whose X-Forwarded-For and -Proto are believed. opened: methods and paths that need no token, and are
    counted by address."""

    def __init__(
        self,
        token: str | None,
        port: int,
        recorder: Recorder,
        *,
        hosts: Iterable[str] = (),
        bound: str = LOOPBACK_NAMES[0],
        once: OneTimeCode | None = None,
        tokens: Tokens | None = None,
        origins: Iterable[str] = (),
        rates: Rates | None = None,
        proxies: Iterable[str] = (),
        opened: Collection[tuple[str, str]] = (),
    ) -> None:
        self._opened = frozenset(opened)
        self._port, self._recorder = port, recorder
        self._allowances = Allowances(rates or Rates())
        self._origins = Origins(origins)
        self._entry = None
        if token is not None:
            signed, trusted = tokens or Tokens(key_of(token)), Proxies(proxies)
            self._entry = Entry(token, port, signed, self._allowances.wrong, trusted, once)
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
                return self._pass(request) or await _expected(request, handler)
            except RefusedError as error:
                self._recorder.refused(error.reason)
                return answer(request, error.status, error.kind, str(error), error.wait_s, error.headers)
            except web.HTTPException as error:
                if error.status < 400:
                    raise
                allowed = {name: value for name, value in error.headers.items() if name == hdrs.ALLOW}
                return answer(request, error.status, "RequestError", error.reason, headers=allowed)
            except MarotteError as error:
                return answer(request, status_of(error), type(error).__name__, str(error))
            except Exception:
                _log.exception("%s %s failed", request.method, request.path)
                return answer(
                    request, 500, "ServerError", "something failed here; the server's log says what"
                )

        return guard

    def _pass(self, request: web.Request) -> web.Response | None:
        """None for who may go on to the route."""
        route = _route(request)
        self._check_host(request)
        if (answered := self._check_page(request, route)) is not None:
            return answered
        if self._entry is None or request.path in OPEN_PATHS:
            return None
        if self._is_opened(request, "GET", "POST"):
            self._count(request, route, self._entry, None)
            return None
        if (
            route.link
            and request.method == "GET"
            and (answered := self._entry.follow(request, route)) is not None
        ):
            return answered
        request[GRANT] = grant = self._entry.grant(request, route)
        self._count(request, route, self._entry, None if grant is OWN else grant.id)
        return None

    def _is_opened(self, request: web.Request, *methods: str) -> bool:
        method = "GET" if request.method == "HEAD" else request.method
        return method in methods and (method, request.path) in self._opened

    def _count(self, request: web.Request, route: Route, entry: Entry, whose: str | None) -> None:
        """Raises RefusedError for one more than the route's rate allows."""
        if not route.rate:
            return
        wait_s = self._allowances.take(route.rate, entry.address(request), whose)
        if wait_s > 0:
            raise busy("too many of these came; wait a little", wait_s=math.ceil(wait_s))

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
        address = plain(own[0])
        address = f"[{address}]" if ":" in address else address
        return named == f"{address}:{self._port}" or (self._port == 80 and named == address)

    def _check_page(self, request: web.Request, route: Route) -> web.Response | None:
        """An answer for the question whether another site may ask at all."""
        origins = request.headers.getall(hdrs.ORIGIN, [])
        host = request.headers[hdrs.HOST].lower()
        foreign = [
            origin for origin in origins if origin.lower() not in (f"http://{host}", f"https://{host}")
        ]
        if foreign and len(origins) == 1 and self._origins.allows(foreign[0]):
            request[SHARED_WITH] = foreign[0]
            if (answered := self._origins.preflight(request)) is not None:
                return answered
            if route.shared:
                return None
        elif not foreign and (
            not is_crossing(request) or follows_link(request, route) or self._is_opened(request, "GET")
        ):
            return None
        raise RefusedError(
            403,
            "OriginError",
            "only this server's own page may ask; type or paste its address, links elsewhere do not open it",
            "origin",
        )


def _route(request: web.Request) -> Route:
    """What the route asks for that a request goes to; one that goes nowhere is told so with any token."""
    info = request.match_info
    if info.http_exception is not None or info.route.resource is None:
        return ANY_TOKEN
    return route_of(request.method, info.route.resource.canonical)


def _expects(request: web.Request) -> set[bytes]:
    """What its Expect headers say; the library is kept from answering them by itself (streaming/listen.py)."""
    return {value.strip().lower() for name, value in request.raw_headers if name.lower() == b"expect"}


async def _expected(request: web.Request, handler: Handler) -> web.StreamResponse:
    if not _expects(request) <= {b"100-continue"}:
        raise RefusedError(417, "RequestError", "only 100-continue can be expected here")
    return await handler(request)


def _has_port(name: str) -> bool:
    return urlsplit(f"//{name}").netloc.rpartition("]")[2].count(":") == 1


def status_of(error: MarotteError) -> int:
    """The status of an error where the route says nothing closer."""
    if isinstance(error, TooLargeError):
        return 413
    if isinstance(error, ConsentError):
        return 403
    if isinstance(error, InputError):
        return 400
    return 500 if isinstance(error, BackendError) else 503


def answer(
    request: web.Request,
    status: int,
    kind: str,
    message: str,
    wait_s: int = 0,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An error as JSON for the API, as RFC 9457 has it for WHIP and WHEP, as one line elsewhere. headers: more."""
    told = dict(headers or {})
    if wait_s:
        told[hdrs.RETRY_AFTER] = str(wait_s)
    if status == 401:
        told[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if request.path.startswith("/api/"):
        body = {"error": {"kind": kind, "message": message}}
        return web.json_response(body, status=status, headers=told)
    if request.path.startswith(("/whip", "/whep")):
        problem = {"status": status, "title": kind, "detail": message}
        return web.json_response(problem, status=status, headers=told, content_type=_PROBLEM)
    return web.Response(status=status, text=f"{status}: {message}\n", headers=told)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For an application's on_response_prepare: what every answer carries, and no version."""
    response.headers.update(HEADERS)
    if request.path == "/" and request.app.get(COMPILES, False):
        response.headers.update(COMPILING)
    share(request, response)
    response.headers.pop(hdrs.SERVER, None)
    if request.path.startswith(("/static/", "/mediapipe/")) or request.path == "/":
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
