"""One server, from its start to its end: the loop, the worker, the first source, the sockets and the signals."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from engine.config import file_path, known
from engine.consent.hashes import hashes_of
from engine.consent.words import shown_name
from engine.errors import ConfigError, MarotteError, WorkerError
from engine.generators import moves_bodies, person_folder
from engine.marks.lowering import note_lowered
from engine.media.limits import Limits
from engine.sample import sample_portrait
from engine.session_log import Event, Keeping, SessionLog
from engine.several import ACCEPTANCE
from engine.several import MOST_SOURCES as MOST_PICTURES
from engine.state import state_folder
from engine.worker.interface import State, Worker, WorkerConfig, WorkerStatus
from engine.worker.pictures import Picture
from engine.worker.tools import Tools
from streaming.app import CALLS, create_app, create_metrics_app
from streaming.calls import Calls
from streaming.config import MOST_UPLOAD_BYTES, ServeConfig
from streaming.consents import BY_STATEMENT, Consents, Stated
from streaming.doors import EVERY_ADDRESS, RefusedError, in_url
from streaming.enrolment import Enrolments
from streaming.hardware import chosen
from streaming.kill import KillSwitch
from streaming.listen import bind, listening
from streaming.logged import logging_server
from streaming.metrics import Metrics
from streaming.once import OneTimeCode
from streaming.own_person import upload_of
from streaming.rtc import check_aiortc
from streaming.signals import killed_by_signal, stopped_by_signals
from streaming.sources import Sources
from streaming.uploads import Upload, joined

_log = logging.getLogger("marotte.serve")
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Served:
    """A server that can be opened. url: with the token in it. metrics_url: None without a port of its own.
    stop: ends it, from any thread. passing: an address for the command line of a browser, with a new code that opens
    the page once (streaming/once.py)."""

    url: str
    token: str
    port: int
    metrics_url: str | None
    stop: Callable[[], None]
    passing: Callable[[], str]


def serve(
    config: ServeConfig, *, tools: Tools | None = None, ready: Callable[[Served], None] | None = None
) -> None:
    """Serve until SIGINT, SIGTERM, SIGHUP or `Served.stop`; then everything is ended and freed. After SIGTERM no
    session is opened, and those that are open go on for `drain_s` at most, or until a second signal.

    Prints the address once it can be opened, with the token unless that stands elsewhere, and calls `ready` then, on
    the event loop. In a thread that is not the main one signals are left to the caller. Raises PortTakenError or
    another MarotteError where it cannot start, and KeyboardInterrupt where it was interrupted before it could be
    opened; nothing is left running then either.
    """
    _check_no_loop()
    (tools or Tools()).check(config.worker)
    with (
        closing(
            bind(config.host, config.port)
        ) as opened,  # first: who has the port open already is told at once
        KillSwitch(state_folder(), log=SessionLog(config.log_folder)) as switch,
        killed_by_signal(switch),
        asyncio.Runner(loop_factory=_loop_factory()) as runner,
    ):
        check_aiortc()
        source = read_source(config)
        loop, ending = runner.get_loop(), _Ending(config.drain_s)

        def stop() -> None:
            _call(loop, ending.now)

        def leave() -> None:
            _call(loop, ending.gently)

        # Before the runner takes SIGINT for itself, which it leaves to a handler that is there already.
        with stopped_by_signals(stop, leave):
            was_open = runner.run(_Server(config, tools, ready, switch).run(opened, source, ending, stop))
    if not was_open:
        raise KeyboardInterrupt


class _Ending:
    """How a server is asked to end. begun: at all. over: without waiting for anybody."""

    def __init__(self, drain_s: float) -> None:
        self.begun, self.over = asyncio.Event(), asyncio.Event()
        self._drain_s = drain_s

    def now(self) -> None:
        self.over.set()
        self.begun.set()

    def gently(self) -> None:
        """The second time it is meant."""
        if self.begun.is_set() or not self._drain_s:
            self.over.set()
        self.begun.set()


def _check_no_loop() -> None:
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise ConfigError(
            "serve: called on a running event loop, as in a notebook; call it in a thread of its own"
        )


def served_as(source: object, options: Mapping[str, Any]) -> ServeConfig:
    """The configuration of a server from the fields of ServeConfig and of WorkerConfig by name; source may be several
    photos of one person. Raises ConfigError."""
    own, workers = ({field.name for field in fields(kind)} for kind in (ServeConfig, WorkerConfig))
    own -= {"worker", "source", "further"}
    for name in options:
        known(name, own | workers, "option")
    worker = WorkerConfig(**{name: value for name, value in options.items() if name in workers})
    given = source if isinstance(source, (list, tuple)) else [] if source is None else [source]
    pictures = tuple(file_path("source", one) for one in given)
    first, further = next(iter(pictures), None), pictures[1:]
    return ServeConfig(
        source=first,
        further=further,
        worker=worker,
        **{name: value for name, value in options.items() if name in own},
    )


def read_source(config: ServeConfig) -> Upload:
    """Before anything is started for it. Where none is named it is the person that the first bundle holds, or the
    sample."""
    if config.source is None and (person := _person(config)) is not None:
        return upload_of(person, person.name, config.worker.accept)
    paths = (config.source or sample_portrait(), *config.further)
    if len(paths) > MOST_PICTURES:
        raise ConfigError(f"source: got {len(paths)} photos, expected at most {MOST_PICTURES} of one person")
    files = []
    for path in paths:
        with Limits(file_bytes=MOST_UPLOAD_BYTES).open_file(path) as file:
            files.append(Picture(shown_name(Path(path).name), file.read()))
    return joined(files, None, config.worker.accept & {ACCEPTANCE})


def _person(config: ServeConfig) -> Path | None:
    """The first bundle's folder, where it holds a person whose face moves: one whose body does is no source."""
    first = config.worker.bundles[0]
    return None if moves_bodies(first) else person_folder(first)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:  # it does not exist for Windows
        return None
    return uvloop.new_event_loop


class _Server:
    """What one call of `serve` holds."""

    def __init__(
        self,
        config: ServeConfig,
        tools: Tools | None,
        ready: Callable[[Served], None] | None,
        switch: KillSwitch,
    ) -> None:
        self._config, self._tools, self._ready, self._switch = config, tools, ready, switch
        self._token = config.token or secrets.token_urlsafe(32)
        self._metrics = Metrics()
        self._calls: Calls | None = None

    async def run(
        self, opened_socket: socket.socket, source: Upload, ending: _Ending, stop: Callable[[], None]
    ) -> bool:
        """Whether it could be opened before it was stopped."""
        asyncio.get_running_loop().set_default_executor(
            ThreadPoolExecutor(4 + 2 * self._config.worker.sessions, thread_name_prefix="marotte-net")
        )
        async with AsyncExitStack() as opened:
            served = await _unless(ending.begun, self._open(opened, opened_socket, source, stop))
            if served is None:
                return False
            self._tell(served)
            await ending.begun.wait()
            if self._calls is not None and self._calls.count and not ending.over.is_set():
                _log.warning("no new sessions; those that are open end within %g s", self._config.drain_s)
                await _first(ending.over.wait(), self._calls.drain(self._config.drain_s))
        return True

    async def _open(
        self,
        opened: AsyncExitStack,
        opened_socket: socket.socket,
        source: Upload,
        stop: Callable[[], None],
    ) -> Served:
        encoder = await asyncio.to_thread(chosen, self._config.encoder)
        config = replace(
            self._config, port=opened_socket.getsockname()[1], token=self._token, encoder=encoder
        )
        metrics_socket = None if config.metrics_port is None else bind(_LOOPBACK, config.metrics_port)
        if metrics_socket is not None:
            opened.callback(metrics_socket.close)
        journal = await opened.enter_async_context(logging_server(config, self._metrics.lines_logged))
        await asyncio.to_thread(note_lowered, config.marks, "serve")
        self._metrics.marks(config.marks.on)
        consents = Consents(bundles=config.worker.bundles)
        await check_first(consents, config, source, journal)
        worker = worker_of(config, self._tools)
        opened.push_async_callback(asyncio.to_thread, worker.close)
        sources = Sources(worker, self._metrics, within_s=config.worker.add_s, consents=consents)
        once, enrolments = OneTimeCode(), None
        if config.enrol:
            enrolments = Enrolments(config, worker, self._metrics, consents=consents)
            opened.push_async_callback(asyncio.to_thread, enrolments.close)
        app = create_app(
            config,
            worker,
            self._metrics,
            sources,
            self._token,
            render=self._metrics.render,
            once=once,
            enrolments=enrolments,
            switch=self._switch,
            journal=journal,
        )
        self._calls = app[CALLS]
        await opened.enter_async_context(listening(app, opened_socket))
        metrics_url = None
        if metrics_socket is not None:
            port = metrics_socket.getsockname()[1]
            metrics_app = create_metrics_app(port, self._metrics, self._metrics.render)
            await opened.enter_async_context(listening(metrics_app, metrics_socket))
            metrics_url = f"http://{_LOOPBACK}:{port}/metrics"
        await self._start(worker, enrolments)
        await add_first(sources, config, source)
        if enrolments is not None:
            await asyncio.to_thread(enrolments.start)
        host = _reachable(config.host)
        page = f"http://{host}:{config.port}/"
        url = f"{page}?token={quote(self._token, safe='')}"
        return Served(url, self._token, config.port, metrics_url, stop, lambda: f"{page}?code={once.issue()}")

    async def _start(self, worker: Worker, enrolments: Enrolments | None) -> None:
        """Until it is ready, and what persons are enrolled by is looked at meanwhile. Raises WorkerError when it
        cannot be, and what the look raises."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def told(status: WorkerStatus) -> None:
            self._metrics.worker(status)
            _call(loop, changed.set)

        worker.on_status(told)
        _log.info("the engine is starting")
        worker.start()
        if enrolments is not None:
            await asyncio.to_thread(enrolments.check)
        while (status := worker.status()).state is not State.READY:
            if status.state in (State.FAILED, State.CLOSED):
                raise WorkerError(status.detail or "the worker could not be started; run: marotte doctor")
            await changed.wait()
            changed.clear()
        self._metrics.worker(status)
        self._metrics.offer(worker.bundles())

    def _tell(self, served: Served) -> None:
        if not self._config.loopback:
            _log.warning(
                "this server can be reached from other machines by whoever has its token; what passes is not "
                "encrypted, and browsers give their camera only to localhost or https: put a proxy with TLS before "
                "it, and name that with --host-name"
            )
        if self._config.pass_through:
            _log.warning("pass-through: the driver's own picture is sent back, nothing is generated")
        if self._config.worker.edit:
            _log.warning("edit: the driver's own picture, edited, is sent back where a page asks for it")
        if served.metrics_url:
            _log.info("metrics on %s", served.metrics_url)
        place = self._config.token_place
        told = f"{served.url.partition('=')[0]}=TOKEN with the token of {place}" if place else served.url
        print(f"marotte: open {told}", flush=True)
        if self._ready is not None:
            self._ready(served)


def worker_of(config: ServeConfig, tools: Tools | None) -> Worker:
    """In threads of this process or in one of its own, as the configuration has it; not started."""
    if config.in_process:
        from engine.worker.local import LocalWorker

        return LocalWorker(config.worker, tools)
    from engine.worker.supervisor import ProcessWorker

    return ProcessWorker(config.worker, tools)


async def check_first(consents: Consents, config: ServeConfig, source: Upload, journal: Keeping) -> None:
    """That the operator's source may be shown, before an engine is started for it; who allows it by an option is
    recorded when it was prepared. Raises MarotteError."""
    if config.consent is not None or config.statement is not None:
        return
    try:
        await asyncio.to_thread(_check_first, consents, source)
    except MarotteError as error:
        journal.tell(Event.SOURCE_REFUSED, why=type(error).__name__)
        raise


def _check_first(consents: Consents, source: Upload) -> None:
    name = shown_name(source.name)
    found = hashes_of(source.data, name)
    consents.know(found.source, found.pictures, source.bundle)
    if not consents.visible(found.source):
        consents.check(found.source, "live", name)


async def add_first(sources: Sources, config: ServeConfig, source: Upload) -> None:
    """Have the operator's source prepared. Raises MarotteError."""
    says = None
    if config.consent is not None or config.statement is not None:
        says = Stated(config.consent or BY_STATEMENT, config.statement)
    try:
        await sources.add(source, says)
    except RefusedError as error:
        raise WorkerError(str(error)) from error


def _reachable(host: str) -> str:
    """As it stands in an address that this or another machine can open."""
    return in_url(_own_address() if host in EVERY_ADDRESS else host)


def _own_address() -> str:
    """Of the interface towards the net; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking, suppress(OSError):
        asking.connect(("192.0.2.1", 9))  # reserved for documentation
        return str(asking.getsockname()[0])
    return _LOOPBACK


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Served]) -> Served | None:
    """The result of `work`; None when `stop` came first, and then `work` was cancelled."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        return None
    return working.result()


async def _first(*works: Coroutine[Any, Any, object]) -> None:
    """Until one of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _call(loop: asyncio.AbstractEventLoop, what: Callable[[], object]) -> None:
    """From any thread or signal handler; a loop that has ended needs no telling."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(what)
