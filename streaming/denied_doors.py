"""/api/v1/denied: a source taken down on report, for the operator; docs/stop.md.

GET    /api/v1/denied          the entries, the oldest first; and faces that are like one of them by shape
POST   /api/v1/denied          ?why= one line; ?source= what is accepted here, ?sha256=, or a picture as the body
DELETE /api/v1/denied/{id}     takes an entry out

What shows it live turns grey by the same look that ends what was revoked (streaming/consent_watch.py).
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from engine.consent.record import is_hash
from engine.denied.entries import is_id
from engine.denied.takedown import TakenDown, take_down, told
from engine.errors import ConfigError, DeniedError, InputError
from engine.session_log import Event, SessionLog
from engine.types import U8
from engine.worker.interface import SourceInfo, Worker
from streaming.config import MOST_UPLOAD_BYTES
from streaming.denials import picture_of
from streaming.doors import RefusedError, read_body
from streaming.sources import Sources

_BY: Final = "the API"
_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Named:
    """What is to be denied."""

    sums: tuple[str, ...]
    picture: U8 | None = None


class DeniedDoors:
    """Over the sources of one server; files are looked at in threads, and pictures decoded by the worker."""

    def __init__(self, sources: Sources, worker: Worker) -> None:
        self._sources, self._worker = sources, worker
        self._denied = sources.consents.denials.denied

    def routes(self) -> list[web.RouteDef]:
        """For an application."""
        path = "/api/v1/denied"
        return [web.get(path, self.all), web.post(path, self.add), web.delete(f"{path}/{{id}}", self.remove)]

    async def all(self, request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(self._all))

    def _all(self) -> dict[str, Any]:
        reports = [
            {
                "time": one.time.isoformat(),
                "source": one.source,
                "entry": one.entry,
                "apart_mm": 10 * one.apart,
            }
            for one in self._denied.reports()
        ]
        entries = [told(entry) for entry in self._denied.all()]
        return {"denied": entries, "shape_days": self._denied.keeps_shapes(), "like": reports}

    async def add(self, request: web.Request) -> web.Response:
        """201 and the entry: from now on it is refused, and what shows it turns grey."""
        named = await self._named(request)
        try:
            taken = await asyncio.to_thread(self._take_down, named, request.query.get("why"))
        except ConfigError as error:
            raise RefusedError(422, "ConfigError", str(error)) from error
        return web.json_response(told(taken.entry) | {"revoked": list(taken.revoked)}, status=201)

    async def remove(self, request: web.Request) -> web.Response:
        entry = request.match_info["id"]
        if not is_id(entry) or not await asyncio.to_thread(self._remove, entry):
            raise RefusedError(404, "RequestError", "there is no such entry (any more)")
        return web.Response(status=204)

    def _take_down(self, named: _Named, why: str | None) -> TakenDown:
        pictures = () if named.picture is None else (named.picture,)
        return take_down(self._denied, why or "", pictures=pictures, sums=named.sums, by=_BY)

    def _remove(self, entry: str) -> bool:
        removed = self._denied.remove(entry)
        if removed:
            SessionLog(self._denied.state / "session_log").write(Event.DENIAL_LIFTED, entry=entry, by=_BY)
        return removed

    async def _named(self, request: web.Request) -> _Named:
        source, sum_ = request.query.get("source"), request.query.get("sha256")
        if (source is None) + (sum_ is None) + (not request.body_exists) != 2:
            raise RefusedError(
                422,
                "ConfigError",
                "denied: expected one of source, sha256 and a picture as the body; and why",
            )
        if sum_ is not None:
            return _Named((sum_,))
        if source is None:
            return await self._uploaded(request)
        found = self._sources.get(source)
        if found is not None:
            return _Named((source, *self._sources.consents.pictures_of(source)), picture_of(found))
        if not is_hash(source):
            raise RefusedError(
                404, "RequestError", "that source is not there any more; send the picture itself"
            )
        return _Named((source,))

    async def _uploaded(self, request: web.Request) -> _Named:
        """What is looked at by the worker, as any upload is; where no face is found, its bytes alone."""
        with self._sources.reserve():
            body = await read_body(request, MOST_UPLOAD_BYTES, _WITHIN_S, "picture")
            known = hashlib.sha256(body).hexdigest()
            try:
                info = await self._seen(body)
            except DeniedError as error:
                raise RefusedError(409, "RequestError", "it is denied already") from error
            except InputError:
                return _Named((known,))
        return _Named((known,), picture_of(info))

    async def _seen(self, body: bytes) -> SourceInfo:
        future = self._worker.add_source(body, "denied")
        try:
            async with asyncio.timeout(_WITHIN_S):
                info = await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise RefusedError(
                504, "WorkerError", "the picture was not read in time; deny it by sha256"
            ) from error
        if self._sources.get(info.id) is None:
            self._worker.drop_source(info.id)
        return info
