"""Offers of the programs that publish, as aiortc is to answer them, and its answers as those programs read them.

GStreamer 1.22's and FFmpeg 8.1's are their own; OBS's is written by hand, in the words that its library uses.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import SessionDescription

from streaming.candidates import clean_offer
from streaming.offer import preferring
from streaming.whip.descriptions import described

DATA = Path(__file__).parents[1] / "data"
PROFILES = {"gstreamer_publish": "640014", "ffmpeg_publish": "4d000c", "obs_publish": "640032"}


def offered(name: str) -> str:
    text = (DATA / f"{name}.sdp").read_text(encoding="utf-8").replace("\n", "\r\n")
    return clean_offer(text, public=False)


def answered(sdp: str) -> str:
    """aiortc's own answer to an offer that sends."""
    return asyncio.run(_answered(sdp))


async def _answered(sdp: str) -> str:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        connection.addTransceiver("video", "recvonly").setCodecPreferences(preferring("auto"))
        await connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        return (await connection.createAnswer()).sdp
    finally:
        await connection.close()


@pytest.mark.parametrize("name", PROFILES)
def test_each_publisher_is_answered_with_its_own_profile(name: str) -> None:
    """aiortc takes the offer, which alone it would not, and what it answers is what was offered."""
    offer = offered(name)
    taken = described(offer)
    answer = taken.answered(answered(taken.sdp))
    media = {section.kind: section for section in SessionDescription.parse(answer).media}
    (codec,) = (each for each in media["video"].rtp.codecs if each.name == "H264")
    assert codec.parameters["profile-level-id"] == PROFILES[name]
    assert str(codec.parameters["packetization-mode"]) == "1"
    assert [section.direction for section in media.values()] == ["recvonly"] * 2
    assert answer.count("a=ice-options:trickle\r\n") == 1
    assert answer.count("a=rtcp-mux-only") == (2 if "a=rtcp-mux-only" in offer else 0)
    assert answer.count("a=rtcp-mux\r\n") == 2


@pytest.mark.parametrize("name", PROFILES)
def test_aiortc_alone_would_not(name: str) -> None:
    """The tests above can fail: without the other words there is no common codec."""
    with pytest.raises(Exception, match="Failed to set remote video"):
        answered(offered(name))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ("packetization-mode=0;profile-level-id=42e01f", "packetization-mode=0;profile-level-id=42e01f"),
        ("profile-level-id=nonsense;packetization-mode=1", "packetization-mode=1;profile-level-id=nonsense"),
        ("x=y", "level-asymmetry-allowed=1"),
        (None, "level-asymmetry-allowed=1"),
    ],
)
def test_other_ways_to_say_h264(parameters: str | None, told: str) -> None:
    """Another packetization, a profile that is none, no words at all: the answer never says what was not offered."""
    lines = offered("obs_publish").split("\r\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("a=fmtp:96"))
    lines[at : at + 1] = [] if parameters is None else [f"a=fmtp:96 {parameters}"]
    taken = described("\r\n".join(lines))
    (line,) = (
        line for line in taken.answered(answered(taken.sdp)).split("\r\n") if line.startswith("a=fmtp:96")
    )
    assert line.removeprefix("a=fmtp:96 ").removeprefix("level-asymmetry-allowed=1;") == told


def test_a_page_of_ours_stays_as_it_is() -> None:
    """A data channel says that a picture is to come back; without one, sendrecv means sendonly (RFC 9725, 4.2)."""
    page = offered("chromium_camera")
    assert described(page).sdp == page
    other = offered("obs_publish").replace("a=sendonly", "a=sendrecv")
    assert described(other).sdp.count("a=sendonly") == 2
    assert described(other, sends=False).sdp == other


def test_what_aiortc_knows_is_left_alone() -> None:
    """Of a browser that only sends, the payload types that it would choose keep their words."""
    head, media, _ = offered("chromium_camera").partition("m=application")
    assert media
    browser = head.replace("a=sendrecv", "a=sendonly")
    taken = described(browser)
    assert {"102", "108"}.isdisjoint(taken.profiles)
    assert {"104", "114"} <= set(taken.profiles)
