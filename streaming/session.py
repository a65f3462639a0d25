"""One session of the worker and everything that is its own, but for the connections that it is driven and seen by."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import av

from engine.acting import packed
from engine.consent import Record
from engine.drivers import mediapipe
from engine.errors import ConfigError, StateError, WorkerError
from engine.session_log import Keeping, NoJournal
from engine.types import U8, Mode
from engine.worker import heap
from engine.worker.acted import NOBODY
from engine.worker.changes import checked, parse, settled
from engine.worker.interface import BundleInfo, DriverKind, SessionSpec, SourceInfo, Worker, held_by
from streaming import logged
from streaming.broadcast import Broadcast
from streaming.coach import CameraCoach
from streaming.config import ServeConfig
from streaming.consents import NEXT, Consents, use_of
from streaming.echo import Echo
from streaming.intake import Intake
from streaming.load import Seen
from streaming.measured import Recorder
from streaming.outlet import Outlet
from streaming.pacing import EnginePace
from streaming.reports import Tally
from streaming.rest import Again, Rest
from streaming.self_check import Checked
from streaming.sound import SoundLine
from streaming.tracks import Pictures
from streaming.withholding import Needs, Withholding

_GREY_S = 0.5  # for whoever begins to watch meanwhile
_NO_DONOR = "donors: not all of them are there any more; send the pictures again"
_MOST_TOLD = 8
_ASKS_CONSENT = frozenset({"source", "bundle", "mode", "donors"})
"""Changes that turn to other people."""
_log = logging.getLogger(__name__)


async def _nothing_stated() -> None:
    return None


class Link(Protocol):
    """What a session is driven or seen by, and what ends with it: a connection, or a socket."""

    async def hang_up(self, reason: str) -> None:
        """Free all of it, in bounded time. More than once is allowed."""
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """What a session's pictures are made of. bundle: empty in pass-through, mode None. source: of a puppet, its id, or
    what the person that the bundle holds is called; an edit's is the driver. donors: their ids."""

    bundle: str
    mode: Mode | None
    source: str | None
    donors: tuple[str, ...]


class Session:
    """From its opening to its end. All of it runs on the event loop unless it says otherwise.

    It knows no connection: whatever drives it gives frames to `arrived` and changes to `change`, whatever shows it
    takes its pictures from `broadcast` and its sound from `sound`, and all of them are its links, which end with it. It
    tells the recorder of its beginning and its end.

    spec: what it is opened with. camera: whether frames can come. still: the source that is shown first. sources: finds
    another by id, from any thread. donors: keeps the sources of these ids for this session, in place of those before,
    and tells whether all are there. closed: called once with (id, reason) when the session ended by itself and
    everything of it was freed: "stopped", "connection". stream: the name that viewers know it by, its id where that is
    empty. pictures: where they leave in place of the broadcast, which nobody watches then. killed: whether nothing may
    leave at all (streaming.kill). consents: by which
    they may be shown; None asks for none, where nobody is. Raises ConfigError for a spec that cannot be followed, and
    ConsentError where nobody's consent to it holds.
    """

    def __init__(
        self,
        spec: SessionSpec,
        *,
        config: ServeConfig,
        worker: Worker,
        recorder: Recorder,
        still: SourceInfo,
        sources: Callable[[str], SourceInfo | None],
        closed: Callable[[str, str], None],
        donors: Callable[[Collection[str]], bool] = lambda ids: True,
        camera: bool = True,
        stream: str = "",
        pictures: Pictures | None = None,
        killed: Callable[[], bool] = lambda: False,
        consents: Consents | None = None,
    ) -> None:
        self._config, self._worker, self._still = config, worker, still
        if not config.pass_through:
            spec = settled(checked(spec), worker.bundles(), edit=config.worker.edit)
            if not donors(spec.donors):
                raise ConfigError(_NO_DONOR)
        self._outlet: Outlet | None = None
        needs = Needs(spec.bundle, spec.mode or Mode.PUPPET, still.id, spec.donors)
        asked = None if config.pass_through else consents
        self._withholding = Withholding(asked, use_of(stream), needs, worker.bundles, lambda: self._outlet)
        self.id = secrets.token_hex(12)
        self.stream = stream or self.id
        self.recorder = recorder
        self.tally = Tally(recorder)
        self.broadcast = Broadcast(self.id, self.tally, config.encoder, killed)
        """Its pictures, for all who watch."""
        self._pictures = pictures or self.broadcast
        self.sound = SoundLine(self.tally, killed=killed) if config.sound else None
        """The driver's, for all who listen; None where the operator allows none."""
        if self.sound is not None:
            self.tally.tell_left(self.sound.picture_left)
        self.arrived: Callable[[av.VideoFrame, float], None]
        """Takes a decoded frame of the driver and the time (perf_counter) of its first packet, in any one thread; there
        once it is open."""
        self._spec, self._camera = spec, camera
        self._sources, self._donors, self._closed = sources, donors, closed
        self._killed = killed
        self._kind = ("", Mode.PUPPET)
        self._pace = EnginePace(config.latency_s, self.id, worker, self.tally, lambda: self._kind[0])
        self._opened = False
        self._opened_s = time.monotonic()
        self.ends_in_s: Callable[[], float | None] = lambda: None
        """Until the server ends it, where it drains."""
        self.state: Callable[[], Awaitable[dict[str, Any] | None]] = _nothing_stated
        """What is stated of it, signed (streaming.statement); another one whenever that has changed."""
        self.journal: Keeping = NoJournal()
        """Where its start and its end are kept."""
        self._logged = False
        self.recorded: Callable[[], dict[str, Any] | None] = lambda: None
        """Its recording, where there is one, as docs/live.md has it."""
        self._given = spec.donors
        self._links: dict[Link, Callable[[], dict[str, Any]] | None] = {}
        self._ending: asyncio.Task[None] | None = None
        self._intake: Intake | None = None
        self._echo: Echo | None = None
        self._coach = CameraCoach()
        self._check = Checked(
            asked,
            lambda on: worker.change(self.id, {"self_check": on}),
            lambda: self._intake is not None and self._intake.mirror,
        )
        self._shut, self._resumed = False, spec.driver
        self._rest: Again | None = None

    @property
    def spec(self) -> SessionSpec:
        """What it was opened with, settled."""
        return self._spec

    @property
    def shown(self) -> Shown:
        """What it is made of now."""
        if self._config.pass_through:
            return Shown("", None, None, ())
        bundle, mode = self._kind
        source = None if mode is Mode.EDIT else self._moved(bundle)
        return Shown(bundle, mode, source, self._given)

    def _moved(self, bundle: str) -> str:
        """Whom a puppet of this bundle shows."""
        own = held_by(bundle)
        return self._still.id if self._sources(own) is None else own

    @property
    def in_use(self) -> frozenset[str]:
        """What needs consent of what it shows, or may still show: ids of sources, and its bundle as `held_by` names
        it."""
        return self._withholding.in_use

    @property
    def withheld(self) -> str:
        """Why plain grey stands in place of its picture; empty where it does not."""
        return self._withholding.why

    def consent(self) -> tuple[Record, ...]:
        """The records by which whoever it shows is shown. Blocks."""
        return self._withholding.records()

    def withhold(self, asked: Collection[str], faults: Mapping[str, str]) -> None:
        """See Withholding.hear."""
        before = self.withheld
        self._withholding.hear(asked, faults)
        if self.withheld and not before:
            _log.warning("session %s: its picture is withheld: %s", self.id, self.withheld)
            logged.session_withheld(self.journal, self.id)

    @property
    def over(self) -> bool:
        """Whether its end has begun: nothing leaves any more."""
        return self._ending is not None

    @property
    def killed(self) -> bool:
        """Whether the operator's switch holds."""
        return self._killed()

    def silent(self) -> bool:
        """Whether not one packet of it may leave now; from any thread."""
        return self.over or self._killed()

    @property
    def unfailing(self) -> bool:
        """Whether pictures leave as long as it is open, whatever comes in; an echo has none without frames."""
        return self._outlet is not None

    async def open(self) -> None:
        """Open it in the worker, and show what is safe. Raises WorkerError where the worker takes none, and StateError
        where its start cannot be logged; `close` is to be called then."""
        await self._log_start()
        if self._config.pass_through:
            self._echo = Echo(self._pictures, self.tally)
            self.arrived = self._echo.arrived
        else:
            await self._open_worker()
        self._opened = True
        self.tally.session_opened(self._spec.driver.value)

    async def _log_start(self) -> None:
        """What cannot be logged is not begun."""
        spec, driver = self._spec, self._spec.driver.value
        self._logged = True  # whoever gives up waiting leaves a line behind, which wants its end
        try:
            if self._config.pass_through:
                await logged.session_started(self.journal, self.id, driver=driver, mode=logged.PASS_THROUGH)
                return
            mode = spec.mode or Mode.PUPPET
            shown = self._withholding.needed
            records = await asyncio.to_thread(self._withholding.records)
            await logged.session_started(
                self.journal, self.id, driver=driver, mode=mode.value, bundle=self._info(spec.bundle),
                sources=shown, consent=[one.id for one in records],
            )  # fmt: skip
        except StateError:
            self._logged = False
            raise

    def _info(self, bundle: str) -> BundleInfo | None:
        return next((one for one in self._worker.bundles() if one.name == bundle), None)

    async def _open_worker(self) -> None:
        spec = self._spec
        self._kind = bundle, mode = spec.bundle, spec.mode or Mode.PUPPET
        side, marks = self._config.worker.side, self._config.marks
        opening = partial(Outlet, bundle=bundle, mode=mode, side=side, marks=marks)
        self._outlet = outlet = await asyncio.to_thread(
            opening, self.id, self._still, self._pictures, self.tally, self._sources, self._why
        )
        self._intake = Intake(
            self.id, self._worker, outlet, self.tally, driver=spec.driver, thinning=self._pace.thinning
        )
        self.arrived = self._intake.arrived
        self._worker.open(self.id, spec, self._check.hearing(self._coach.hearing(outlet.deliver)))
        outlet.start()
        self._pace.begin()
        self.tally.showing(self.id, *self._told_kind)

    def seen(self) -> Seen:
        """What its cost is measured by."""
        if self._outlet is not None:
            size, paused = self._outlet.size, self._outlet.paused
        else:
            size, paused = (self._echo and self._echo.size) or (0, 0), bool(self._echo and self._echo.paused)
        quiet = paused or not self.broadcast.watched
        worked = self.tally.work.told()
        return Seen(self.id, self._kind[0], size[0] * size[1], quiet, self._opened_s, worked)

    @property
    def viewers(self) -> int:
        """How many watch it, but for whoever drives it."""
        return sum(report is not None for report in self._links.values())

    def link(self, link: Link, report: Callable[[], dict[str, Any]] | None = None) -> None:
        """Have it end with this session. report: of a viewer, what stands of it in the session's. Raises WorkerError
        where that has begun."""
        if self.over:
            raise WorkerError("session: it has ended; open another one")
        self._links[link] = report

    def unlink(self, link: Link) -> None:
        """It has ended by itself, and the session goes on."""
        self._links.pop(link, None)

    async def close(self, reason: str) -> None:
        """End it and free all of it; returns when it is done. More than once is allowed. reason: one of
        measured.Recorder.session_closed."""
        await asyncio.shield(self._end(reason))

    def end_by_itself(self, reason: str) -> None:
        """The same, begun by what belongs to it: `closed` is told."""
        if self._ending is None:
            self._end(reason).add_done_callback(lambda _: self._closed(self.id, reason))

    def passed_over(self, frames: int) -> None:
        """So many of the driver's frames were replaced by newer ones before they arrived; from any thread."""
        for _ in range(frames):
            self.tally.frame_dropped("replaced")

    def change(self, change: object) -> int:
        """As Worker.change, after a look at what only the network's side knows. Called by the control channel, as the
        five below are."""
        if not isinstance(change, dict):
            raise ConfigError("change: expected an object")
        if "self_check" in change:
            raise ConfigError("change: a self check is a message of its own")
        if self._intake is None:
            raise ConfigError("change: nothing is generated in pass-through")
        driver = change.get("driver")
        if driver is not None and self._shut:
            raise ConfigError("driver: the camera is off; turn it on first")
        if driver == DriverKind.CAMERA.value and not self._camera:
            raise ConfigError("driver: this call was opened without a camera; start it again with one")
        still = self._named(change.get("source"))
        donors = parse({"donors": change["donors"]}).donors if "donors" in change else None
        if donors is not None and not self._donors(donors):
            raise ConfigError(_NO_DONOR)
        turned = bool(change.keys() & _ASKS_CONSENT)
        needs = Needs(*self._kind_by(change), still.id, self._given if donors is None else donors)
        if turned:
            self._withholding.check(needs)
        number = self._worker.change(self.id, change)
        self._given = self._given if donors is None else donors
        if driver is not None:
            self._intake.driver = DriverKind(driver)
        self._still = still
        if turned:
            self._withholding.turn(needs, number)
            self._check.end()
        self._turn(change, number)
        self._pace.changed(change)
        if turned:
            self._log_change()
        return number

    def _log_change(self) -> None:
        (bundle, mode), shown = self._kind, self._withholding.needed
        logged.session_shows(self.journal, self.id, mode=mode.value, bundle=self._info(bundle), sources=shown)

    def _named(self, source: object) -> SourceInfo:
        """The source that a change names, or the present one."""
        if source is None:
            return self._still
        found = self._sources(source) if isinstance(source, str) else None
        if found is None:
            raise ConfigError("source: not one that was accepted; send the picture first")
        return found

    def _turn(self, change: Mapping[str, Any], number: int) -> None:
        """Whatever bundle and mode a change that was taken leads to, nothing of another leaves after its answer."""
        kind = self._kind_by(change)
        if kind != self._kind and self._outlet is not None:
            self._kind = kind
            self._outlet.turn(*kind, self._still, number)
            self.tally.showing(self.id, *self._told_kind)

    def _kind_by(self, change: Mapping[str, Any]) -> tuple[str, Mode]:
        """Bundle and mode after a change. Raises ConfigError."""
        bundle, mode = self._kind
        try:
            return change.get("bundle", bundle), Mode(change.get("mode", mode))
        except ValueError as error:
            raise ConfigError(f"mode: got {str(change['mode'])[:40]!r}, expected puppet or edit") from error

    @property
    def _told_kind(self) -> tuple[str, str]:
        bundle, mode = self._kind
        return bundle, mode.value

    @property
    def driver(self) -> DriverKind:
        """Who drives it now; from any thread."""
        return self._spec.driver if self._intake is None else self._intake.driver

    def acted(self, told: U8, arrived_s: float) -> None:
        """See Intake.acted."""
        if self._intake is not None and not self._shut:
            self._intake.acted(told, arrived_s)

    def face(self, told: object) -> None:
        """What MediaPipe saw in the page, as its message says it. Raises InputError."""
        self.acted(packed(mediapipe.read(told)) if told is not None else NOBODY, time.perf_counter())

    def measure(self, on: bool) -> None:
        if self._intake is not None:
            self._intake.measuring = on

    def pause(self, on: bool) -> None:
        if self._echo is not None:
            self._echo.paused = on
        if self._intake is not None:
            self._intake.paused = on
        if self._outlet is not None:
            self._outlet.pause(on)
        if self.sound is not None:
            self.sound.paused = on

    def mute(self, on: bool) -> None:
        if self.sound is not None:
            self.sound.muted = on

    @property
    def shows_camera(self) -> bool:
        """Whether the driver's camera is not off; also of a driver who has none."""
        return not self._shut

    @property
    def paused(self) -> bool:
        """Whether its picture is held on request."""
        return bool(self._outlet.paused if self._outlet else self._echo and self._echo.paused)

    def camera(self, on: bool) -> None:
        """The driver's camera is off, or on again. Meanwhile nothing of it is looked at: a face at rest moves a puppet,
        and in place of an edited picture, or of an echo, plain grey leaves."""
        if on is not self._shut:
            return
        self._shut = not on
        if self._echo is not None:
            self._shut_echo(self._echo)
        if self._intake is None:
            return
        if on:
            self._open_camera(self._intake)
        else:
            self._shut_camera(self._intake)

    def _shut_echo(self, echo: Echo) -> None:
        echo.shut = self._shut
        if self._rest is not None:
            self._rest.end()
        self._rest = Again(_GREY_S, echo.show_grey) if self._shut else None

    def _shut_camera(self, intake: Intake) -> None:
        self._resumed, intake.driver = intake.driver, DriverKind.TRACKER  # nothing of the camera from here on
        try:
            number = self._worker.change(self.id, {"driver": DriverKind.TRACKER.value})
        except ConfigError:  # an edit, or a whole body: numbers of a face move neither
            number = self._worker.change(self.id, {"recalibrate": True})
            if self._outlet is not None:
                self._outlet.turn(*self._kind, self._still, number)
            return
        self._rest = Rest(intake.acted)

    def _open_camera(self, intake: Intake) -> None:
        if self._rest is not None:
            self._rest.end()
            self._rest = None
            self._worker.change(self.id, {"driver": self._resumed.value})
        intake.driver = self._resumed

    def self_check(self, on: bool) -> None:
        """Begin a live check that the driver is who the portrait shows, or stop it. Raises ConfigError where there is
        nothing to check."""
        if on and self.driver is not DriverKind.CAMERA:
            raise ConfigError("self check: it looks at the camera's picture; start the camera")
        if on and self.shown.source != self._still.id:
            raise ConfigError("self check: it is of a portrait; turn to a puppet of one")
        self._check.turn(on, self._still.id)

    def mirror(self, on: bool) -> None:
        if self._intake is not None:
            self._intake.mirror = on

    def stop(self) -> None:
        self.end_by_itself("stopped")

    def report(self) -> dict[str, Any]:
        """What docs/live.md calls a report."""
        status = self._worker.status()
        size = self._outlet.size if self._outlet is not None else self._echo.size if self._echo else None
        bundle, mode = (None, None) if self._config.pass_through else self._told_kind
        return self.tally.report() | {
            "bundle": bundle,
            "mode": mode,
            "size": None if size is None else list(size),
            "worker": status.state.value,
            "restarts": sum(status.restarts.values()),
            "changes": self._outlet.changes if self._outlet is not None else 0,
            "measuring": self._intake is not None and self._intake.measuring,
            "mirror": self._intake is not None and self._intake.mirror,
            "paused": self._outlet.paused
            if self._outlet is not None
            else bool(self._echo and self._echo.paused),
            "camera": self.shows_camera,
            "pass_through": self._config.pass_through,
            "driver_pixels": self._config.worker.driver_pixels,
            "pace": self._pace.report(),
            "watching": self.viewers,
            "viewers": self._viewer_reports(),
            "sound": None if self.sound is None else self.sound.report(),
            "coach": self._coach.report(),
            "self_check": self._check.report(),
            "ends_in_s": self.ends_in_s(),
            "withheld": f"{self.withheld}{NEXT}" if self.withheld else None,
            "recording": self.recorded(),
        }

    def _viewer_reports(self) -> list[dict[str, Any]]:
        """Of the first few: they are told often."""
        reports = [report for report in self._links.values() if report is not None]
        return [report() for report in reports[:_MOST_TOLD]]

    def _why(self) -> str:
        return self._intake.why() if self._intake is not None else "no picture"

    def _end(self, reason: str) -> asyncio.Task[None]:
        """The output ends here and now; the rest is freed by the task that is returned."""
        if self._ending is None:
            self._end_output()
            self._ending = asyncio.get_running_loop().create_task(self._free(reason))
        return self._ending

    def _end_output(self) -> None:
        if self._rest is not None:
            self._rest.end()
        self.broadcast.end()
        if self.sound is not None:
            self.sound.end()
        for part in (self._outlet, self._intake, self._echo):
            if part is not None:
                part.stop()
        if self._opened and not self._config.pass_through:
            self._worker.close_session(self.id)

    async def _free(self, reason: str) -> None:
        try:
            ends = await asyncio.gather(
                *(link.hang_up(reason) for link in list(self._links)), return_exceptions=True
            )
            for error in ends:
                if isinstance(error, BaseException):
                    _log.error("session %s: one of its links did not end: %r", self.id, error)
        finally:
            await self._pace.end()
            await asyncio.to_thread(self._join)
            if self._logged:
                logged.session_stopped(self.journal, self.id, reason, time.monotonic() - self._opened_s)
            if self._opened:
                self.tally.showing(self.id, "", "")
                self.tally.session_closed(reason)
                await asyncio.to_thread(heap.give_back)

    def _join(self) -> None:
        if self._outlet is not None:
            self._outlet.join()
        self.broadcast.join()
