"""A server without an engine behind it, and a client that says exactly what it is told to."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import numpy as np

from engine.types import Mode
from engine.worker.interface import BundleInfo, SourceInfo, State, Worker, WorkerStatus
from streaming.app import create_app
from streaming.calls import OpenPeer
from streaming.config import ServeConfig
from streaming.consents import Stated
from streaming.enrolment import Enrolments
from streaming.kill import KillSwitch
from streaming.listen import bind, listening
from streaming.measured import NoRecorder
from streaming.rtc_ice import Own
from streaming.session import Session
from streaming.sources import Sources
from streaming.uploads import Upload

TOKEN = "a-token-of-the-tests"
DATA = Path(__file__).with_name("data")
SDP = (DATA / "chromium_camera.sdp").read_text(encoding="utf-8").replace("\n", "\r\n")


class FakeWorker:
    """Accepts every source at once, unless `prepare` is set to something else."""

    def __init__(self) -> None:
        self.state = State.READY
        self.sources: dict[str, SourceInfo] = {}
        self.dropped: list[str] = []
        self.prepare: Callable[[SourceInfo, Future[SourceInfo]], None] = lambda info, future: (
            future.set_result(info)
        )

    def status(self) -> WorkerStatus:
        return WorkerStatus(self.state, {}, "as the test wants it")

    def bundles(self) -> tuple[BundleInfo, ...]:
        return (
            BundleInfo("mesh_flow", "Mesh flow", "mesh_flow", "Apache-2.0"),
            BundleInfo(
                "swap", "A swap", "geogan", "CC0-1.0", (Mode.EDIT,), frozenset({Mode.EDIT}), False, True
            ),
        )

    def add_source(self, data: bytes, name: str) -> Future[SourceInfo]:
        future: Future[SourceInfo] = Future()
        still = np.full((48, 32), 128, np.uint8)
        info = SourceInfo(hashlib.sha256(data).hexdigest(), name, (32, 32), 1, still)
        self.sources[info.id] = info
        self.prepare(info, future)
        return future

    def drop_source(self, source: str) -> None:
        self.dropped.append(source)


class FakeIce:
    """Begins anew under names that count, and remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self._begun = 0

    def add(self, candidates: list[str], *, ended: bool = False) -> None:
        self.told.append((candidates, ended))

    async def begin(self) -> Own:
        self._begun += 1
        await asyncio.sleep(0.01)
        return Own(f"own{self._begun}", "x" * 22, ("a=candidate:1 1 udp 1 10.0.0.1 5000 typ host",))

    def turn_to(self, ufrag: str, password: str, candidates: list[str], *, ended: bool = False) -> None:
        self.told.append((ufrag, password, candidates, ended))


class _Parts(SimpleNamespace):
    __hash__ = object.__hash__


class FakePeers:
    """Opens peers that do nothing on sessions that never open, and remembers them."""

    def __init__(self) -> None:
        self.offers: list[Any] = []
        self.closed: list[tuple[str, str]] = []
        self.sessions: dict[str, Session] = {}
        self.ices: dict[str, FakeIce] = {}
        self.fails: Exception | None = None
        self.hold = False

    async def __call__(self, offer: Any, session: Session, sections: Any, **given: Any) -> Any:
        if self.fails is not None:
            raise self.fails
        if self.hold:
            await asyncio.Event().wait()
        self.offers.append(offer)
        self.sessions[session.id] = session

        async def hang_up(reason: str) -> None:
            self.closed.append((session.id, reason))

        answer = SimpleNamespace(sdp="v=0\r\n", type="answer")
        self.ices[session.id] = FakeIce()
        peer: Any = _Parts(session=session, answer=answer, hang_up=hang_up, ice=self.ices[session.id])
        session.link(peer)
        return peer


class Counting(NoRecorder):
    """Keeps what was turned away and what was added."""

    def __init__(self) -> None:
        self.turned_away: list[str] = []
        self.added: list[str] = []

    def refused(self, reason: str) -> None:
        self.turned_away.append(reason)

    def source_added(self, outcome: str) -> None:
        self.added.append(outcome)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def session(self) -> str:
        """Of an offer's answer."""
        return str(self.headers["Location"]).rpartition("/")[2]

    @property
    def error(self) -> tuple[str, str]:
        """(kind, message), after a look at the rules that every error keeps."""
        if self.headers["Content-Type"].startswith("application/problem+json"):
            assert self.json["status"] == self.status
            kind, message = self.json["title"], self.json["detail"]
        else:
            (content,) = self.json.values()
            kind, message = content["kind"], content["message"]
        assert "\n" not in message
        return kind, message


@dataclass(slots=True)
class Site:
    """A running server and what is behind it."""

    port: int
    worker: Any
    peers: FakePeers
    recorder: Counting
    sources: Sources
    loop: asyncio.AbstractEventLoop
    extra: dict[str, Any] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        *,
        token: str | None = TOKEN,
        host: str | None = None,
        headers: dict[str, str] | list[tuple[str, str]] = (),  # type: ignore[assignment]
        address: str = "127.0.0.1",
        within_s: float = 20,
    ) -> Answer:
        """One request on a connection of its own. token: as Bearer; host: the Host header, right when None."""
        connection = http.client.HTTPConnection(address, self.port, timeout=within_s)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        given = list(headers.items() if isinstance(headers, dict) else headers)
        if host != "":
            given.insert(0, ("Host", host or f"127.0.0.1:{self.port}"))
        if token is not None:
            given.append(("Authorization", f"Bearer {token}"))
        if isinstance(body, bytes):
            given.append(("Content-Length", str(len(body))))
        elif body is not None:
            given.append(("Transfer-Encoding", "chunked"))
        for name, value in given:
            connection.putheader(name, value)
        try:
            connection.endheaders()
            _send(connection, body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, path: str, content: Any, **options: Any) -> Answer:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", path, body, **options)

    def offer(self, asked: dict[str, Any] | None = None, **options: Any) -> Answer:
        """POST /whip; asked: its options by name, and the `sdp` where it is another."""
        given = dict(asked or {})
        body = str(given.pop("sdp", SDP)).encode()
        given |= {name: ",".join(value) for name, value in given.items() if isinstance(value, list)}
        headers = {"Content-Type": "application/sdp"} | options.pop("headers", {})
        return self.ask("POST", f"/whip?{urlencode(given)}", body, headers=headers, **options)

    def run(self, work: Any) -> Any:
        """A coroutine's result, run on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)


def _send(connection: http.client.HTTPConnection, body: bytes | Iterator[bytes] | None) -> None:
    try:
        if isinstance(body, bytes):
            connection.send(body)
        elif body is not None:
            for part in body:
                connection.send(b"%x\r\n%b\r\n" % (len(part), part))
            connection.send(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before it was sent: the answer is there


@contextmanager
def open_site(
    config: ServeConfig | None = None,
    *,
    worker: Worker | None = None,
    first: bytes | None = b"the first source",
    host: str = "127.0.0.1",
    port: int = 0,
    open_peer: OpenPeer | None = None,
    enrolments: Enrolments | None = None,
    switch: KillSwitch | None = None,
) -> Iterator[Site]:
    """A server in a thread of its own. MAROTTE_STATE has to name a folder of the test's."""
    opened = bind(host, port)
    # By count: what else the machine does is not the tests'.
    config = replace(config or ServeConfig(), admission="count", port=opened.getsockname()[1], host=host)
    behind: Any = worker or FakeWorker()
    peers, recorder = FakePeers(), Counting()
    ready: Future[Site] = Future()
    stop = threading.Event()

    async def run() -> None:
        sources = Sources(behind, recorder, within_s=config.worker.add_s)
        app = create_app(
            config,
            behind,
            recorder,
            sources,
            TOKEN,
            render=lambda: b"up 1\n",
            open_peer=open_peer or peers,
            enrolments=enrolments,
            switch=switch,
        )
        async with listening(app, opened):
            if first is not None:
                await sources.add(Upload(first, "first.png"), Stated("generated", "the tests allow it"))
            recorder.added.clear()
            loop = asyncio.get_running_loop()
            ready.set_result(Site(config.port, behind, peers, recorder, sources, loop))
            await asyncio.to_thread(stop.wait)

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield ready.result(30)
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
