"""A connection that only watches and listens: a session's pictures and sound out, and what is stated of it; nothing
in."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from aiortc import RTCSessionDescription
from aiortc.stats import RTCRemoteInboundRtpStreamStats

from engine.errors import InputError
from streaming.broadcast import Watch
from streaming.config import ServeConfig
from streaming.connection import Connection, Reports
from streaming.offer import Sections, preferring
from streaming.rtc import forgive_messages, render_at_once
from streaming.rtc_congestion import control_congestion
from streaming.rtc_ice import RestartableIce
from streaming.rtc_send import send_pictures
from streaming.rtc_sound import SoundSection
from streaming.session import Session
from streaming.telling import Telling

_NEGOTIATE_S = 10.0


class Viewer:
    """From its answer to its end, or that of its session. All of it runs on the event loop."""

    def __init__(self, session: Session, config: ServeConfig, sections: Sections) -> None:
        self.id = secrets.token_hex(12)
        self.session = session
        self.answer: RTCSessionDescription
        self._config = config
        self._sections = sections
        self._watch: Watch | None = None
        self._sound: SoundSection | None = None
        self._ending: asyncio.Task[None] | None = None
        self._telling = Telling(session, opened=self._channel_opened)
        self._states = False
        self._connection = Connection(config, session.id, self._lost, silent=session.silent)
        session.link(self, self.report)
        session.recorder.viewer_opened()

    @classmethod
    async def open(
        cls, sdp: str, session: Session, sections: Sections, *, config: ServeConfig, codec: str = "auto"
    ) -> Viewer:
        """Answer an offer with every candidate in it. sections: those of the offer. Raises InputError for one that
        cannot be answered, and WorkerError where the session has ended; nothing is left then."""
        viewer = cls(session, config, sections)
        try:
            async with asyncio.timeout(_NEGOTIATE_S):
                await viewer._negotiate(sdp, codec)
        except TimeoutError:
            await viewer.close("connection")
            raise InputError(f"sdp: no answer within {_NEGOTIATE_S:g} s; try again") from None
        except BaseException:
            await viewer.close("connection")
            raise
        return viewer

    @property
    def ice(self) -> RestartableIce:
        return self._connection.ice

    @property
    def over(self) -> bool:
        """Whether its end has begun."""
        return self._ending is not None

    async def close(self, reason: str) -> None:
        """End it and free all of it; returns when it is done. More than once is allowed. reason: one of
        measured.Recorder.viewer_closed."""
        await asyncio.shield(self._end(reason))

    async def hang_up(self, reason: str) -> None:
        """The same, by its session."""
        await self.close(reason)

    def report(self) -> dict[str, Any]:
        """What stands of it in the session's report."""
        told = {"listens": self._sections.listens}
        return told if self._watch is None else told | self._watch.report()

    async def _negotiate(self, sdp: str, codec: str) -> None:
        connection, session = self._connection, self.session
        picture = None
        if self._sections.watches:
            picture = connection.rtc.addTransceiver("video", "sendonly")
            picture.setCodecPreferences(preferring(codec if codec != "auto" else self._config.codec))
        self._sound = SoundSection(connection.rtc, self._sections.audio, session.sound, hears=False)
        connection.rtc.on("datachannel", self._telling.take)
        await connection.describe(sdp)
        if self._sections.channel:
            forgive_messages(connection.rtc)
        self._sound.begin()
        for transceiver in connection.rtc.getTransceivers():
            if transceiver.kind == "video" and picture is None:
                transceiver.direction = "inactive"
        if picture is not None:
            render_at_once(picture, sdp, waits=session.sound is not None and self._sections.listens)
            self._watch = send_pictures(picture, session.broadcast)
            control_congestion(picture, sdp, self._watch.estimated)
            # Of an echo, which may have nothing to send, nobody reports; nor does who only listens, of silence.
            connection.hear(Reports(picture.sender, self._reported), ends=session.unfailing)
        self.answer = await connection.answer()

    def _reported(self, stats: RTCRemoteInboundRtpStreamStats) -> None:
        if stats.roundTripTime is not None:
            self.session.recorder.round_trip(stats.roundTripTime)

    def _channel_opened(self) -> None:
        if not self._states:
            self._states = True
            self._connection.keep("its statements", self._telling.state_on())

    def _lost(self) -> None:
        self._end("connection")

    def _end(self, reason: str) -> asyncio.Task[None]:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._free(reason))
        return self._ending

    async def _free(self, reason: str) -> None:
        try:
            if self._watch is not None:
                self._watch.end()
            if self._sound is not None:
                self._sound.end()
            await self._connection.close()
        finally:
            self.session.unlink(self)
            self.session.recorder.viewer_closed(reason)
