"""`marotte camera`: from a WHEP server, or from this machine's own camera and engine, to a sink."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from engine.consent.doors import permit
from engine.errors import ConfigError, MarotteError, WorkerError
from engine.marks.lowering import note_lowered
from engine.session_log import Keeping, SessionLog
from engine.state import state_folder
from engine.types import Mode, Outcome
from engine.worker.interface import DriverKind, SessionSpec, SourceInfo, State, Worker
from engine.worker.supervisor import ProcessWorker
from streaming.camera.capture import Capture, Clip, Source
from streaming.camera.screen import Screen
from streaming.camera.sinks import Output, Sink, open_sink
from streaming.config import ServeConfig
from streaming.consent_watch import ConsentWatch
from streaming.consents import Consents
from streaming.kill import KillSwitch
from streaming.logged import logging_server
from streaming.metrics import Metrics
from streaming.remote.kept import Kept
from streaming.remote.places import Place
from streaming.remote.whip import WhepPull
from streaming.rtc import check_aiortc
from streaming.serve import add_first, check_first, read_source, worker_of
from streaming.session import Session
from streaming.signals import killed_by_signal
from streaming.sources import Sources
from streaming.trackers import Trackers
from streaming.uploads import Upload

LINGER_S: Final = 0.5
"""So long a clip's last picture is shown, which is on its way when the clip is over."""

_LOOK_S: Final = 0.1
_TELL_S: Final = 1.0

KILLED: Final = (
    "the operator has stopped all output; next step: marotte kill --release --why TEXT, then start it again"
)

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Local:
    """What is run here. source: the driver's frames; None: the demo, or the trackers of `config`. config: of a server
    that serves nobody: its worker, source and statement count. mode: None is the bundle's first."""

    config: ServeConfig
    source: Source | None = None
    mode: Mode | None = None

    @property
    def driver(self) -> DriverKind:
        if self.source is not None:
            return DriverKind.CAMERA
        return DriverKind.TRACKER if self.config.trackers else DriverKind.DEMO


def show_remote(place: Place, output: Output, *, insecure: bool, tell: Tell) -> None:
    """Show what a WHEP server sends until it is interrupted. tell: is given a line of how it goes once a second.
    Raises MarotteError where that server or the sink takes no more of it."""
    config = ServeConfig(pass_through=True, sound=False, remote_insecure=insecure)
    _run(output, lambda sink, switch: _remote(place, config, output, sink, switch, tell))


def show_local(local: Local, output: Output, *, tell: Tell) -> None:
    """The same of what is made here, until a clip that is played once is over."""
    capture = None if local.source is None else Capture(local.source)
    if capture is not None:
        capture.check()
    if isinstance(local.source, Clip) and local.mode is Mode.EDIT:  # who is in it is shown
        permit("live", [local.source.path], consent=local.config.consent)
    upload = read_source(local.config)
    note_lowered(local.config.marks, "camera")
    _run(output, lambda sink, switch: _local(local, capture, upload, output, sink, switch, tell))


def _run(output: Output, work: Callable[[Sink, KillSwitch], Awaitable[None]]) -> None:
    check_aiortc()

    async def run(sink: Sink, switch: KillSwitch) -> None:
        await work(sink, switch)

    with KillSwitch(state_folder(), what="camera", log=SessionLog()) as switch, killed_by_signal(switch):
        if switch.killed:  # before anything is opened
            raise WorkerError(KILLED)
        with closing(open_sink(output)) as sink, asyncio.Runner() as runner:
            runner.run(run(sink, switch))


class _Ends:
    """Whatever ends it first, from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._why: MarotteError | None = None

    def end(self, why: MarotteError | None) -> None:
        def told() -> None:
            self._why = self._why or why
            self._over.set()

        self._loop.call_soon_threadsafe(told)

    async def within(self, seconds: float) -> bool:
        """Whether it has ended by then. Raises what ended it."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        if self._why is not None:
            raise self._why
        return True


async def _local(
    local: Local,
    capture: Capture | None,
    upload: Upload,
    output: Output,
    sink: Sink,
    switch: KillSwitch,
    tell: Tell,
) -> None:
    config, metrics = local.config, Metrics()
    async with AsyncExitStack() as opened:
        journal = await opened.enter_async_context(logging_server(config, metrics.lines_logged, "camera"))
        consents = Consents(bundles=config.worker.bundles)
        await check_first(consents, config, upload, journal)
        worker = worker_of(config, None)
        opened.push_async_callback(asyncio.to_thread, worker.close)
        tell("the engine is starting")
        await _started(worker)
        sources = Sources(worker, metrics, within_s=config.worker.add_s, consents=consents)
        sources.journal = journal
        await add_first(sources, config, upload)
        ends = _Ends()
        screen = Screen(sink, output, ends.end, lambda: switch.killed)
        spec = SessionSpec(sources.first.id, local.driver, mode=local.mode)
        session = await _shown(
            opened,
            spec,
            config,
            worker,
            metrics,
            sources.first,
            sources.get,
            screen,
            ends,
            switch,
            consents,
            journal,
        )
        if capture is not None:
            opened.push_async_callback(asyncio.to_thread, capture.close)
            capture.start(session.arrived)
        trackers = Trackers(config.trackers, lambda: (session,))
        opened.push_async_callback(asyncio.to_thread, trackers.close)
        made = await _watch(session, screen, ends, tell, partial(_trouble, worker, capture), capture)
        if not made and output.kind == "file":
            raise WorkerError(
                "the clip was over before a picture was made of it, so the file shows the portrait at rest alone; next "
                "step: a longer clip with a face in it, or marotte render"
            )


async def _remote(
    place: Place, config: ServeConfig, output: Output, sink: Sink, switch: KillSwitch, tell: Tell
) -> None:
    metrics = Metrics()
    async with AsyncExitStack() as opened:
        worker = ProcessWorker(config.worker)  # never started: nothing is generated here
        still = _nobody()
        ends = _Ends()
        screen = Screen(sink, output, ends.end, lambda: switch.killed)
        spec = SessionSpec(still.id)
        session = await _shown(
            opened, spec, config, worker, metrics, still, lambda id: None, screen, ends, switch
        )
        kept = Kept("pull", place, lambda: WhepPull(place, config), _Seat(session), metrics)
        opened.push_async_callback(kept.close)
        kept.start()
        await _watch(session, screen, ends, tell, partial(_remote_trouble, kept), None)


async def _shown(
    opened: AsyncExitStack,
    spec: SessionSpec,
    config: ServeConfig,
    worker: Worker,
    metrics: Metrics,
    still: SourceInfo,
    sources: Callable[[str], SourceInfo | None],
    screen: Screen,
    ends: _Ends,
    switch: KillSwitch,
    consents: Consents | None = None,
    journal: Keeping | None = None,
) -> Session:
    """A session whose pictures go to the screen alone."""

    def closed(id: str, reason: str) -> None:
        ends.end(None if reason == "stopped" else WorkerError(f"the session has ended ({reason})"))

    session = Session(
        spec,
        config=config,
        worker=worker,
        recorder=metrics,
        still=still,
        sources=sources,
        closed=closed,
        pictures=screen,
        killed=lambda: switch.killed,
        consents=consents,
    )
    opened.callback(switch.watch(lambda killed: ends.end(WorkerError(KILLED)) if killed else None))
    session.lines.journal = journal or session.lines.journal
    opened.push_async_callback(asyncio.to_thread, screen.join)
    opened.push_async_callback(session.close, "shutdown")
    await session.open()
    if consents is not None:
        watching = asyncio.ensure_future(ConsentWatch(lambda: (session,), consents).watch())
        opened.callback(watching.cancel)
    screen.start()
    return session


async def _started(worker: Worker) -> None:
    worker.start()
    while (status := worker.status()).state is not State.READY:
        if status.state in (State.FAILED, State.CLOSED):
            raise WorkerError(status.detail or "the worker could not be started; run: marotte doctor")
        await asyncio.sleep(_LOOK_S)


async def _watch(
    session: Session,
    screen: Screen,
    ends: _Ends,
    tell: Tell,
    trouble: Callable[[], str],
    capture: Capture | None,
) -> bool:
    """Until it ends, telling how it goes. False where a clip is over of which no picture was made."""
    told_s, made = -_TELL_S, False
    while not await ends.within(_LOOK_S):
        made = made or session.report()["outcome"] == Outcome.GENERATED.value
        if capture is not None and capture.over.is_set():
            await ends.within(LINGER_S)
            return made or session.report()["outcome"] == Outcome.GENERATED.value
        now = time.monotonic()
        why = trouble()
        if now - told_s >= _TELL_S:
            told_s = now
            tell(_line(session.report(), screen, why))
    return True


def _line(report: dict[str, Any], screen: Screen, why: str) -> str:
    age = report["age_ms"]
    aged = f"age {age['p50']:.0f} ms (p95 {age['p95']:.0f})" if age else "age -"
    outcome, reason = report["outcome"], report["reason"]
    shown = (
        "live" if outcome in ("generated", "pass_through") else f"{outcome} ({reason})" if reason else outcome
    )
    line = (
        f"{report['fps_in']:4.1f} fps in, {report['fps_out']:4.1f} made, {screen.sent} sent, {aged}, {shown}"
    )
    return f"{line}; {why}" if why else line


def _trouble(worker: Worker, capture: Capture | None) -> str:
    """What is wrong now and may pass. Raises WorkerError for what does not."""
    status = worker.status()
    if status.state is State.FAILED:
        raise WorkerError(status.detail or "the worker failed; run: marotte doctor")
    if status.state is not State.READY:
        return "the engine starts again"
    return capture.why if capture is not None else ""


def _remote_trouble(kept: Kept) -> str:
    if kept.state == "stopped":
        raise ConfigError(kept.why or "the other server takes no more")
    return "" if kept.state == "up" else kept.why or kept.state


class _Seat:
    """The one session of a pull (streaming.remote.kept.Seat)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def there(self) -> None:
        """At once."""

    async def open(self) -> Session:
        return self._session

    def lost(self) -> None:
        """The screen turns grey by itself."""

    async def close(self) -> None:
        """Nothing is held."""


def _nobody() -> SourceInfo:
    """Of a session in which nothing is generated."""
    from engine.fallback import grey
    from engine.media.planes import i420_of

    return SourceInfo("nobody", "nobody", (64, 64), 0, i420_of(grey((64, 64))))
