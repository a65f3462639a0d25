"""One browser's call: its connection, its session of the worker, and their common end."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import logging
import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError
from aiortc.stats import RTCRemoteInboundRtpStreamStats

from engine.errors import ConfigError, InputError
from engine.types import Mode
from engine.worker import heap
from engine.worker.changes import checked, parse, settled
from engine.worker.interface import DriverKind, SessionSpec, SourceInfo, Worker
from streaming.config import ServeConfig
from streaming.control import Control
from streaming.echo import Echo
from streaming.encoders import open_encoder
from streaming.intake import Intake
from streaming.measured import Recorder
from streaming.offer import Offer as Offer
from streaming.offer import ice_server, preferring, sends_camera, spec_of
from streaming.outlet import Outlet
from streaming.reports import REPORT_S, Tally
from streaming.rtc import close_parts, forgive_messages, render_at_once, tune_receiver, use_encoder
from streaming.tracks import PictureTrack

CHANNEL = "marotte"
CONNECT_S = 15.0
"""A call that is not connected so long after its answer is ended."""
SILENT_S = 10.0
"""A viewer who sends no receiver report for so long is gone; ICE alone takes 30 s to notice."""

_NEGOTIATE_S = 10.0
_CLOSE_S = 5.0
_FAREWELL_S = 0.25
_HEAR_S = 1.0
_MOST_BUFFERED = 1 << 16
_NO_DONOR = "donors: not all of them are there any more; send the pictures again"
_log = logging.getLogger(__name__)


class Peer:
    """A call, from its answer to its end. All of it runs on the event loop unless it says otherwise.

    It tells the recorder of the session's beginning and end.
    """

    def __init__(
        self,
        config: ServeConfig,
        worker: Worker,
        recorder: Recorder,
        still: SourceInfo,
        sources: Callable[[str], SourceInfo | None],
        closed: Callable[[str, str], None],
        donors: Callable[[Collection[str]], bool],
    ) -> None:
        self.session = secrets.token_hex(12)
        self.answer: RTCSessionDescription
        self._config = config
        self._worker = worker
        self._sources = sources
        self._donors = donors
        self._closed = closed
        self._still = still
        self._kind = ("", Mode.PUPPET)
        self._tally = Tally(recorder)
        self._control = Control(self)
        self._channel: RTCDataChannel | None = None
        self._reports = False
        self._watched = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._opened = False
        self._codec = ""
        self._heard_at: datetime.datetime | None = None
        self._heard_s = 0.0
        self._has_camera = False
        self._outlet: Outlet | None = None
        self._intake: Intake | None = None
        self._echo: Echo | None = None
        self._track = PictureTrack()
        self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=[ice_server(url) for url in config.ice_servers])
        )

    @classmethod
    async def open(
        cls,
        offer: Offer,
        *,
        config: ServeConfig,
        worker: Worker,
        recorder: Recorder,
        still: SourceInfo,
        sources: Callable[[str], SourceInfo | None],
        closed: Callable[[str, str], None],
        donors: Callable[[Collection[str]], bool] = lambda ids: True,
    ) -> Peer:
        """Open a session of the worker, and answer the offer with every candidate in it.

        still: the source that is shown first. sources: finds another by id, from any thread. donors: keeps the sources
        of these ids for this call, in place of those before, and tells whether all are there. closed: called once with
        (session, reason) when the call ended by itself and everything of it was freed: "stopped", "connection".
        Raises InputError for an offer that cannot be answered and WorkerError where the worker takes no session;
        nothing is left then.
        """
        spec = spec_of(offer, still.id)
        has_camera = sends_camera(offer, spec.driver)
        if not config.pass_through:
            spec = settled(checked(spec), worker.bundles(), edit=config.worker.edit)
            if not donors(spec.donors):
                raise ConfigError(_NO_DONOR)
        peer = cls(config, worker, recorder, still, sources, closed, donors)
        peer._has_camera = has_camera
        try:
            async with asyncio.timeout(_NEGOTIATE_S):
                await peer._negotiate(offer, spec)
        except TimeoutError:
            await peer.close("connection")
            raise InputError(f"sdp: no answer within {_NEGOTIATE_S:g} s; try again") from None
        except BaseException:
            await peer.close("connection")
            raise
        return peer

    async def close(self, reason: str) -> None:
        """End the call and free all of it; returns when it is done. More than once is allowed. reason: one of
        measured.Recorder.session_closed."""
        await asyncio.shield(self._end(reason))

    def change(self, change: object) -> int:
        """Called by the control channel, as the four below are."""
        if not isinstance(change, dict):
            raise ConfigError("change: expected an object")
        if self._intake is None:
            raise ConfigError("change: nothing is generated in pass-through")
        driver = change.get("driver")
        if driver == DriverKind.CAMERA.value and not self._has_camera:
            raise ConfigError("driver: this call was opened without a camera; start it again with one")
        still = self._named(change.get("source"))
        donors = parse({"donors": change["donors"]}).donors if "donors" in change else None
        if donors is not None and not self._donors(donors):
            raise ConfigError(_NO_DONOR)
        number = self._worker.change(self.session, change)
        if driver is not None:
            self._intake.camera = driver == DriverKind.CAMERA.value
        self._still = still
        self._turn(change, number)
        return number

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
        bundle, mode = self._kind
        kind = (change.get("bundle", bundle), Mode(change.get("mode", mode)))
        if kind != self._kind and self._outlet is not None:
            self._kind = kind
            self._outlet.turn(*kind, self._still, number)
            self._tally.showing(self.session, *self._told_kind)

    @property
    def _told_kind(self) -> tuple[str, str]:
        bundle, mode = self._kind
        return bundle, mode.value

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

    def mirror(self, on: bool) -> None:
        if self._intake is not None:
            self._intake.mirror = on

    def stop(self) -> None:
        self._end_by_itself("stopped")

    async def _negotiate(self, offer: Offer, spec: SessionSpec) -> None:
        connection = self._connection
        connection.addTrack(self._track)
        (transceiver,) = connection.getTransceivers()
        codec = offer.codec if offer.codec != "auto" else self._config.codec
        transceiver.setCodecPreferences(preferring(codec))
        connection.on("connectionstatechange", self._connection_changed)
        connection.on("datachannel", self._channel_opened)
        await self._describe(offer)
        forgive_messages(connection)
        arrived = await self._open_session(spec)
        if self._has_camera:
            tune_receiver(transceiver.receiver, arrived, lambda: None, self._passed_over)
        render_at_once(transceiver, offer.sdp)
        self._codec = use_encoder(transceiver, lambda name: open_encoder(name, self.session, self._tally))
        await connection.setLocalDescription(await connection.createAnswer())
        self.answer = connection.localDescription
        self._deadline = asyncio.get_running_loop().call_later(CONNECT_S, self._end_by_itself, "connection")

    async def _describe(self, offer: Offer) -> None:
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer.sdp, offer.type))
        except OperationError:
            raise InputError("codec: the offer has neither VP8 nor H.264; try another browser") from None
        except (ValueError, LookupError, InternalError, InvalidAccessError, InvalidStateError) as error:
            raise InputError(f"sdp: it cannot be read ({error}); reload the page") from None

    async def _open_session(self, spec: SessionSpec) -> Callable[..., None]:
        """Returns what takes the driver's frames."""
        driver = spec.driver
        if self._config.pass_through:
            self._echo = Echo(self._track, self._tally)
            arrived = self._echo.arrived
        else:
            self._kind = bundle, mode = spec.bundle, spec.mode or Mode.PUPPET
            opening = partial(Outlet, bundle=bundle, mode=mode, side=self._config.worker.side)
            self._outlet = outlet = await asyncio.to_thread(
                opening, self.session, self._still, self._track, self._tally, self._sources, self._why
            )
            self._intake = Intake(
                self.session, self._worker, outlet, self._tally, camera=driver is DriverKind.CAMERA
            )
            arrived = self._intake.arrived
            self._worker.open(self.session, spec, outlet.deliver)
            outlet.start()
            self._tally.showing(self.session, *self._told_kind)
        self._opened = True
        self._tally.session_opened(driver.value)
        return arrived

    def _passed_over(self, frames: int) -> None:
        for _ in range(frames):
            self._tally.frame_dropped("replaced")

    def _why(self) -> str:
        return self._intake.why() if self._intake is not None else "no picture"

    def _connection_changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            if not self._watched:
                self._watched = True
                self._keep("its watch", self._watch_viewer())
        elif state in ("failed", "closed"):
            self._end_by_itself("connection")

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        """The page may open its channel anew when it has lost it; one is listened to at a time."""
        taken = self._channel is not None and self._channel.readyState == "open"
        if channel.label != CHANNEL or taken:
            channel.close()
            return
        self._channel = channel
        channel.on("message", self._message)
        if not self._reports:
            self._reports = True
            self._keep("its reports", self._report_on())

    def _message(self, message: str | bytes) -> None:
        answer = self._control.answer(message)
        if answer is not None:
            self._tell(answer)

    def _tell(self, text: str) -> None:
        channel = self._channel
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount < _MOST_BUFFERED:
            channel.send(text)

    async def _report_on(self) -> None:
        while self._ending is None:
            self._tell(json.dumps({"report": self.report()}, allow_nan=False, separators=(",", ":")))
            await asyncio.sleep(REPORT_S)

    async def _watch_viewer(self) -> None:
        self._heard_s = time.monotonic()
        while self._ending is None:
            await self._hear_viewer()
            await asyncio.sleep(_HEAR_S)

    def report(self) -> dict[str, Any]:
        """What docs/live.md calls a report."""
        status = self._worker.status()
        size = self._outlet.size if self._outlet is not None else self._echo.size if self._echo else None
        bundle, mode = (None, None) if self._config.pass_through else self._told_kind
        return self._tally.report() | {
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
            "pass_through": self._config.pass_through,
            "driver_pixels": self._config.worker.driver_pixels,
        }

    async def _hear_viewer(self) -> None:
        """Take the newest receiver report; end the call of a viewer who has sent none for long."""
        (sender,) = self._connection.getSenders()
        for stats in (await sender.getStats()).values():
            if isinstance(stats, RTCRemoteInboundRtpStreamStats) and stats.timestamp != self._heard_at:
                self._heard_at, self._heard_s = stats.timestamp, time.monotonic()
                if stats.roundTripTime is not None:
                    self._tally.round_trip(stats.roundTripTime)
        # An echo may have nothing to send, of which nobody reports.
        if self._outlet is not None and time.monotonic() - self._heard_s > SILENT_S:
            self._end_by_itself("connection")

    def _end_by_itself(self, reason: str) -> None:
        if self._ending is None:
            self._end(reason).add_done_callback(lambda _: self._closed(self.session, reason))

    def _end(self, reason: str) -> asyncio.Task[None]:
        """The output ends here and now; the rest is freed by the task that is returned."""
        if self._ending is None:
            self._end_output()
            self._ending = asyncio.get_running_loop().create_task(self._free(reason))
        return self._ending

    def _end_output(self) -> None:
        self._track.end()
        for part in (self._outlet, self._intake, self._echo):
            if part is not None:
                part.stop()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._opened and not self._config.pass_through:
            self._worker.close_session(self.session)

    async def _free(self, reason: str) -> None:
        try:
            await self._say_farewell(reason)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            async with asyncio.timeout(_CLOSE_S):
                await self._connection.close()
        except Exception as error:
            _log.error("session %s: its connection did not close: %r", self.session, error)
            await close_parts(self._connection, self.session)
        finally:
            if self._outlet is not None:
                await asyncio.to_thread(self._outlet.join)
            if self._opened:
                self._tally.bitrate(self.session, self._codec, 0)
                self._tally.showing(self.session, "", "")
                self._tally.session_closed(reason)
                await asyncio.to_thread(heap.give_back)

    async def _say_farewell(self, reason: str) -> None:
        channel = self._channel
        if channel is None or channel.readyState != "open" or self._connection.connectionState != "connected":
            return
        self._tell(json.dumps({"stopped": reason}))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                while channel.bufferedAmount:
                    await asyncio.sleep(0.005)

    def _keep(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("session %s: %s ended: %r", self.session, task.get_name(), error)
