"""Sound through aiortc: the very bytes that came in go out, to nobody who is not allowed, and nothing is decoded."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import itertools
import threading
from contextlib import asynccontextmanager
from fractions import Fraction

import av
import pytest
from aiortc import MediaStreamTrack, RTCRtpReceiver, RTCRtpSender, clock
from aiortc.rtp import RtcpSrPacket

from engine.errors import BackendError, ConfigError, InputError
from streaming import rtc, rtc_sound
from streaming.config import ServeConfig
from tests.streaming.calls import PATIENCE_S, Browser, Camera, FakeWorker, call, plain, source_info

RATE = 48_000


class Microphone(MediaStreamTrack):
    """Packets that no Opus encoder would make, 20 ms each: what is decoded on the way is not them any more."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    async def recv(self):
        await asyncio.sleep(0.02)
        number = len(self.sent)
        payload = bytes([0xFC]) + number.to_bytes(4, "big") * (1 + number % 40)
        packet = av.Packet(payload)
        packet.pts, packet.time_base = number * 960, Fraction(1, RATE)
        self.sent.append(payload)
        return packet


class Listener:
    """Keeps the payloads that a receiver gets, and does not decode them."""

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self.payloads: list[bytes] = []
        self.times: list[int] = []
        self.reports: list[RtcpSrPacket] = []
        buffer = receiver._RTCRtpReceiver__jitter_buffer
        buffer.add = self._took
        handle = receiver._handle_rtcp_packet

        async def told(packet):
            if isinstance(packet, RtcpSrPacket):
                self.reports.append(packet)
            await handle(packet)

        receiver._handle_rtcp_packet = told

    def _took(self, packet):
        self.payloads.append(packet.payload)
        self.times.append(packet.timestamp)
        return False, None


class SoundingBrowser(Browser):
    """A browser with a microphone, whose own sound comes back. direction: of its audio."""

    def __init__(self, camera, direction="sendrecv", codec="audio/opus"):
        super().__init__(camera)
        self.microphone = Microphone()
        sends = direction in ("sendrecv", "sendonly")
        self.audio = self.connection.addTransceiver(self.microphone if sends else "audio", direction)
        able = RTCRtpSender.getCapabilities("audio").codecs
        self.audio.setCodecPreferences([each for each in able if each.mimeType == codec])
        self.heard_sound = Listener(self.audio.receiver)

    def _received(self, track):
        if track.kind == "video":
            super()._received(track)


@asynccontextmanager
async def sounding(direction="sendrecv", config=None, codec="audio/opus", **others):
    worker = FakeWorker(source_info())
    worker.start()
    try:
        browser = SoundingBrowser(Camera(lambda number: plain((200, 10, 10))), direction, codec)
        async with call(worker, source_info(), browser=browser, config=config, **others) as made:
            yield made, browser
    finally:
        worker.close()


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.02)


def test_what_comes_back_is_what_was_sent_bit_by_bit():
    """No decode and no encode: the payloads are the driver's own, in order and in their own time."""

    async def run():
        async with sounding() as (_, browser):
            heard = browser.heard_sound
            await until(lambda: len(heard.payloads) >= 60)
            decoders = [each for each in threading.enumerate() if each.name == "audio-decoder"]
            assert len(decoders) == 1  # the browser's
            first = browser.microphone.sent.index(heard.payloads[0])
            count = len(heard.payloads)
            assert heard.payloads == browser.microphone.sent[first : first + count]
            ticks = {(b - a) & 0xFFFFFFFF for a, b in zip(heard.times, heard.times[1:])}
            assert ticks == {960}
            sound = await browser.until(lambda: browser.report("sound"))
            assert sound["muted"] is False
            assert sound["delay_ms"] is None or 0 <= sound["delay_ms"] < 1000

    asyncio.run(run())


@pytest.mark.full
def test_receivers_are_told_often_which_time_is_which():
    """A browser plays two streams together by the last twenty reports: they have to be of the last seconds, and to
    tell when the picture of a sound leaves rather than the sound."""

    async def run():
        async with sounding() as (made, browser):
            heard = browser.heard_sound
            await until(lambda: len(heard.reports) >= 8)
            infos = [report.sender_info for report in heard.reports if report.sender_info.packet_count]
            told = [(info.ntp_timestamp / 2**32, info.rtp_timestamp) for info in infos]
            assert len(told) >= 6
            for (a_s, a), (b_s, b) in itertools.pairwise(told):
                assert abs((b_s - a_s) - ((b - a) & 0xFFFFFFFF) / RATE) < 0.2
            ahead_s = made.peer.session.sound.ahead_s
            now_s = clock.current_ntp_time() / 2**32
            heard.reports.clear()
            await until(lambda: heard.reports)
            told_s = heard.reports[0].sender_info.ntp_timestamp / 2**32
            assert told_s - ahead_s - now_s == pytest.approx(0.1, abs=0.3)

    asyncio.run(run())


@pytest.mark.full
def test_muted_and_paused_by_the_page():
    """The two messages stop it, each by itself."""

    async def run():
        async with sounding() as (_, browser):
            heard = browser.heard_sound
            await until(lambda: len(heard.payloads) >= 5)
            for word in ("mute", "pause"):
                await browser.say(**{word: True})
                await browser.until(lambda: browser.report("sound")["muted"])
                count = len(heard.payloads)
                await asyncio.sleep(0.3)
                assert len(heard.payloads) <= count + 2
                await browser.say(**{word: False})
                await until(lambda count=count: len(heard.payloads) >= count + 5)

    asyncio.run(run())


@pytest.mark.parametrize("direction", ["sendrecv", "sendonly", "recvonly"])
def test_where_the_operator_forbids_sound_none_is_heard(direction):
    """Fail closed: the section is answered inactive, nothing of it is passed on, and the picture goes on."""

    async def run():
        async with sounding(direction, ServeConfig(sound=False)) as (made, browser):
            assert browser.audio.currentDirection == "inactive"
            assert made.peer.session.sound is None
            assert browser.report("sound") is None
            await asyncio.sleep(0.2)
            assert not browser.heard_sound.payloads

    asyncio.run(run())


def test_who_only_sends_gets_nothing_back():
    """A client without ears (WHIP) is heard by others, and by the session."""

    async def run():
        async with sounding("sendonly") as (made, browser):
            track = made.peer.session.sound.watch()
            packets = [bytes(await track.recv()) for _ in range(10)]
            first = browser.microphone.sent.index(packets[0])
            assert packets == browser.microphone.sent[first : first + 10]
            assert not browser.heard_sound.payloads

    asyncio.run(run())


def test_an_offer_without_opus_is_refused_with_its_reason():
    """What cannot be passed on untouched is not turned into something else."""

    async def run():
        with pytest.raises(InputError, match="no Opus"):
            async with sounding(codec="audio/PCMU"):
                pass

    asyncio.run(run())


def test_the_sound_ends_with_the_session():
    """Nothing is heard after the picture has ended."""

    async def run():
        async with sounding() as (made, browser):
            await until(lambda: len(browser.heard_sound.payloads) >= 5)
            line = made.peer.session.sound
            await made.peer.close("stopped")
            assert line.watch().readyState == "ended"

    asyncio.run(run())


def test_a_receiver_without_a_track_is_named():
    """Called at the wrong time it says so."""

    class Bare:
        _track = None

    with pytest.raises(ConfigError, match="after setRemoteDescription"):
        rtc_sound.hear_sound(Bare(), None)


@pytest.mark.parametrize("at", range(len(rtc_sound.USED)))
def test_each_internal_that_is_touched_is_looked_at(monkeypatch, at):
    """A function that is gone, or that no longer uses what is replaced, is named."""
    owner, name, _ = rtc_sound.USED[at]
    monkeypatch.setattr(owner, name, lambda self: None)
    with pytest.raises(BackendError, match=name):
        rtc.check_aiortc()


def test_the_text_of_what_is_touched_is_the_one_that_was_read():
    """When this fails aiortc has changed: read the functions named here, then state the new digest."""
    read = (
        RTCRtpReceiver._handle_rtcp_packet,
        RTCRtpSender._run_rtcp,
        RTCRtpSender._run_rtp,
        RTCRtpSender._send_rtcp,
    )
    digest = hashlib.sha256("".join(map(inspect.getsource, read)).encode()).hexdigest()
    assert digest == "66111547b47c0e161af9cc82e6b3f28c5970a4b3dc9a36461ebd2b73982d1f6d"
