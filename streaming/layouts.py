"""What a brush needs: the layout of a session, a way for what is painted, and label pictures read.

A channel's message is too short for a painting, so it comes through a door of its own, and does what a change of
`painted` would do.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, Final

from aiohttp import web

from engine.consent.words import shown_name
from engine.errors import ConfigError, ConsentError, InputError
from engine.marks import MarksConfig
from engine.marks.files import marked_jpeg
from engine.parsing import files
from engine.parsing.runs import decode
from engine.types import U8
from engine.worker.interface import Look, Worker
from streaming.calls import Calls
from streaming.doors import RefusedError, busy, read_body
from streaming.rates import Allowance

MOST_PAINTED_BYTES: Final = 512 << 10
"""Of as many runs as are read, and their quoting as JSON."""

_BODY_S: Final = 10.0
_LOOK_S: Final = 5.0


class Layouts:
    """The three doors; see docs/live.md. marks: of the picture that was generated."""

    def __init__(self, worker: Worker, calls: Calls, marks: MarksConfig | None = None) -> None:
        self._worker, self._calls, self._marks = worker, calls, marks or MarksConfig()
        self._paintings = Allowance(20, 0.1)
        self._readings = Allowance(10, 0.5)

    def routes(self) -> list[web.RouteDef]:
        """For an application."""
        return [
            web.get("/api/v1/sessions/{id}/layout", self.look),
            web.put("/api/v1/sessions/{id}/painting", self.paint),
            web.post("/api/v1/labels", self.read),
        ]

    async def look(self, request: web.Request) -> web.Response:
        """What a session draws, and the picture that it was drawn to."""
        self._take(self._readings, request)
        session = self._calls.session(request.match_info["id"])
        if session is not None and session.withheld:
            raise ConsentError(f"layout: {session.withheld}")
        rest = request.query.get("rest", "") == "1"
        found = await asyncio.to_thread(self._worker.look, request.match_info["id"], rest=rest)
        try:
            look: Look = await asyncio.wait_for(asyncio.wrap_future(found), _LOOK_S)
        except InputError as error:
            raise RefusedError(409, type(error).__name__, str(error)) from error
        except TimeoutError as error:
            raise RefusedError(504, "WorkerError", f"no layout came within {_LOOK_S:g} s") from error
        marked = await asyncio.to_thread(marked_jpeg, look.picture, self._marks, request.match_info["id"])
        self._calls.switch.check()  # a picture that was generated leaves here too
        picture = base64.b64encode(marked).decode("ascii")
        return web.json_response({"picture": picture, "labels": look.labels})

    async def paint(self, request: web.Request) -> web.Response:
        """What is painted on a session's layout from now on; no runs take it away."""
        self._take(self._paintings, request)
        body = await read_body(request, MOST_PAINTED_BYTES, _BODY_S, "painting")
        runs = await asyncio.to_thread(_runs, body)
        try:
            changes = self._calls.change(request.match_info["id"], {"controls": {"painted": runs}})
        except ConfigError as error:
            raise RefusedError(422, "ConfigError", str(error)) from error
        return web.json_response({"changes": changes})

    async def read(self, request: web.Request) -> web.Response:
        """A label picture as runs. Nothing of it is kept."""
        self._take(self._readings, request)
        name = shown_name(request.query.get("name"))
        body = await read_body(request, files.LIMITS.file_bytes, _BODY_S, name)
        try:
            runs = await asyncio.to_thread(lambda: files.painting_of(_labels(body, name), name))
        except InputError as error:
            raise RefusedError(422, type(error).__name__, str(error)) from error
        return web.json_response({"labels": runs})

    def _take(self, allowance: Allowance, request: web.Request) -> None:
        if not allowance.take(request.remote):
            raise busy("too much is asked for at once; wait a little")


def _labels(body: bytes, name: str) -> U8:
    return files.decode_labels(body, name)


def _runs(body: bytes) -> list[Any]:
    """Raises InputError."""
    try:
        runs = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("painting: expected JSON, a list of runs [class, pixels]") from error
    if not isinstance(runs, list):
        raise InputError("painting: expected a list of runs [class, pixels]")
    if runs:
        decode(runs)
    return runs
