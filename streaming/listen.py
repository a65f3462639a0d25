"""The sockets: bound with clear words, and served so that not even a broken request is told what runs here."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.web_request import BaseRequest

from engine.errors import ConfigError

_MOST_CONNECTIONS: Final = 256
_IDLE_S: Final = 30.0  # also for one that never sends a whole head
_UNLOGGED: Any = None  # the printed address has the token in it
_LINGER_S: Final = 5.0  # in which a body that was refused may be sent, so that the answer is read


class PortTakenError(ConfigError):
    """Something else listens there."""


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


class _Connection(web.RequestHandler):
    """One client's connection. What cannot be read as HTTP never reaches the application's middleware."""

    __slots__ = ("_others",)

    def __init__(self, others: set[_Connection], manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._others = others

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self._others) >= _MOST_CONNECTIONS:
            transport.close()
            return
        self._others.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self in self._others:
            self._others.remove(self)
            super().connection_lost(exc)

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

    others: set[_Connection] = set()

    def connection() -> asyncio.Protocol:
        return _Connection(
            others,
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
