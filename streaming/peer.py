"""The connection that drives a session: the camera in, its picture back where that is wanted, and the channel."""

from __future__ import annotations

import asyncio
from typing import Any

from aiortc import RTCRtpTransceiver, RTCSessionDescription
from aiortc.stats import RTCRemoteInboundRtpStreamStats

from engine.errors import InputError
from streaming.broadcast import Watch
from streaming.config import ServeConfig
from streaming.connection import Arrivals, Connection, Reports
from streaming.control import Control
from streaming.offer import Offer as Offer
from streaming.offer import Sections, preferring
from streaming.reports import REPORT_S
from streaming.rtc import forgive_messages, render_at_once, tune_receiver
from streaming.rtc_congestion import control_congestion
from streaming.rtc_ice import RestartableIce
from streaming.rtc_send import send_pictures
from streaming.rtc_sound import SoundSection, hear_pictures
from streaming.session import Session
from streaming.telling import Telling

_NEGOTIATE_S = 10.0


class Peer:
    """A driver's connection, from its answer to its end, and its session's end. All of it runs on the event loop."""

    def __init__(self, session: Session, config: ServeConfig, sections: Sections) -> None:
        self.session = session
        self.answer: RTCSessionDescription
        self._config = config
        self._sections = sections
        self._control = Control(session)
        self._telling = Telling(session, self._message, self._channel_opened)
        self._reports = False
        self._watch: Watch | None = None
        self._connection = Connection(
            config, session.id, lambda: session.end_by_itself("connection"), silent=session.silent
        )
        session.link(self)

    @classmethod
    async def open(cls, offer: Offer, session: Session, sections: Sections, *, config: ServeConfig) -> Peer:
        """Open the session, and answer the offer with every candidate in it. sections: those of the offer.

        Raises InputError for an offer that cannot be answered and WorkerError where the worker takes no session; the
        session has ended then.
        """
        try:
            peer = cls(session, config, sections)
            async with asyncio.timeout(_NEGOTIATE_S):
                await peer._negotiate(offer)
        except TimeoutError:
            await session.close("connection")
            raise InputError(f"sdp: no answer within {_NEGOTIATE_S:g} s; try again") from None
        except BaseException:
            await session.close("connection")
            raise
        return peer

    @property
    def ice(self) -> RestartableIce:
        return self._connection.ice

    async def close(self, reason: str) -> None:
        """End the session with it; returns when it is done. More than once is allowed. reason: one of
        measured.Recorder.session_closed."""
        await self.session.close(reason)

    async def hang_up(self, reason: str) -> None:
        """End the connection alone, which its session calls for."""
        if self._connection.connected:
            await self._telling.say_farewell(reason)
        await self._connection.close()
        if self._watch is not None:
            self._watch.end()

    async def _negotiate(self, offer: Offer) -> None:
        connection, session = self._connection, self.session
        transceiver = connection.rtc.addTransceiver("video", "sendrecv")
        codec = offer.codec if offer.codec != "auto" else self._config.codec
        transceiver.setCodecPreferences(preferring(codec))
        sound = SoundSection(connection.rtc, self._sections.audio, session.sound)
        connection.rtc.on("datachannel", self._telling.take)
        await connection.describe(offer.sdp, offer.type)
        if self._sections.channel:
            forgive_messages(connection.rtc)
        sound.begin()
        await session.open()
        if self._sections.camera:
            tune_receiver(transceiver.receiver, session.arrived, lambda: None, session.passed_over)
            if session.sound is not None:
                hear_pictures(transceiver.receiver, session.sound.sync)
        self._send(transceiver, offer)
        self.answer = await connection.answer()

    def _send(self, transceiver: RTCRtpTransceiver, offer: Offer) -> None:
        if not self._sections.watches:
            transceiver.direction = "recvonly"
            control_congestion(transceiver, offer.sdp)
            self._connection.hear(Arrivals(transceiver.receiver))
            return
        session = self.session
        render_at_once(transceiver, offer.sdp, waits=session.sound is not None and self._sections.listens)
        self._watch = send_pictures(transceiver, session.broadcast)
        control_congestion(transceiver, offer.sdp, self._watch.estimated)
        # Of an echo, which may have nothing to send, nobody reports.
        self._connection.hear(Reports(transceiver.sender, self._reported), ends=session.unfailing)

    def _reported(self, stats: RTCRemoteInboundRtpStreamStats) -> None:
        if stats.roundTripTime is not None:
            self.session.tally.round_trip(stats.roundTripTime)

    def _channel_opened(self) -> None:
        if not self._reports:
            self._reports = True
            self._connection.keep("its reports", self._report_on())

    def _message(self, message: str | bytes) -> None:
        answer = self._control.answer(message)
        if answer is not None:
            self._telling.send(answer)

    async def _report_on(self) -> None:
        while not self.session.over:
            self._telling.say({"report": self.report()})
            await self._telling.state()
            await asyncio.sleep(REPORT_S)

    def report(self) -> dict[str, Any]:
        """The session's, with what its driver gets of the pictures."""
        told = self.session.report()
        if self._watch is None:
            return told
        sent = self._watch.report()
        return told | {"codec": sent["codec"], "kbps": sent["kbps"], "sent": sent}
