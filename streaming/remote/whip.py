"""WHIP and WHEP as a client: the two transports of streaming.transport that are made of aiortc."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from aiortc import RTCRtpTransceiver
from aiortc.stats import RTCRemoteInboundRtpStreamStats

from engine.errors import InputError
from streaming import twcc
from streaming.broadcast import Watch
from streaming.candidates import clean_answer
from streaming.config import ServeConfig
from streaming.connection import Arrivals, Connection, Reports
from streaming.offer import preferring
from streaming.remote.asking import Created, end, post
from streaming.remote.linked import relays_of
from streaming.remote.places import Place
from streaming.rtc import tune_receiver
from streaming.rtc_congestion import control_congestion
from streaming.rtc_send import send_pictures
from streaming.rtc_sound import hear_pictures, hear_sound, opus_alone, send_untouched
from streaming.session import Session
from streaming.sound import SoundTrack
from streaming.transport import LostError, OpenSession

_SILENT: Final = re.compile(r"^m=audio 0 ", re.MULTILINE)
_EXTMAP: Final = re.compile(r"a=extmap:(\d{1,3})")
_CODEC: Final = re.compile(r"a=rtpmap:(\d{1,3}) (?!rtx/)", re.IGNORECASE)


class _Client(ABC):
    """What both have in common."""

    def __init__(self, place: Place, config: ServeConfig) -> None:
        self._place, self._config = place, config
        self._connection: Connection | None = None
        self._created: Created | None = None
        self._session: Session | None = None
        self._changed = asyncio.Event()
        self._was_up = False
        self._lost: LostError | None = None
        self._ending: asyncio.Task[None] | None = None

    async def connect(self, session: OpenSession) -> None:
        """As Transport has it."""
        try:
            await self._negotiate(session)
        except InputError as error:
            raise LostError("answer", f"{self._place.shown}: {error}") from error
        while self._lost is None and not self._up:
            self._changed.clear()
            await self._changed.wait()
        if self._lost is not None:
            raise self._lost
        self._was_up = True

    async def lost(self) -> LostError:
        """As Transport has it."""
        while self._lost is None:
            self._changed.clear()
            await self._changed.wait()
        return self._lost

    async def close(self) -> None:
        """As Transport has it."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._free())
        await asyncio.shield(self._ending)

    async def hang_up(self, reason: str) -> None:
        """By its session, which ends."""
        self._tell_lost(LostError("session", f"{self._place.stream}: its session has ended ({reason})"))
        await self.close()

    @property
    def _up(self) -> bool:
        return self._connection is not None and self._connection.connected

    async def _negotiate(self, session: OpenSession) -> None:
        created = await self._offered(self._config.sound)
        if self._config.sound and _SILENT.search(created.answer):
            await self._give_up()
            created = await self._offered(False)  # a section that is refused is none that aiortc can read
        connection = self._connection
        assert connection is not None
        answer = clean_answer(created.answer, near=not created.public)
        await connection.ice.relay(await relays_of(created.servers, near=not created.public))
        opened = await session()
        await connection.accept(answer)
        self._begin(opened, connection, answer)
        opened.link(self, self._seen)
        self._session = opened

    async def _offered(self, sound: bool) -> Created:
        connection = Connection(
            self._config, self._place.stream, self._fall, offers=True, silent=self._is_silent
        )
        self._connection = connection
        connection.rtc.on("connectionstatechange", self._changed.set)
        self._add(connection, sound)
        offer = with_feedback(await connection.offer())
        self._created = created = await post(self._place, offer, insecure=self._config.remote_insecure)
        return created

    @abstractmethod
    def _add(self, connection: Connection, sound: bool) -> None:
        """The sections of the offer."""

    @abstractmethod
    def _begin(self, session: Session, connection: Connection, answer: str) -> None:
        """Join the session and the connection, before anything flows. Must not wait."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """As Transport has it."""

    @property
    def _seen(self) -> Callable[[], dict[str, Any]] | None:
        """What stands of it among the session's viewers, where it is one."""
        return None

    def _rest(self) -> None:
        """Let go of the session's; a pull has nothing of it."""
        return

    def _is_silent(self) -> bool:
        return self._session is None or self._session.silent()

    def _fall(self) -> None:
        if self._was_up:
            self._tell_lost(LostError("lost", f"{self._place.shown}: it fell silent, or hung up"))
        else:
            self._tell_lost(LostError("media", f"{self._place.shown}: no way was found to it"))

    def _tell_lost(self, lost: LostError) -> None:
        self._lost = self._lost or lost
        self._changed.set()

    async def _give_up(self) -> None:
        connection, created = self._connection, self._created
        self._connection = self._created = None
        if connection is not None:
            await connection.close()
        if created is not None:
            await end(self._place, created, insecure=self._config.remote_insecure)

    async def _free(self) -> None:
        self._rest()
        await self._give_up()
        if self._session is not None:
            self._session.unlink(self)


class WhipPush(_Client):
    """A session's pictures and sound to a WHIP server; the pictures are one viewer's more, encoded once for all."""

    def __init__(self, place: Place, config: ServeConfig) -> None:
        super().__init__(place, config)
        self._watch: Watch | None = None
        self._track: SoundTrack | None = None

    def _add(self, connection: Connection, sound: bool) -> None:
        picture = connection.rtc.addTransceiver("video", "sendonly")
        picture.setCodecPreferences(preferring(self._config.codec))
        if sound:
            connection.rtc.addTransceiver("audio", "sendonly").setCodecPreferences(opus_alone())

    def _begin(self, session: Session, connection: Connection, answer: str) -> None:
        picture, sound = _transceivers(connection)
        if picture is None or picture.currentDirection != "sendonly":
            raise LostError("refused", f"{self._place.shown}: it takes no picture", again=False)
        self._watch = send_pictures(picture, session.broadcast)
        control_congestion(picture, answer, self._watch.estimated)
        connection.hear(Reports(picture.sender, self._reported), ends=session.unfailing)
        if sound is not None and sound.currentDirection == "sendonly" and session.sound is not None:
            self._track = session.sound.watch()
            sound.sender.replaceTrack(self._track)
            send_untouched(sound)

    def report(self) -> dict[str, Any]:
        """What stands of it in the session's report, as of a viewer."""
        told: dict[str, Any] = {"listens": self._track is not None, "pushed": self._place.shown}
        return told if self._watch is None else told | self._watch.report()

    @property
    def _seen(self) -> Callable[[], dict[str, Any]]:
        return self.report

    def _reported(self, stats: RTCRemoteInboundRtpStreamStats) -> None:
        if stats.roundTripTime is not None and self._session is not None:
            self._session.recorder.round_trip(stats.roundTripTime)

    def _rest(self) -> None:
        if self._watch is not None:
            self._watch.end()
        if self._track is not None:
            self._track.stop()


class WhepPull(_Client):
    """A WHEP server's stream as the driver of a session: decoded frames to its engine, Opus to its sound line."""

    def _add(self, connection: Connection, sound: bool) -> None:
        picture = connection.rtc.addTransceiver("video", "recvonly")
        picture.setCodecPreferences(preferring("auto"))
        if sound:
            connection.rtc.addTransceiver("audio", "recvonly").setCodecPreferences(opus_alone())

    def _begin(self, session: Session, connection: Connection, answer: str) -> None:
        picture, sound = _transceivers(connection)
        if picture is None or picture.currentDirection != "recvonly":
            raise LostError("missing", f"{self._place.shown}: its stream has no picture")
        tune_receiver(picture.receiver, session.arrived, lambda: None, session.passed_over)
        control_congestion(picture, answer)
        connection.hear(Arrivals(picture.receiver))
        line = session.sound
        if line is None:
            return
        hear_pictures(picture.receiver, line.sync)
        if sound is not None and sound.currentDirection == "recvonly":
            hear_sound(sound.receiver, line)

    def report(self) -> dict[str, Any]:
        """Nothing is sent."""
        return {}


def _transceivers(connection: Connection) -> tuple[RTCRtpTransceiver | None, RTCRtpTransceiver | None]:
    by_kind = {each.kind: each for each in connection.rtc.getTransceivers()}
    return by_kind.get("video"), by_kind.get("audio")


def with_feedback(offer: str) -> str:
    """An offer of aiortc's that also offers transport-wide congestion control for its video, which aiortc does not
    know, and streaming.rtc_congestion does."""
    lines = offer.split("\r\n")
    taken = {int(match[1]) for line in lines if (match := _EXTMAP.match(line))}
    number = next(number for number in range(1, 15) if number not in taken)
    offered, video = [], False
    for line in lines:
        if line.startswith("m="):
            video = line.startswith("m=video")
        offered.append(line)
        if video and line.startswith("a=mid:"):
            offered.append(f"a=extmap:{number} {twcc.URI}")
        if video and (match := _CODEC.match(line)):
            offered.append(f"a=rtcp-fb:{match[1]} transport-cc")
    return "\r\n".join(offered)
