"""The routes of consent: docs/api.md.

GET    /api/v1/consents          the records of this installation, the newest first; ?source= those of a source
GET    /api/v1/consents/{id}     one
DELETE /api/v1/consents/{id}     revokes it, for good; ?why= one line. Whoever is shown by it fades to grey.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from engine.consent.record import Record, is_hash
from engine.errors import ConfigError
from streaming.consents import Consents, told_record
from streaming.doors import RefusedError

_WHY = "revoked over the API"


def routes(consents: Consents) -> list[web.RouteDef]:
    """Over the records of one server."""
    doors = ConsentDoors(consents)
    return [
        web.get("/api/v1/consents", doors.all),
        web.get("/api/v1/consents/{id}", doors.look),
        web.delete("/api/v1/consents/{id}", doors.revoke),
    ]


class ConsentDoors:
    """Files are looked at in threads."""

    def __init__(self, consents: Consents) -> None:
        self._consents = consents

    async def all(self, request: web.Request) -> web.Response:
        """source: SHA-256 (hex) of a source's bytes, more than once for several pictures of one person; `holds` says
        whether all of these may be shown live."""
        sources = request.query.getall("source", [])
        if not all(map(is_hash, sources)):
            raise RefusedError(422, "ConfigError", "source: expected the 64 hex digits of a SHA-256")
        return web.json_response(await asyncio.to_thread(self._all, sources))

    def _all(self, sources: list[str]) -> dict[str, object]:
        store = self._consents.store
        if not sources:
            return {"consents": [told_record(one, store) for one in store.all()]}
        found = {record.id: record for source in sources for record in store.of(source)}
        faults = self._consents.faults(sources, "live")
        return {"consents": [told_record(one, store) for one in found.values()], "holds": not faults}

    async def look(self, request: web.Request) -> web.Response:
        record = await self._record(request)
        return web.json_response(await asyncio.to_thread(told_record, record, self._consents.store))

    async def revoke(self, request: web.Request) -> web.Response:
        """One that was revoked before stays as it was."""
        record = await self._record(request)
        store = self._consents.store
        try:
            await asyncio.to_thread(store.revoke, record.id, request.query.get("why") or _WHY)
        except ConfigError as error:
            raise RefusedError(422, "ConfigError", str(error)) from error
        return web.json_response(await asyncio.to_thread(told_record, record, store))

    async def _record(self, request: web.Request) -> Record:
        found = await asyncio.to_thread(self._consents.store.get, request.match_info["id"])
        if found is None:
            raise RefusedError(404, "RequestError", "there is no such record of consent here")
        return found
