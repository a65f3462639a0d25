"""Transport-wide feedback between two aiortc connections, of which one is a browser that offers it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRtpfbPacket, is_rtcp

from engine.errors import BackendError
from streaming import rtc, rtc_congestion, twcc
from streaming.encoders import open_encoder
from streaming.measured import NoRecorder
from streaming.rtc import render_at_once, tune_receiver
from streaming.rtc_congestion import START_BITS, Congestion, control_congestion
from tests.streaming.encoding import use_encoder
from tests.streaming.impairment.offering import NUMBER, take_part, transport_wide
from tests.streaming.test_rtc import Pictures


@dataclass
class Ends:
    browser: Any
    server: Any
    answer: str
    agreed: bool
    of_browser: list[int] = field(default_factory=list)
    of_server: list[int] = field(default_factory=list)
    arrived: list[Any] = field(default_factory=list)


async def joined(offering: bool) -> Ends:
    """A browser that sends and shows, and a server that does both, joined on loopback."""
    browser, server = RTCPeerConnection(), RTCPeerConnection()
    with transport_wide() if offering else contextlib.nullcontext():
        browser.addTrack(Pictures())
        await browser.setLocalDescription(await browser.createOffer())
        server.addTrack(Pictures())
        await server.setRemoteDescription(browser.localDescription)
        ends = Ends(browser, server, "", False)
        (answering,) = server.getTransceivers()
        offer = browser.localDescription.sdp
        tune_receiver(answering.receiver, lambda frame, at: ends.arrived.append(frame), lambda: None)
        use_encoder(answering, lambda codec: open_encoder(codec, "s", NoRecorder()))
        render_at_once(answering, offer)
        ends.agreed = control_congestion(answering, offer, ends.of_server.append)
        await server.setLocalDescription(await server.createAnswer())
        ends.answer = server.localDescription.sdp
        await browser.setRemoteDescription(server.localDescription)
        if offering:
            take_part(browser.getTransceivers()[0], ends.of_browser.append)
    return ends


async def send_until(ends: Ends, done: Any) -> None:
    async with asyncio.timeout(20):
        while not done():
            for connection in (ends.browser, ends.server):
                connection.getSenders()[0].track.send()
            await asyncio.sleep(1 / 30)


def test_both_directions_are_told_and_estimated():
    """What the server gets it tells of, what it sends is told of; both ends come to an estimate of their way, which on
    loopback is not narrow; REMB is not agreed on."""

    async def run() -> None:
        ends = await joined(offering=True)
        try:
            await send_until(ends, lambda: len(ends.of_browser) > 3 and len(ends.of_server) > 3)
            assert ends.agreed
            assert f"extmap:{NUMBER} {twcc.URI}" in ends.answer
            assert "transport-cc" in ends.answer
            assert "goog-remb" not in ends.answer
            assert ends.of_server[-1] >= START_BITS / 2
            assert ends.of_browser[-1] >= START_BITS / 2
            assert ends.arrived
        finally:
            await asyncio.gather(ends.browser.close(), ends.server.close())

    asyncio.run(run())


def test_who_does_not_offer_it_keeps_remb():
    """Nothing is numbered and nothing told; the answer is as it was."""

    async def run() -> None:
        ends = await joined(offering=False)
        try:
            await send_until(ends, lambda: len(ends.arrived) > 5)
            assert not ends.agreed
            assert twcc.URI not in ends.answer
            assert "goog-remb" in ends.answer
            assert ends.of_server == []
        finally:
            await asyncio.gather(ends.browser.close(), ends.server.close())

    asyncio.run(run())


class Line:
    """A transport of which a test sees what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.heard: list[bytes] = []

    async def _send_rtp(self, data: bytes) -> None:
        self.sent.append(data)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self.heard.append(data)


def told(line: Line) -> list[twcc.Feedback]:
    return [feedback for data in line.sent if is_rtcp(data) for feedback in twcc.split(data)[0]]


def test_what_came_is_told_with_its_gaps_across_the_wrap_of_numbers():
    """A loss is told as one; a packet that comes late is told again, in its place."""

    async def run() -> None:
        line, now = Line(), [10.0]
        congestion = Congestion(line, lambda: now[0])
        for number in (0xFFFE, 0xFFFF, 1, 2):
            congestion.arrived(number, 7, 8)
            now[0] += 0.01
        await asyncio.sleep(2 * rtc_congestion.FEEDBACK_S)
        congestion.arrived(3, 7, 8)
        congestion.arrived(0, 7, 8)
        await asyncio.sleep(2 * rtc_congestion.FEEDBACK_S)
        first, second = told(line)
        assert (first.base, first.count, second.base, second.count) == (0xFFFE, 0, 0, 1)
        assert [at is not None for at in first.arrived_s] == [True, True, False, True, True]
        assert first.arrived_s[3] == pytest.approx(10.02, abs=0.001)
        assert None not in second.arrived_s
        assert len(second.arrived_s) == 4

    asyncio.run(run())


def test_a_leap_of_numbers_is_not_told_packet_by_packet():
    """Who sends numbers far apart gets short answers."""

    async def run() -> None:
        line = Line()
        congestion = Congestion(line)
        for number in range(0, 0x10000, 0x4000):
            congestion.arrived(number, 7, 8)
        await asyncio.sleep(2 * rtc_congestion.FEEDBACK_S)
        (feedback,) = told(line)
        assert len(feedback.arrived_s) <= 1001

    asyncio.run(run())


def test_feedback_never_reaches_aiortc_and_the_rest_does():
    """aiortc takes it for packets to send again."""

    async def run() -> None:
        line = Line()
        Congestion(line)
        nack = bytes(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=2, lost=[5]))
        feedback = twcc.pack(twcc.Feedback(0, (1.0, None, 1.0), 0), 1, 2)
        await line._handle_rtcp_data(feedback + nack)
        await line._handle_rtcp_data(feedback)
        assert line.heard == [nack]

    asyncio.run(run())


def test_losses_and_arrivals_lead_to_an_estimate():
    """Packets that are told to have arrived ever later mean that less is carried than what was sent."""

    async def run() -> None:
        line, now, estimates = Line(), [0.0], []
        congestion = Congestion(line, lambda: now[0])
        congestion.tell(estimates.append)
        for frame in range(90):
            numbers = []
            for _ in range(4):
                numbers.append(congestion.next_number())
                await line._send_rtp(bytes([0x80, 96]) + bytes(1100))
            now[0] += 1 / 30
            arrived = [100.0 + frame / 30 + 0.01 * frame] * 4  # 10 ms later with every frame
            await line._handle_rtcp_data(twcc.pack(twcc.Feedback(numbers[0], tuple(arrived), frame), 1, 2))
        sent_bits = 4 * (1102 + 38) * 8 * 30
        assert estimates[0] == START_BITS
        assert estimates[-1] < 0.9 * sent_bits

    asyncio.run(run())


def test_an_aiortc_that_changed_is_named(monkeypatch):
    """What is reached into is looked at before it is used."""
    monkeypatch.setattr(rtc_congestion.rtcdtlstransport.RTCDtlsTransport, "_recv_next", lambda self: None)
    with pytest.raises(BackendError, match="_recv_next"):
        rtc.check_aiortc()
