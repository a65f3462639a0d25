"""The routes below /api/v1/enrolments: what a page sends, asks and takes back (docs/live.md)."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import BodyPartReader, web
from aiohttp.web import Request, Response

from engine.errors import ConfigError, ConsentError, InputError, StateError, TooLargeError
from streaming.consents import read_given
from streaming.doors import BROKEN_FORM, RefusedError, check_form, go_ahead
from streaming.enrolment import Enrolments
from streaming.enrolment_kinds import KINDS, MOST_BYTES
from streaming.enrolment_store import Job
from streaming.sources import Sources

_WITHIN_S: Final = 300.0
_PART = 1 << 20


def routes(enrolments: Enrolments | None, sources: Sources) -> list[web.RouteDef]:
    """enrolments: None where this server enrols nobody, which is told then. sources: where enrolled persons come to."""
    doors = EnrolmentDoors(enrolments, sources)
    return [
        web.get("/api/v1/enrolments", doors.all),
        web.post("/api/v1/enrolments", doors.add),
        web.get("/api/v1/enrolments/{id}", doors.status),
        web.post("/api/v1/enrolments/{id}/resume", doors.resume),
        web.post("/api/v1/enrolments/{id}/source", doors.person),
        web.delete("/api/v1/enrolments/{id}", doors.delete),
    ]


class EnrolmentDoors:
    """Whatever touches the disk is done in threads."""

    def __init__(self, enrolments: Enrolments | None, sources: Sources) -> None:
        self._given, self._sources = enrolments, sources

    @property
    def _enrolments(self) -> Enrolments:
        if self._given is None:
            raise RefusedError(404, "RequestError", "this server enrols nobody; start it with --enrol")
        return self._given

    async def all(self, request: Request) -> Response:
        return web.json_response({"enrolments": await asyncio.to_thread(self._enrolments.all)})

    async def status(self, request: Request) -> Response:
        return web.json_response(self._enrolments.status(request.match_info["id"]))

    async def resume(self, request: Request) -> Response:
        told = await asyncio.to_thread(self._enrolments.resume, request.match_info["id"])
        return web.json_response(told, status=202)

    async def person(self, request: Request) -> Response:
        """The person that a bundle holds becomes a source; one that is there already stays."""
        with self._sources.reserve():
            upload = await asyncio.to_thread(self._enrolments.person, request.match_info["id"])
            source = await self._sources.add_reserved(upload)
        return web.json_response(await self._sources.told(source), status=201)

    async def delete(self, request: Request) -> Response:
        told = await asyncio.to_thread(self._enrolments.cancel_or_remove, request.match_info["id"])
        return Response(status=204) if told is None else web.json_response(told, status=202)

    async def add(self, request: Request) -> Response:
        """A clip, or photos, as parts of a form; written to the disk as they come."""
        query, enrolments = request.query, self._enrolments
        with enrolments.reserve(query.get("system", "")):
            try:
                given = read_given(query)
                job = await asyncio.to_thread(
                    enrolments.new,
                    query.get("system", ""),
                    query.get("name", ""),
                    query.get("keep") == "1",
                    query.getall("accept", []),
                )
            except ConfigError as error:
                raise RefusedError(422, "ConfigError", str(error)) from error
            async with _discarded_if_it_fails(enrolments, job):
                files = await self._received(request, job)
                told = await asyncio.to_thread(enrolments.accept, job, files, given)
        return web.json_response(told, status=201)

    async def _received(self, request: Request, job: Job) -> list[Path]:
        check_form(request, MOST_BYTES, "enrolment")
        await go_ahead(request)
        most = max(KINDS[job.system].clips, KINDS[job.system].photos)
        files: list[Path] = []
        try:
            async with asyncio.timeout(_WITHIN_S):
                parts = await request.multipart()
                while (part := await parts.next()) is not None:
                    if not isinstance(part, BodyPartReader) or part.filename is None:
                        raise RefusedError(
                            400, "RequestError", "enrolment: expected files as parts of a form"
                        )
                    if len(files) == most:
                        raise RefusedError(422, "InputError", f"enrolment: at most {most} files are taken")
                    path = self._enrolments.place(job, len(files) + 1, part.filename)
                    await _write(part, path)
                    files.append(path)
        except TimeoutError as error:
            raise RefusedError(
                408, "RequestError", f"enrolment: it did not come within {_WITHIN_S:g} s"
            ) from error
        except BROKEN_FORM as error:
            raise RefusedError(400, "RequestError", "enrolment: it broke off, or is no form") from error
        if not files:
            raise RefusedError(422, "InputError", "enrolment: expected a clip or photos, got no file")
        return files


async def _write(part: BodyPartReader, path: Path) -> None:
    try:
        file = await asyncio.to_thread(path.open, "xb")
        try:
            while chunk := await part.read_chunk(_PART):
                await asyncio.to_thread(file.write, chunk)
        finally:
            await asyncio.to_thread(file.close)
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        raise _no_room(error) from error


def _no_room(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RefusedError(
            507, "StorageError", "the server's disk is full; free some space and send it again"
        )
    return StateError(f"the server could not write what was sent ({error.strerror})")


@asynccontextmanager
async def _discarded_if_it_fails(enrolments: Enrolments, job: Job) -> AsyncIterator[None]:
    """Nothing of what was not taken stays, whatever ended it."""
    try:
        yield
    except BaseException as error:
        await asyncio.shield(asyncio.to_thread(enrolments.discard, job))
        if isinstance(error, InputError) and not isinstance(error, ConsentError):
            status = 413 if isinstance(error, TooLargeError) else 422
            raise RefusedError(status, type(error).__name__, str(error)) from error
        if isinstance(error, OSError) and not isinstance(error, (TimeoutError, ConnectionError)):
            raise _no_room(error) from error
        raise
