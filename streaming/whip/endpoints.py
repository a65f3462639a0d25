"""The routes of WHIP (RFC 9725) and WHEP (draft 3): docs/whip.md.

POST /whip, /whip/{stream}     publishes: what is sent drives a session      201, Location /whip/{stream}/{id}
POST /whep/{stream}            watches its pictures, and hears its sound     201, Location /whep/{stream}/{id}
PATCH  a Location              candidates (204), or ICE anew (200)
DELETE a Location              ends it (200)
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from aiohttp import hdrs, web
from aiortc import RTCIceServer
from multidict import CIMultiDict

from engine.errors import ConfigError, InputError
from engine.worker.interface import SourceInfo
from streaming import candidates
from streaming.calls import Calls
from streaming.config import ServeConfig
from streaming.consents import Given
from streaming.doors import RefusedError, read_body
from streaming.entry import GRANT
from streaming.offer import Offer, ice_servers
from streaming.sources import Sources
from streaming.statement_doors import link, stated
from streaming.tokens import Scope
from streaming.whip import fragment
from streaming.whip.descriptions import Described, described
from streaming.whip.requests import SDP, Asked, asked, check_fragment, check_sdp, matching
from streaming.whip.resources import Resource, Resources

_OFFER_S: Final = 10.0


class Whip:
    """Over the sessions and sources of one application."""

    def __init__(self, config: ServeConfig, calls: Calls, sources: Sources) -> None:
        self._config, self._calls, self._sources = config, calls, sources
        self.resources = Resources()
        """What was made here, by its address."""

    def routes(self) -> list[web.RouteDef]:
        """All of them; streaming/routes.py says which scope each asks for."""
        made = [web.post("/whip", self.publish), web.post("/whip/{stream}", self.publish)]
        made.append(web.post("/whep/{stream}", self.watch))
        for path in ("/whip", "/whip/{stream}", "/whep/{stream}"):
            made += [web.get(path, _nothing), web.options(path, _endpoint)]
        for path in ("/whip/{stream}/{id}", "/whep/{stream}/{id}"):
            made += [web.patch(path, self.patch), web.delete(path, self.end)]
            made += [web.get(path, self.look), web.options(path, _resource)]
        made.append(web.get("/whep/{stream}/{id}/statement", self.state))
        return made

    async def publish(self, request: web.Request) -> web.Response:
        """A session that is driven by what is sent."""
        check_sdp(request)
        try:
            options = asked(request)
            _check_word(request, options)
            source = self._source(options.source)
            offered = await self._offered(request, sends=True)
            stream = request.match_info.get("stream") or secrets.token_hex(8)
            first = None if options.given is None else partial(self._attest, source, options.given)
            peer = await self._calls.open(_offer(offered, source, options), source, stream, first=first)
        except ConfigError as error:
            raise RefusedError(422, "ConfigError", str(error)) from error
        session = peer.session
        resource = Resource(
            peer,
            offered.sdp,
            public=self._config.public_ice,
            over=lambda: session.over,
            close=lambda: self._calls.close(session.id, "page"),
            state=lambda: session.state(),
            token=request[GRANT].id,
        )
        return self._created(f"/whip/{stream}/{session.id}", resource, offered.answered(peer.answer.sdp))

    async def watch(self, request: web.Request) -> web.Response:
        """A stream's pictures and sound."""
        check_sdp(request)
        stream = request.match_info["stream"]
        try:
            codec = asked(request, views=True).codec
            offered = await self._offered(request, sends=False)
            viewer = await self._calls.watch(stream, offered.sdp, codec)
        except ConfigError as error:
            raise RefusedError(422, "ConfigError", str(error)) from error
        resource = Resource(
            viewer,
            offered.sdp,
            public=self._config.public_ice,
            over=lambda: viewer.over,
            close=lambda: viewer.close("page"),
            state=lambda: viewer.session.state(),
            token=request[GRANT].id,
        )
        return self._created(f"/whep/{stream}/{viewer.id}", resource, offered.answered(viewer.answer.sdp))

    async def patch(self, request: web.Request) -> web.Response:
        """Candidates, or the other side of a new ICE session."""
        resource = self.resources.find(request.path)
        check_fragment(request)
        etags = matching(request)
        body = await read_body(request, fragment.MOST_BYTES, _OFFER_S, "fragment")
        try:
            own = await resource.patch(fragment.read(body), etags)
        except InputError as error:
            raise RefusedError(422, type(error).__name__, str(error)) from error
        if own is None:
            return web.Response(status=204)
        headers = {hdrs.ETAG: resource.etag}
        return web.Response(body=own.encode(), content_type=fragment.MEDIA_TYPE, headers=headers)

    async def end(self, request: web.Request) -> web.Response:
        """End what a POST made, whatever ICE is at; returns when nothing leaves any more."""
        await self.resources.end(request.path)
        return web.Response()

    async def look(self, request: web.Request) -> web.Response:
        """It is there: RFC 9725 has nothing to show of it (4.1)."""
        self.resources.find(request.path)
        return web.Response(status=204)

    async def state(self, request: web.Request) -> web.Response:
        """What is stated of the session that is watched here."""
        resource = self.resources.find(request.path.removesuffix("/statement"))
        return await stated(resource.state)

    async def _offered(self, request: web.Request, *, sends: bool) -> Described:
        body = await read_body(request, candidates.MOST_BYTES, _OFFER_S, "offer")
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise InputError("offer: expected text in UTF-8") from error
        return described(candidates.clean_offer(text, public=self._config.public_ice), sends=sends)

    async def _attest(self, source: SourceInfo, given: Given) -> None:
        """Fail closed: what could not be recorded is not shown. Raises ConsentError for what is denied."""
        await asyncio.to_thread(self._sources.attest, source, given)

    def _source(self, asked_for: str) -> SourceInfo:
        first = self._sources.first  # before it is there, nothing can be asked for
        found = self._sources.get(asked_for) if asked_for else first
        if found is None:
            raise ConfigError("that source is not there any more; add it again")
        return found

    def _created(self, path: str, resource: Resource, answer: str) -> web.Response:
        self.resources.add(path, resource)
        headers = CIMultiDict(
            {hdrs.LOCATION: path, hdrs.ETAG: resource.etag, "Accept-Patch": fragment.MEDIA_TYPE}
        )
        for server in links(ice_servers(self._config)):
            headers.add(hdrs.LINK, server)
        if path.startswith("/whep/"):
            headers.add(hdrs.LINK, link(path))
        return web.Response(status=201, body=answer.encode(), content_type=SDP, headers=headers)


def _check_word(request: web.Request, options: Asked) -> None:
    """That whoever says who allows a source may say it, of one that they name. Raises RefusedError (403), ConfigError.

    A record of consent lasts, and ends what a revocation began: it is not for who may publish and no more.
    """
    if options.given is None:
        return
    if not request[GRANT].allows(Scope("api")):
        raise RefusedError(
            403,
            "ScopeError",
            "this token may not say who allows a source; next step: leave kind and the rest of it out of the address, "
            "or use a token with the scope api",
            "scope",
        )
    if not options.source:
        raise ConfigError("kind: it is said of a source; expected source=ID beside it")


def links(servers: Iterable[RTCIceServer]) -> Iterator[str]:
    """Of each STUN and TURN server, with its account, as RFC 9725 (4.6) writes it."""
    for server in servers:
        account = ""
        if server.username is not None:
            account = f"; username={_quoted(server.username)}; credential={_quoted(str(server.credential))}"
        yield f'<{server.urls}>; rel="ice-server"{account}'


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _offer(offered: Described, source: SourceInfo, options: Asked) -> Offer:
    return Offer(
        offered.sdp,
        "offer",
        source.id,
        driver=options.driver,
        codec=options.codec,
        bundle=options.bundle,
        mode=options.mode,
        donors=options.donors,
    )


async def _nothing(request: web.Request) -> web.Response:
    """An endpoint is there, and has nothing to show (4.1)."""
    return web.Response(status=204)


async def _endpoint(request: web.Request) -> web.Response:
    return web.Response(headers={hdrs.ALLOW: "GET, HEAD, OPTIONS, POST", "Accept-Post": SDP})


async def _resource(request: web.Request) -> web.Response:
    headers = {hdrs.ALLOW: "DELETE, GET, HEAD, OPTIONS, PATCH", "Accept-Patch": fragment.MEDIA_TYPE}
    return web.Response(headers=headers)
