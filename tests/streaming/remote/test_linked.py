"""STUN and TURN servers in another server's Link headers, and what else is there."""

from __future__ import annotations

import asyncio

import pytest
from aiortc import RTCIceServer

from streaming.remote.linked import MOST_SERVERS, ice_servers_of, relays_of
from streaming.remote.places import place_of
from streaming.remote.whip import with_feedback
from streaming.whip.endpoints import links

OFFER = """v=0
m=audio 9 X 96
a=mid:0
a=extmap:1 urn:one
a=rtpmap:96 opus/48000/2
m=video 9 X 97 98
a=mid:1
a=extmap:2 urn:two
a=rtpmap:97 VP8/90000
a=rtpmap:98 rtx/90000
"""


def test_what_this_server_writes_it_reads() -> None:
    """As RFC 9725 (4.6) has it, quoted characters too."""
    servers = [
        RTCIceServer("stun:s.example:3478"),
        RTCIceServer("turn:t.example:3478?transport=tcp", username='a"b', credential="c\\;d, e"),
    ]
    assert list(ice_servers_of(links(servers))) == servers
    assert list(ice_servers_of([", ".join(links(servers))])) == servers


@pytest.mark.parametrize(
    "header",
    [
        "", "<", "<turn:t.example>", '<turn:t.example>; rel="next"; username="a"; credential="b"',
        '<turn:t.example>; rel="ice-server"; username="a"', '<http://t.example>; rel="ice-server"',
        '<turn:t.example>; rel="ice-server"; username="a"; credential="b"; credential-type="oauth"',
        '<turn:t.example:0>; rel="ice-server"; username="a"; credential="b"', '<stun:s>; rel="ice-server' * 500,
        "<stun:s>" + ";a=b" * 5000, '<turn:t>; rel="ice-server"; username="' + "\\" * 8000,
    ],
)  # fmt: skip
def test_what_is_no_server_is_passed_over(header: str) -> None:
    """Quickly, however long it is."""
    assert ice_servers_of([header]) == ()


def test_only_a_few_are_taken() -> None:
    """A far server cannot have this one ask everybody."""
    assert len(ice_servers_of(['<stun:s.example>; rel="ice-server"'] * 50)) == MOST_SERVERS


def test_a_public_server_names_no_relay_in_the_house() -> None:
    """Its Link leads to relays of the net alone; STUN servers are of no use any more once the offer is made."""
    servers = [
        RTCIceServer("turn:127.0.0.1:3478", username="a", credential="b"),
        RTCIceServer("turn:8.8.8.8:3478?transport=tcp", username="a", credential="b"),
        RTCIceServer("turn:169.254.169.254:80", username="a", credential="b"),
        RTCIceServer("stun:8.8.8.8"),
    ]
    (kept,) = asyncio.run(relays_of(servers, near=False))
    assert (kept.urls, kept.username) == ("turn:8.8.8.8:3478?transport=tcp", "a")
    assert len(asyncio.run(relays_of(servers, near=True))) == 2


def test_an_offer_of_feedback_has_a_number_of_its_own() -> None:
    """In its video section alone, for each codec but those of repairs."""
    offer = OFFER.replace("\n", "\r\n")
    lines = with_feedback(offer).split("\r\n")
    assert [line for line in lines if "transport-cc" in line] == ["a=rtcp-fb:97 transport-cc"]
    (number,) = [line for line in lines if "transport-wide-cc" in line]
    assert number.startswith("a=extmap:3 ")
    assert lines.index(number) > lines.index("a=mid:1")
    assert [line for line in lines if line in offer.split("\r\n")] == offer.split("\r\n")


def test_a_place_may_name_its_stream() -> None:
    """Before the address, whose own query may have an = too."""
    assert place_of("https://a.example/w?k=v").stream == "live"
    named = place_of("b-1=https://a.example/w?k=v", "key")
    assert (named.stream, named.url, named.token) == ("b-1", "https://a.example/w?k=v", "key")
    assert named.shown == "https://a.example/w"
