"""The routes of docs/live.md, joined to the worker, the sources and the sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from importlib import metadata
from typing import Any, Final

import av
from aiohttp import hdrs, web
from aiortc import RTCIceServer

from engine.consent.words import MOST_STATEMENT
from engine.errors import ConsentError, InputError, TooLargeError
from engine.expressions import EXPRESSIONS
from engine.parsing.classes import CELEBAMASK
from engine.session_log import Keeping
from engine.several import MOST_SOURCES as MOST_PICTURES
from engine.signing import operator
from engine.state import state_folder
from engine.types import Mode
from engine.worker.changes import MOST_DONORS
from engine.worker.interface import BundleInfo, DriverKind, Worker
from streaming.calls import Calls, OpenPeer
from streaming.config import MOST_UPLOAD_BYTES, ServeConfig
from streaming.consent_doors import routes as consent_routes
from streaming.consent_watch import ConsentWatch
from streaming.consents import KINDS, read_given
from streaming.denied_doors import DeniedDoors
from streaming.doors import COMPILES, Doors, RefusedError, add_headers
from streaming.drain_doors import Draining
from streaming.enrolment import Enrolments
from streaming.enrolment_doors import routes as enrolment_routes
from streaming.entry import GRANT
from streaming.health import SIGN, Health, healthz, readyz
from streaming.kill import KillSwitch
from streaming.kill_doors import Killing
from streaming.landmarker import Landmarker
from streaming.layouts import Layouts
from streaming.measured import Recorder, ServerRecorder
from streaming.offer import ice_servers
from streaming.once import OneTimeCode
from streaming.pages import Pages
from streaming.peer import Peer
from streaming.recording.doors import routes as recording_routes
from streaming.recording.recordings import Recordings
from streaming.recording.taker import Limits
from streaming.remote.remotes import Remotes
from streaming.remote_doors import routes as remote_routes
from streaming.rooms.doors import routes as room_routes
from streaming.rooms.rooms import Rooms
from streaming.series import CONTENT_TYPE
from streaming.session_doors import routes as session_routes
from streaming.sources import Sources
from streaming.statement import Statements
from streaming.statement_doors import routes as statement_routes
from streaming.token_doors import routes as token_routes
from streaming.tokens import Scope, Tokens, key_of
from streaming.trackers import Trackers
from streaming.uploads import MOST_TOGETHER, read_upload
from streaming.verify_doors import OPENED, Verifying
from streaming.whip.endpoints import Whip

CALLS: Final = web.AppKey("calls", Calls)
"""The sessions of an application."""

_CODECS: Final = {"vp8": "libvpx", "h264": "libx264"}


def create_app(
    config: ServeConfig,
    worker: Worker,
    recorder: ServerRecorder,
    sources: Sources,
    token: str,
    *,
    render: Callable[[], bytes] | None = None,
    open_peer: OpenPeer = Peer.open,
    once: OneTimeCode | None = None,
    enrolments: Enrolments | None = None,
    switch: KillSwitch | None = None,
    journal: Keeping | None = None,
) -> web.Application:
    """One server's application. config.port: the port that is really bound. render: what /metrics gives. once: see
    Doors. enrolments: None where nobody is enrolled; the caller's, as the worker and the switch are. switch: None is
    one of this application alone. journal: what is logged; None logs nothing.

    Its shutdown ends every session; the worker is the caller's.
    """
    tokens = Tokens(key_of(config.token_key or token))
    doors = Doors(
        token,
        config.port,
        recorder,
        hosts=config.hosts,
        bound=config.host,
        once=once,
        tokens=tokens,
        origins=config.origins,
        rates=config.rates,
        proxies=config.proxies,
        opened=OPENED if config.open_verify else (),
    )
    calls = Calls(config, worker, recorder, sources, open_peer, switch)
    sources.in_use = calls.shown
    if journal is not None:
        calls.journal = sources.journal = journal
    consents = sources.consents
    statements = Statements(
        lambda: operator(state_folder()), worker.bundles,
        marks=config.marks.on, lowered=config.marks.lowered, software=f"Marotte {_version()}".strip(),
    )  # fmt: skip
    recordings = Recordings(config.recordings, _limits(config), recorder, statements.of, consents.all_faults)
    recordings.journal = calls.journal
    calls.stated, calls.recorded = statements.of, recordings.of
    remotes, draining = Remotes(config, calls, sources, recorder), Draining(calls, config.drain_s)
    killing = Killing(calls.switch, calls, recorder)
    rooms = Rooms(config, calls, recorder, tokens) if config.rooms else None
    whip = Whip(config, calls, sources)
    app = _guarded(doors)
    app[CALLS], app[COMPILES] = calls, config.mediapipe is not None
    app.on_startup.append(_started(remotes))
    app.on_shutdown.append(lambda _: remotes.close())
    app.on_shutdown.append(lambda _: calls.close_all())
    app.cleanup_ctx.extend(
        [_tracking(config, calls), calls.reception.measuring, draining.keep, killing.keep, recordings.keep]
    )
    app.cleanup_ctx.append(ConsentWatch(calls.all, consents).keep)
    if rooms is not None:
        calls.names = rooms
        app.cleanup_ctx.append(rooms.keep)
    app.add_routes(
        [
            *Pages().routes(),
            *Api(config, worker, sources, calls, enrolments).routes(),
            *Layouts(worker, calls, config.marks).routes(),
            *session_routes(calls),
            *consent_routes(consents),
            *statement_routes(calls),
            *recording_routes(recordings, calls),
            *token_routes(tokens, whip.resources.end_of),
            *draining.routes(),
            *Verifying().routes(),
            *killing.routes(),
            *DeniedDoors(sources, worker).routes(),
            *Landmarker(config.mediapipe).routes(),
            *remote_routes(remotes, near=config.remote_near),
            *room_routes(rooms),
            *whip.routes(),
            *enrolment_routes(enrolments, sources),
            *([] if render is None else [web.get("/metrics", _metrics(render))]),
        ]
    )
    return app


def _limits(config: ServeConfig) -> Limits:
    return Limits(
        config.recording_minutes, int(config.recording_gb * 1e9), int(config.recording_free_gb * 1e9)
    )


def create_metrics_app(port: int, recorder: Recorder, render: Callable[[], bytes]) -> web.Application:
    """The second door, on loopback: /metrics alone, without a token."""
    app = _guarded(Doors(None, port, recorder))
    app.add_routes([web.get("/metrics", _metrics(render))])
    return app


def _started(remotes: Remotes) -> Callable[[web.Application], Any]:
    async def start(_: web.Application) -> None:
        remotes.start()

    return start


def _tracking(config: ServeConfig, calls: Calls) -> Callable[[web.Application], AsyncIterator[None]]:
    """The trackers' sockets, open as long as the application runs."""

    async def track(_: web.Application) -> AsyncIterator[None]:
        trackers = Trackers(config.trackers, calls.tracked)
        yield
        await asyncio.to_thread(trackers.close)

    return track


def _guarded(doors: Doors) -> web.Application:
    app = web.Application(middlewares=[doors.middleware])
    app.on_response_prepare.append(add_headers)
    return app


def _metrics(render: Callable[[], bytes]) -> Callable[[web.Request], Any]:
    async def give(request: web.Request) -> web.Response:
        body = await asyncio.to_thread(render)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})

    return give


def _told(health: Health, sign: str = "") -> web.Response:
    return web.Response(status=health.status, text=f"{sign}{health.text}\n")


class Api:
    """What stands under /api, and /readyz."""

    def __init__(
        self,
        config: ServeConfig,
        worker: Worker,
        sources: Sources,
        calls: Calls,
        enrolments: Enrolments | None = None,
    ) -> None:
        self._config, self._worker, self._sources, self._calls = config, worker, sources, calls
        self._enrolments = enrolments
        self._codecs = [name for name, library in _CODECS.items() if library in av.codecs_available]

    def routes(self) -> list[web.RouteDef]:
        """For an application."""
        return [
            web.get("/api/v1/info", self.info),
            web.get("/api/v1/bundles", self.bundles),
            web.get("/api/v1/sources", self.sources),
            web.post("/api/v1/sources", self.add_source),
            web.get("/api/v1/sources/{id}/still.jpg", self.still),
            web.get(r"/api/v1/sources/{id}/pictures/{number:\d}.jpg", self.picture),
            web.delete("/api/v1/sessions/{id}", self.close_session),
            web.get("/healthz", self.alive),
            web.get("/readyz", self.ready),
        ]

    async def ready(self, request: web.Request) -> web.Response:
        """200 when this server opens sessions, also where there is no room for another one now, as it says then; else
        503 and why not."""
        found = readyz(self._worker.status(), closing=self._calls.closing)
        if found.status == 200 and not self._sources.started:
            found = Health(503, "the first source is being prepared")
        if found.status == 200 and self._calls.switch.killed:
            found = Health(503, "killed: the operator has stopped all output")
        if found.status == 200 and (why := self._calls.reception.why_not()):
            found = Health(503 if self._calls.reception.draining else 200, why)
        return _told(found)

    async def alive(self, request: web.Request) -> web.Response:
        """503 when nothing but a new process helps."""
        return _told(healthz(self._worker.status(), closing=self._calls.closing), SIGN)

    async def info(self, request: web.Request) -> web.Response:
        """What a page has to know before it can ask for anything."""
        config = self._config
        whose = request[GRANT].allows(Scope("api")) if GRANT in request else False
        return web.json_response(
            {
                "version": _version(),
                "source": await self._sources.told(self._sources.first, whose=whose),
                "sources": [await self._sources.told(source, whose=whose) for source in self._sources.all()],
                "consent_kinds": list(KINDS),
                "codecs": self._codecs,
                "codec": config.codec,
                "drivers": [kind.value for kind in DriverKind],
                "trackers": [tracker.kind for tracker in config.trackers],
                "mediapipe": config.mediapipe is not None,
                "bundles": [_bundle(bundle) for bundle in self._worker.bundles()],
                "parts": _parts(),
                "expressions": {name: dict(aus) for name, aus in EXPRESSIONS.items()},
                "enrol": None if self._enrolments is None else self._enrolments.about(),
                "edit": config.worker.edit,
                "pass_through": config.pass_through,
                "marks": {"on": list(config.marks.on), "lowered": list(config.marks.lowered)},
                "sound": config.sound,
                "rooms": config.rooms > 0,
                "admin": GRANT in request and request[GRANT].allows(Scope("admin")),
                "recordings": config.recordings is not None,
                "driver_pixels": config.worker.driver_pixels,
                "ice_servers": [_ice(server) for server in ice_servers(config)],
                "limits": {
                    "upload_bytes": MOST_UPLOAD_BYTES,
                    "pictures": MOST_PICTURES,
                    "pictures_bytes": MOST_TOGETHER,
                    "statement": MOST_STATEMENT,
                    "sessions": config.worker.sessions,
                    "donors": MOST_DONORS,
                },
                "worker": self._worker.status().state.value,
            }
        )

    async def bundles(self, request: web.Request) -> web.Response:
        """What may run, the first what a session begins with."""
        return web.json_response({"bundles": [_bundle(bundle) for bundle in self._worker.bundles()]})

    async def sources(self, request: web.Request) -> web.Response:
        """What may be shown, the operator's first."""
        return web.json_response(
            {"sources": [await self._sources.told(source) for source in self._sources.all()]}
        )

    async def add_source(self, request: web.Request) -> web.Response:
        """A picture, a clip, or several photos of one person; one upload at a time, so that memory is bounded."""
        try:
            given = read_given(request.query)
            with self._sources.reserve():
                upload = await read_upload(request)
                source = await self._sources.add_reserved(upload, given or read_given(upload.told))
        except ConsentError:
            raise
        except InputError as error:
            status = 413 if isinstance(error, TooLargeError) else 422
            raise RefusedError(status, type(error).__name__, str(error)) from error
        return web.json_response(await self._sources.told(source), status=201)

    async def still(self, request: web.Request) -> web.Response:
        data = await self._sources.still(request.match_info["id"])
        if data is None:
            raise RefusedError(404, "RequestError", "that source is not there any more; add it again")
        return web.Response(body=data, content_type="image/jpeg")

    async def picture(self, request: web.Request) -> web.Response:
        """A small square of one of the pictures that a source was made of."""
        source, number = self._sources.get(request.match_info["id"]), int(request.match_info["number"])
        if source is None or number >= len(source.pictures):
            raise RefusedError(404, "RequestError", "that picture is not there any more; add it again")
        await asyncio.to_thread(self._sources.check_visible, source)
        return web.Response(body=source.pictures[number].thumbnail, content_type="image/jpeg")

    async def close_session(self, request: web.Request) -> web.Response:
        await self._calls.close(request.match_info["id"], "page")
        return web.Response(status=204)


def _ice(server: RTCIceServer) -> dict[str, Any]:
    """As a browser takes it: with the account beside the address, which it refuses in it."""
    account = (
        {} if server.username is None else {"username": server.username, "credential": server.credential}
    )
    return {"urls": [server.urls]} | account


def _bundle(bundle: BundleInfo) -> dict[str, Any]:
    modes = {
        mode.value: {
            "takes_source": mode in bundle.takes_source,
            "removes": bundle.removes and mode is Mode.EDIT,
        }
        for mode in bundle.modes
    }
    told = {"name": bundle.name, "title": bundle.title, "system": bundle.system, "licence": bundle.licence}
    directions = [{"name": name, "low": low, "high": high} for name, low, high in bundle.directions]
    offered = {"directions": directions, "outputs": list(bundle.outputs), "pictures": bundle.pictures}
    own = bundle.own
    held = {"own": None if own is None else {"id": own.id, "name": own.name, "size": list(own.size)}}
    return told | offered | held | {"aus": bundle.aus, "heeds": list(bundle.heeds), "modes": modes}


def _parts() -> list[dict[str, Any]]:
    """The classes that a brush paints, in their order, with the colours that people see them in."""
    colours = CELEBAMASK.palette.tolist()
    return [{"name": name, "colour": colour} for name, colour in zip(CELEBAMASK.names, colours)]


def _version() -> str:
    try:
        return metadata.version("marotte")
    except metadata.PackageNotFoundError:
        return ""
