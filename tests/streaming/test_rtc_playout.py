"""Frames that a browser is asked to show at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription, rtp
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters

from streaming import rtc

OFFERS = sorted((Path(__file__).parent / "data").glob("chromium_*.sdp"))
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"


class _Still(MediaStreamTrack):
    kind = "video"

    async def recv(self):
        raise NotImplementedError


async def _answered(offer: str, **options: bool) -> tuple[bool, str, rtp.HeaderExtensionsMap]:
    connection = RTCPeerConnection()
    try:
        connection.addTrack(_Still())
        (transceiver,) = connection.getTransceivers()
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        asked = rtc.render_at_once(transceiver, offer, **options)
        answer = await connection.createAnswer()
        return asked, answer.sdp, transceiver.sender._RTCRtpSender__rtp_header_extensions_map
    finally:
        await connection.close()


@pytest.mark.parametrize("path", OFFERS, ids=lambda path: path.stem)
def test_a_browser_that_offers_it_is_asked(path):
    """The answer takes the extension up under the browser's own number, and every packet carries a delay of none."""
    offer = path.read_text(encoding="utf-8").replace("\r\n", "\n").replace("\n", "\r\n")
    asked, answer, numbers = asyncio.run(_answered(offer))
    line = next(line for line in offer.split("\r\n") if rtc.PLAYOUT_DELAY in line)
    assert asked
    assert line in answer
    number = int(line.removeprefix("a=extmap:").split()[0])
    numbers.configure(RTCRtpParameters(headerExtensions=[RTCRtpHeaderExtensionParameters(id=9, uri=MID)]))
    packet = rtp.RtpPacket(payload_type=96, payload=b"picture")
    packet.extensions.mid = "0"
    data = packet.serialize(numbers)
    parsed = rtp.RtpPacket.parse(data, numbers)
    assert (parsed.payload, parsed.extensions.mid) == (b"picture", "0")
    assert rtp.unpack_header_extensions(*numbers.set(packet.extensions)) == [(9, b"0"), (number, bytes(3))]


def test_with_sound_a_picture_may_wait_for_it():
    """At once still, but up to 500 ms where the sound is played so late: none of it is out of step then."""
    offer = OFFERS[0].read_text(encoding="utf-8").replace("\r\n", "\n").replace("\n", "\r\n")
    _, _, numbers = asyncio.run(_answered(offer, waits=True))
    ((_, delays),) = rtp.unpack_header_extensions(*numbers.set(rtp.HeaderExtensions()))
    assert delays == bytes([0, 0, 50])


def test_a_browser_that_does_not_offer_it_is_left_alone():
    """Nothing is answered, or sent, that was not offered."""
    offer = OFFERS[0].read_text(encoding="utf-8").replace("\r\n", "\n")
    plain = "\r\n".join(line for line in offer.split("\n") if rtc.PLAYOUT_DELAY not in line)
    asked, answer, numbers = asyncio.run(_answered(plain))
    assert not asked
    assert rtc.PLAYOUT_DELAY not in answer
    assert type(numbers) is rtp.HeaderExtensionsMap
