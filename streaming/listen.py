"""The sockets: bound with clear words, and served so that not even a broken request is told what runs here.

Connections are bounded. One that keeps a place without asking for anything is closed when somebody else comes, so that
nobody closes the port to the others by holding it open.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict, CIMultiDictProxy

from engine.errors import ConfigError
from streaming.health import SIGN

_MOST_CONNECTIONS: Final = 256
_IDLE_S: Final = 30.0  # between two requests
_HEAD_S: Final = 5.0  # until a head is whole, from the connection on or from its first byte
_PROBE_S: Final = 2.0
_UNLOGGED: Any = None  # the printed address has the token in it
_LINGER_S: Final = 5.0  # in which a body that was refused may be sent, so that the answer is read


class PortTakenError(ConfigError):
    """Something else listens there."""


class RunningError(PortTakenError):
    """Marotte itself listens there."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. port 0 takes a free one. Raises PortTakenError, or ConfigError for another reason."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"host: {host!r} cannot be found ({error}); expected a name or address of this machine"
        ) from error
    try:
        if os.name == "posix":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        opened.bind(address)
        opened.listen(128)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise _refused(error, host, port) from error
    return opened


def _refused(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)):
        if _is_ours(host, port):
            return RunningError(
                f"port: {port} is in use, for Marotte is already running there; open the address it printed, or take "
                "another port with --port"
            )
        return PortTakenError(
            f"port: {port} is taken by another program; stop that one, or choose another port with --port "
            "(0 takes a free one)"
        )
    if error.errno in (errno.EACCES, getattr(errno, "WSAEACCES", errno.EACCES)):
        return ConfigError(
            f"port: {port} may not be opened by this user; choose one from 1024 on with --port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(
            f"host: {host} is no address of this machine; expected 127.0.0.1, 0.0.0.0 or one of its own"
        )
    return ConfigError(
        f"port: {port} on {host} cannot be opened ({error.strerror}); choose another with --port"
    )


def _is_ours(host: str, port: int) -> bool:
    """Whether Marotte's own words come from there. Blocks for a moment."""
    local = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
    connection = http.client.HTTPConnection(local.get(host, host), port, timeout=_PROBE_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().read(len(SIGN)) == SIGN.encode()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class _Places:
    """The connections of one socket, and which of them wait for a head: oldest first."""

    def __init__(self) -> None:
        self.taken: set[_Connection] = set()
        self.waiting: dict[_Connection, None] = {}

    def free(self) -> bool:
        """Whether one more may come in; where all are taken, one that waits for a head is closed for it, and first
        one that has never sent any."""
        if len(self.taken) < _MOST_CONNECTIONS:
            return True
        idle = next((one for one in self.waiting if not one.asked), next(iter(self.waiting), None))
        if idle is None:
            return False
        idle.give_up()
        return True


class _Connection(web.RequestHandler):
    """One client's connection. What cannot be read as HTTP never reaches the application's middleware."""

    __slots__ = ("_made", "_places", "_timer", "asked")

    def __init__(self, places: _Places, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._places = places
        self._timer: asyncio.TimerHandle | None = None
        self._made = False
        self.asked = False
        """Whether a whole head ever came."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._places.free():
            transport.close()
            return
        self._made = True
        self._places.taken.add(self)
        self._places.waiting[self] = None
        self._start_timer()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._leave()
        if self._made:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages:  # a head is whole, or can never be
            self.asked = True
            self._places.waiting.pop(self, None)
            self._stop_timer()
        elif self in self._places.waiting and self._timer is None:
            self._start_timer()

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            if self in self._places.taken and not self._messages:
                self._places.waiting[self] = None

    def give_up(self) -> None:
        """Close it, whatever it is at."""
        self._leave()
        self.force_close()

    def _leave(self) -> None:
        self._stop_timer()
        self._places.taken.discard(self)
        self._places.waiting.pop(self, None)

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_HEAD_S, self.give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        response = web.Response(status=status, text=f"{status}: the request could not be read\n")
        response.headers[hdrs.SERVER] = ""  # else the library's name and version stand there
        response.force_close()
        return response


def _without_expect(make: Callable[..., BaseRequest]) -> Callable[..., BaseRequest]:
    """Else aiohttp answers `Expect` before any middleware is asked; in `raw_headers` the doors still find it."""

    def request_of(message: RawRequestMessage, *others: Any) -> BaseRequest:
        if hdrs.EXPECT not in message.headers:
            return make(message, *others)
        headers = CIMultiDict(message.headers)
        del headers[hdrs.EXPECT]
        return make(message._replace(headers=CIMultiDictProxy(headers)), *others)

    return request_of


@asynccontextmanager
async def listening(app: web.Application, opened: socket.socket) -> AsyncIterator[None]:
    """Serve `app` on a bound socket; afterwards the socket is closed and the application shut down."""
    runner = web.AppRunner(
        app, handle_signals=False, access_log=_UNLOGGED, keepalive_timeout=_IDLE_S, shutdown_timeout=1.0
    )
    await runner.setup()
    manager = runner.server
    if manager is None:
        raise RuntimeError("the runner has no server after its setup")
    loop = asyncio.get_running_loop()

    manager.request_factory = _without_expect(manager.request_factory)
    places = _Places()

    def connection() -> asyncio.Protocol:
        return _Connection(
            places,
            manager,
            loop=loop,
            access_log=_UNLOGGED,
            keepalive_timeout=_IDLE_S,
            lingering_time=_LINGER_S,
            auto_decompress=False,
        )

    server = await loop.create_server(connection, sock=opened)
    try:
        yield
    finally:
        server.close()
        await runner.cleanup()
