"""The routes of recordings: docs/recording.md."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web

from streaming.calls import Calls
from streaming.recording.recordings import Recordings
from streaming.refusals import RefusedError
from streaming.session import Session


def routes(recordings: Recordings, calls: Calls) -> list[web.RouteDef]:
    """Over the recordings of one application."""
    doors = RecordingDoors(recordings, calls)
    return [
        web.post("/api/v1/sessions/{id}/recording", doors.start),
        web.delete("/api/v1/sessions/{id}/recording", doors.stop),
        web.get("/api/v1/recordings", doors.all),
        web.get("/api/v1/recordings/{id}", doors.look),
        web.get("/api/v1/recordings/{id}/video.mp4", doors.download),
        web.delete("/api/v1/recordings/{id}", doors.remove),
    ]


class RecordingDoors:
    """For whoever has the scope api."""

    def __init__(self, recordings: Recordings, calls: Calls) -> None:
        self._recordings, self._calls = recordings, calls

    async def start(self, request: web.Request) -> web.Response:
        """201 with the recording; everybody in the session is told."""
        told = await self._recordings.start(self._session(request))
        headers = {hdrs.LOCATION: f"/api/v1/recordings/{told['id']}"}
        return web.json_response(told, status=201, headers=headers)

    async def stop(self, request: web.Request) -> web.Response:
        """Returns when the file is closed; it is made whole then."""
        return web.json_response(await self._recordings.stop(request.match_info["id"]))

    async def all(self, request: web.Request) -> web.Response:
        """The oldest first."""
        return web.json_response({"recordings": self._recordings.all()})

    async def look(self, request: web.Request) -> web.Response:
        """One of them, as it stands."""
        return web.json_response(self._recordings.told(request.match_info["id"]))

    async def download(self, request: web.Request) -> web.StreamResponse:
        """The file, or a range of it."""
        path = self._recordings.file(request.match_info["id"])
        if not await asyncio.to_thread(path.is_file):
            raise RefusedError(404, "RequestError", "its file was taken away")
        disposition = f'attachment; filename="marotte-{path.name}"'
        return web.FileResponse(
            path, headers={hdrs.CONTENT_DISPOSITION: disposition, hdrs.CONTENT_TYPE: "video/mp4"}
        )

    async def remove(self, request: web.Request) -> web.Response:
        """For good."""
        await self._recordings.remove(request.match_info["id"])
        return web.Response(status=204)

    def _session(self, request: web.Request) -> Session:
        found = self._calls.session(request.match_info["id"])
        if found is None or found.over:
            raise RefusedError(404, "RequestError", "that session is not open any more")
        return found
