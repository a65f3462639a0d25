"""The one door of several servers: it lets in as a server does, and hands each request on to the server whose it is.

    a new session          the server with the most headroom, then the next one where that refuses
    a stream, a session    the server that has it
    sources, tokens, drain every server
    kill                   every server, by the file that all of them look at
    /metrics               all of them, each series with the server's number
    a file to be verified  this process, which has a process of its own for it
    everything else        any that runs

Media does not pass here: a server's answer names its own addresses.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import aiohttp
from aiohttp import hdrs, web

from streaming.config import ServeConfig
from streaming.doors import COMPILES, Doors, RefusedError, add_headers, read_body
from streaming.front.choosing import Told, ranked, together, told_by
from streaming.front.fleet import Fleet, Server
from streaming.health import SIGN
from streaming.kill import BY, KillSwitch, told, why_killed, why_of
from streaming.measured import NoRecorder
from streaming.routes import ROUTES
from streaming.series import CONTENT_TYPE
from streaming.tokens import Tokens, key_of
from streaming.uploads import MOST_TOGETHER
from streaming.verify_doors import OPENED, Verifying

_log = logging.getLogger("marotte.front")

LOOK_S: Final = 1.0
_ASK_S: Final = 30.0
_BODY_S: Final = 60.0
_MOST_OFFER: Final = 1 << 20
_MOST_PLACES: Final = 4096
_KILL: Final = "/api/v1/kill"
_VERIFY: Final = ("POST", "/api/v1/verify")
EVERYWHERE: Final = frozenset(
    {("POST", "/api/v1/sources"), ("DELETE", "/api/v1/tokens/{id}"), ("POST", "/api/v1/drain")}
)
"""What every server has to know."""
OPENING: Final = frozenset({("POST", "/whip"), ("POST", "/whip/{stream}")})
_PASSED_ON: Final = frozenset(
    {hdrs.CONTENT_TYPE, hdrs.CONTENT_ENCODING, hdrs.IF_MATCH, hdrs.IF_NONE_MATCH, hdrs.ACCEPT, hdrs.RANGE}
)
_GIVEN_BACK: Final = frozenset(
    {"content-type", "location", "etag", "link", "accept-patch", "accept-post", "allow", "retry-after",
     "cache-control", "last-modified", "www-authenticate", "content-range"}
)  # fmt: skip


class Front:
    """config: that of the whole, as a server's. token: of all of them. switch: the caller's, of the folder that the
    servers look at too."""

    def __init__(
        self, fleet: Fleet, config: ServeConfig, token: str, switch: KillSwitch | None = None
    ) -> None:
        self._fleet, self._token = fleet, token
        self._switch = switch or KillSwitch()
        self._cookies = f"marotte-{config.port}", f"marotte-{config.port}-guest"
        self._told: dict[int, Told] = {}
        self._places: OrderedDict[str, int] = OrderedDict()
        self._http: aiohttp.ClientSession
        self.draining = False
        self._compiles = config.mediapipe is not None
        self._doors = Doors(
            token,
            config.port,
            NoRecorder(),
            hosts=config.hosts,
            bound=config.host,
            tokens=Tokens(key_of(config.token_key or token)),
            origins=config.origins,
            rates=config.rates,
            proxies=config.proxies,
            opened=OPENED if config.open_verify else (),
        )
        self._verifying = Verifying()

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._doors.middleware])
        app[COMPILES] = self._compiles
        app.on_response_prepare.append(add_headers)
        app.cleanup_ctx.append(self._asking)
        app.add_routes([web.get("/healthz", self.alive), web.get("/readyz", self.ready)])
        own = {("GET", "/metrics"): self.metrics, _VERIFY: self._verifying.verify}
        for method, path in ROUTES:
            handler = own.get((method, path), self.hand_on)
            pattern = path.replace("{name}", "{name:.+}").replace("{number}", r"{number:\d}")
            app.router.add_route(method, pattern, handler)
        return app

    async def alive(self, request: web.Request) -> web.Response:
        return web.Response(text=f"{SIGN}ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        """200 while any of them takes sessions."""
        if self.draining:
            return web.Response(status=503, text="draining\n")
        if self._switch.killed:
            return web.Response(status=503, text="killed: the operator has stopped all output\n")
        answers = await asyncio.gather(*(self._line(server) for server in self._fleet.servers))
        status = 200 if any(status == 200 for status, _ in answers) else 503
        lines = [f"worker {number}: {text}" for number, (_, text) in enumerate(answers)]
        return web.Response(status=status, text="\n".join(lines) + "\n")

    async def metrics(self, request: web.Request) -> web.Response:
        texts = await asyncio.gather(*(self._metrics(server) for server in self._fleet.servers))
        told = together((number, text) for number, text in enumerate(texts) if text)
        return web.Response(body=told.encode(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})

    async def hand_on(self, request: web.Request) -> web.StreamResponse:
        """To whom it belongs."""
        resource = request.match_info.route.resource
        kind = request.method, resource.canonical if resource is not None else ""
        if kind[1] == _KILL and request.method in ("POST", "DELETE"):
            return await self._turn(request)
        most = MOST_TOGETHER + (1 << 20) if kind == ("POST", "/api/v1/sources") else _MOST_OFFER
        if kind in EVERYWHERE:
            body = await read_body(request, most, _BODY_S, "body")
            answers = await asyncio.gather(
                *(self._asked(server, request, body) for server in self._running())
            )
            return next((one for one in answers if one.status >= 400), answers[0])
        if kind in OPENING:
            return await self._open(request, await read_body(request, most, _BODY_S, "offer"))
        server = self._owner(request)
        if request.method == "POST" and kind[1].startswith(("/api/v1/labels", "/api/v1/enrolments")):
            most = MOST_TOGETHER
        body = await read_body(request, most, _BODY_S, "body") if request.body_exists else b""
        return await self._asked(server, request, body)

    async def _turn(self, request: web.Request) -> web.Response:
        """By this process's own switch first, whose file every server looks at, however busy it is; then each is asked,
        so that the answer comes when they have seen it."""
        if request.method == "POST":
            self._switch.hold()
            await asyncio.to_thread(self._switch.kill, why_killed(request.query), BY)
        else:
            why = why_of(request.query)
            await asyncio.to_thread(self._switch.release, why, BY)
        running = [server for server in self._fleet.servers if server.origin]
        answers = await asyncio.gather(
            *(self._asked(server, request, b"") for server in running), return_exceptions=True
        )
        silent = [one for one in answers if not isinstance(one, web.Response) or one.status != 200]
        return web.json_response(told(self._switch) | {"servers": len(running), "not_answered": len(silent)})

    async def _open(self, request: web.Request, body: bytes) -> web.Response:
        """By the one with the most headroom; one that refuses is no reason to refuse."""
        if self.draining:
            raise RefusedError(503, "BusyError", "this server is being stopped", "draining", wait_s=10)
        self._switch.check()
        stream = request.match_info.get("stream", "")
        owner = self._place(stream)
        numbers = (
            [owner.number]
            if owner is not None
            else ranked({one.number: self._of(one) for one in self._running()})
        )
        answer = None
        for number in numbers:
            server = self._fleet.servers[number]
            try:
                answer = await self._asked(server, request, body)
            except RefusedError as error:
                if number == numbers[-1] and answer is None:
                    raise error
                continue
            if answer.status == 201:
                told = self._of(server)
                self._told[number] = Told(told.left, told.sessions, told.given + 1)
                self._remember(answer.headers.get(hdrs.LOCATION, ""), number)
            if answer.status not in (429, 503):
                break
        if answer is None:
            raise _away()
        return answer

    async def _asked(self, server: Server, request: web.Request, body: bytes) -> web.Response:
        if not server.origin:
            raise _away()
        headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
        headers["X-Forwarded-For"] = ", ".join(
            [*request.headers.getall("X-Forwarded-For", []), request.remote or "127.0.0.1"]
        )
        headers[hdrs.AUTHORIZATION] = f"Bearer {self._bearer(request)}"
        try:
            async with self._http.request(
                request.method, f"{server.origin}{request.raw_path}", headers=headers, data=body or None,
                allow_redirects=False,
            ) as answer:  # fmt: skip
                told = [
                    (name, value) for name, value in answer.headers.items() if name.lower() in _GIVEN_BACK
                ]
                made = web.Response(status=answer.status, body=await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _away() from error
        for name, value in told:
            if name.lower() == "content-type":
                made.headers[name] = value
            else:
                made.headers.add(name, value)
        return made

    def _bearer(self, request: web.Request) -> str:
        """What the request came in with: the server looks at it once more."""
        kind, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if kind.lower() == "bearer" and token:
            return token.strip()
        return next((request.cookies[name] for name in self._cookies if name in request.cookies), "")

    def _owner(self, request: web.Request) -> Server:
        """Of the stream or session that the path names; any that runs for everything else."""
        named = request.match_info.get("stream") or request.match_info.get("id", "")
        running = self._running()
        return self._place(named) or next(iter(running))

    def _place(self, named: str) -> Server | None:
        number = self._places.get(named)
        return None if number is None else self._fleet.servers[number]

    def _remember(self, location: str, number: int) -> None:
        for name in location.split("/")[2:4]:
            self._places[name] = number
            self._places.move_to_end(name)
        while len(self._places) > _MOST_PLACES:
            self._places.popitem(last=False)

    def _running(self) -> list[Server]:
        running = [server for server in self._fleet.servers if server.origin]
        if not running:
            raise _away()
        return running

    def _of(self, server: Server) -> Told:
        return self._told.get(server.number, Told())

    async def _line(self, server: Server) -> tuple[int, str]:
        if not server.origin:
            return 503, "it is being started"
        try:
            async with self._http.get(f"{server.origin}/readyz") as answer:
                return answer.status, " ".join((await answer.text()).split())
        except (aiohttp.ClientError, TimeoutError):
            return 503, "it does not answer"

    async def _metrics(self, server: Server) -> str:
        if not server.origin:
            return ""
        try:
            headers = {hdrs.AUTHORIZATION: f"Bearer {self._token}"}
            async with self._http.get(f"{server.origin}/metrics", headers=headers) as answer:
                return await answer.text() if answer.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError):
            return ""

    async def _asking(self, _: Any) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(total=_ASK_S)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as self._http:
            looking = asyncio.create_task(self._look())
            yield
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            for server in self._fleet.servers:
                text = await self._metrics(server)
                if text:
                    self._told[server.number] = told_by(text)
                else:
                    self._forget(server.number)
            await asyncio.sleep(LOOK_S)

    def _forget(self, number: int) -> None:
        """What it had is gone with it."""
        if not self._fleet.servers[number].origin:
            self._drop(name for name, place in list(self._places.items()) if place == number)

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            del self._places[name]


def _away() -> RefusedError:
    return RefusedError(
        503, "WorkerError", "no worker can be reached now; try again in a moment", "busy", wait_s=2
    )
