"""One session of the worker and everything that is its own, but for the connections that it is driven and seen by."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any

import av

from engine.acting import packed
from engine.consent import Record
from engine.drivers import mediapipe
from engine.errors import ConfigError, WorkerError
from engine.types import U8
from engine.worker import heap
from engine.worker.acted import NOBODY
from engine.worker.changes import checked, settled
from engine.worker.interface import DriverKind, SessionSpec, SourceInfo, Worker
from streaming.broadcast import Broadcast
from streaming.coach import CameraCoach
from streaming.config import ServeConfig
from streaming.consents import Consents, use_of
from streaming.echo import Echo
from streaming.intake import Intake
from streaming.links import Link, Links
from streaming.load import Seen
from streaming.logged import SessionLines
from streaming.measured import Recorder
from streaming.outlet import Outlet
from streaming.pacing import EnginePace
from streaming.reports import Tally
from streaming.self_check import Checked
from streaming.showing import Showing, Shown, hold_donors
from streaming.shutter import Shutter
from streaming.sound import SoundLine
from streaming.tracks import Pictures
from streaming.withholding import with_next

_log = logging.getLogger(__name__)


async def _nothing_stated() -> None:
    return None


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
    leave at all (streaming.kill). consents: by which they may be shown; None asks for none, where nobody is. Raises
    ConfigError for a spec that cannot be followed, and ConsentError where nobody's consent to it holds.
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
        self.id = secrets.token_hex(12)
        self._config, self._worker = config, worker
        if not config.pass_through:
            spec = settled(checked(spec), worker.bundles(), edit=config.worker.edit)
            hold_donors(donors, spec.donors)
        self.spec = spec
        """What it was opened with, settled."""
        self.lines = SessionLines(self.id)
        """What the session log is told of it."""
        self._outlet: Outlet | None = None
        asked = None if config.pass_through else consents
        self._showing = Showing(
            self.lines, spec, still, bundles=worker.bundles, sources=sources, donors=donors, consents=asked,
            use=use_of(stream), outlet=lambda: self._outlet,
        )  # fmt: skip
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
        self._sources, self._closed = sources, closed
        self._killed = killed
        self._pace = EnginePace(config.latency_s, self.id, worker, self.tally, lambda: self._showing.bundle)
        self._opened = False
        self._opened_s = time.monotonic()
        self.ends_in_s: Callable[[], float | None] = lambda: None
        """Until the server ends it, where it drains."""
        self.state: Callable[[], Awaitable[dict[str, Any] | None]] = _nothing_stated
        """What is stated of it, signed (streaming.statement); another one whenever that has changed."""
        self.recorded: Callable[[], dict[str, Any] | None] = lambda: None
        """Its recording, where there is one, as docs/live.md has it."""
        self._links = Links(self.id)
        self._ending: asyncio.Task[None] | None = None
        self._intake: Intake | None = None
        self._echo: Echo | None = None
        self._coach = CameraCoach()
        self._check = Checked(
            asked,
            lambda on: worker.change(self.id, {"self_check": on}),
            lambda: self._intake is not None and self._intake.mirror,
        )
        self._shutter = Shutter(self.id, worker, spec.driver, self._showing.anew, camera=camera)

    @property
    def shown(self) -> Shown:
        """What it is made of now."""
        return Shown("", None, None, ()) if self._config.pass_through else self._showing.shown

    @property
    def in_use(self) -> frozenset[str]:
        """What needs consent of what it shows, or may still show: ids of sources, and its bundle as `held_by` names
        it."""
        return self._showing.in_use

    @property
    def withheld(self) -> str:
        """Why plain grey stands in place of its picture; empty where it does not."""
        return self._showing.withheld

    def consent(self) -> tuple[Record, ...]:
        """The records by which whoever it shows is shown. Blocks."""
        return self._showing.records()

    def withhold(self, asked: Collection[str], faults: Mapping[str, str]) -> None:
        """See Withholding.hear."""
        if self._showing.withhold(asked, faults):
            _log.warning("session %s: its picture is withheld: %s", self.id, self.withheld)

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
        driver = self.spec.driver.value
        if self._config.pass_through:
            await self.lines.started(driver)
            self._echo = Echo(self._pictures, self.tally)
            self.arrived = self._echo.arrived
        else:
            await self._showing.log_start(driver)
            await self._open_worker()
        self._opened = True
        self.tally.session_opened(driver)

    async def _open_worker(self) -> None:
        spec, shows = self.spec, self._showing
        shows.begin()
        side, marks = self._config.worker.side, self._config.marks
        opening = partial(Outlet, bundle=shows.bundle, mode=shows.mode, side=side, marks=marks)
        self._outlet = outlet = await asyncio.to_thread(
            opening, self.id, shows.still, self._pictures, self.tally, self._sources, self._why
        )
        self._intake = Intake(
            self.id, self._worker, outlet, self.tally, driver=spec.driver, thinning=self._pace.thinning
        )
        self.arrived = self._intake.arrived
        self._worker.open(self.id, spec, self._check.hearing(self._coach.hearing(outlet.deliver)))
        outlet.start()
        self._pace.begin()
        self.tally.showing(self.id, shows.bundle, shows.mode.value)

    def seen(self) -> Seen:
        """What its cost is measured by."""
        width, height = self._size or (0, 0)
        quiet = self.paused or not self.broadcast.watched
        worked = self.tally.work.told()
        return Seen(self.id, self._showing.bundle, width * height, quiet, self._opened_s, worked)

    @property
    def _size(self) -> tuple[int, int] | None:
        """(width, height) of its pictures."""
        return self._outlet.size if self._outlet is not None else self._echo.size if self._echo else None

    @property
    def viewers(self) -> int:
        """How many watch it, but for whoever drives it."""
        return self._links.viewers

    def link(self, link: Link, report: Callable[[], dict[str, Any]] | None = None) -> None:
        """Have it end with this session. report: of a viewer, what stands of it in the session's. Raises WorkerError
        where that has begun."""
        if self.over:
            raise WorkerError("session: it has ended; open another one")
        self._links.add(link, report)

    def unlink(self, link: Link) -> None:
        """It has ended by itself, and the session goes on."""
        self._links.remove(link)

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
        self._shutter.check(driver)
        turn = self._showing.looked_up(change)
        number = self._worker.change(self.id, change)
        if driver is not None:
            self._intake.driver = DriverKind(driver)
        if turn.to_others:
            self._check.end()
        if self._showing.turn(turn, number):
            self.tally.showing(self.id, self._showing.bundle, self._showing.mode.value)
        self._pace.changed(change)
        return number

    @property
    def driver(self) -> DriverKind:
        """Who drives it now; from any thread."""
        return self.spec.driver if self._intake is None else self._intake.driver

    def acted(self, told: U8, arrived_s: float) -> None:
        """See Intake.acted."""
        if self._intake is not None and not self._shutter.shut:
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
        return not self._shutter.shut

    @property
    def paused(self) -> bool:
        """Whether its picture is held on request."""
        return bool(self._outlet.paused if self._outlet else self._echo and self._echo.paused)

    def camera(self, on: bool) -> None:
        """The driver's camera is off, or on again. See Shutter."""
        self._shutter.turn(on, self._intake, self._echo)

    def self_check(self, on: bool) -> None:
        """Begin a live check that the driver is who the portrait shows, or stop it. Raises ConfigError where there is
        nothing to check."""
        if on and self.driver is not DriverKind.CAMERA:
            raise ConfigError("self check: it looks at the camera's picture; start the camera")
        if on and self.shown.source != self._showing.still.id:
            raise ConfigError("self check: it is of a portrait; turn to a puppet of one")
        self._check.turn(on, self._showing.still.id)

    def mirror(self, on: bool) -> None:
        if self._intake is not None:
            self._intake.mirror = on

    def stop(self) -> None:
        self.end_by_itself("stopped")

    def report(self) -> dict[str, Any]:
        """What docs/live.md calls a report."""
        status = self._worker.status()
        generates = not self._config.pass_through
        return self.tally.report() | {
            "bundle": self._showing.bundle if generates else None,
            "mode": self._showing.mode.value if generates else None,
            "size": None if self._size is None else list(self._size),
            "worker": status.state.value,
            "restarts": sum(status.restarts.values()),
            "changes": self._outlet.changes if self._outlet is not None else 0,
            "measuring": self._intake is not None and self._intake.measuring,
            "mirror": self._intake is not None and self._intake.mirror,
            "paused": self.paused,
            "camera": self.shows_camera,
            "pass_through": not generates,
            "driver_pixels": self._config.worker.driver_pixels,
            "pace": self._pace.report(),
            "watching": self.viewers,
            "viewers": self._links.reports(),
            "sound": None if self.sound is None else self.sound.report(),
            "coach": self._coach.report(),
            "self_check": self._check.report(),
            "ends_in_s": self.ends_in_s(),
            "withheld": with_next(self.withheld) if self.withheld else None,
            "recording": self.recorded(),
        }

    def _why(self) -> str:
        return self._intake.why() if self._intake is not None else "no picture"

    def _end(self, reason: str) -> asyncio.Task[None]:
        """The output ends here and now; the rest is freed by the task that is returned."""
        if self._ending is None:
            self._end_output()
            self._ending = asyncio.get_running_loop().create_task(self._free(reason))
        return self._ending

    def _end_output(self) -> None:
        self._shutter.end()
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
            await self._links.hang_up(reason)
        finally:
            await self._pace.end()
            await asyncio.to_thread(self._join)
            self.lines.stopped(reason, time.monotonic() - self._opened_s)
            if self._opened:
                self.tally.showing(self.id, "", "")
                self.tally.session_closed(reason)
                await asyncio.to_thread(heap.give_back)

    def _join(self) -> None:
        if self._outlet is not None:
            self._outlet.join()
        self.broadcast.join()
