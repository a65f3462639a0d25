"""The ICE part of a description, as clients send it and as this server writes it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputError
from streaming.whip.fragment import MOST_BYTES, Fragment, read, written

TRICKLE = b"""a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1
a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag EsAw network-id 1
a=end-of-candidates
""".replace(b"\n", b"\r\n")
"""RFC 9725's own example."""


def test_the_rfcs_own_fragment_is_read() -> None:
    """Name, password, candidates as they came, and that they were all."""
    fragment = read(TRICKLE)
    assert (fragment.ufrag, fragment.password) == ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert [line[:24] for line in fragment.candidates] == [
        "a=candidate:1387637174 1",
        "a=candidate:473322822 1 ",
    ]
    assert (fragment.ended, fragment.mids) == (True, ("0",))


def test_a_fragment_may_name_no_session_and_have_no_candidates() -> None:
    """Some clients only say that there are no more."""
    assert read(b"a=end-of-candidates\n") == Fragment(ended=True)
    assert read(b"m=audio 9 RTP/AVP 0\na=mid:0\n") == Fragment(mids=("0",))


WRONG = {
    "empty": b"",
    "no line": b"hello\r\n",
    "an offer's line": b"v=0\r\n",
    "not ASCII": TRICKLE + "a=mid:é\r\n".encode(),
    "a control character": b"a=mid:0\x00\r\n",
    "name alone": b"a=ice-ufrag:EsAw\r\n",
    "password alone": b"a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
    "short name": TRICKLE.replace(b"a=ice-ufrag:EsAw", b"a=ice-ufrag:Es"),
    "short password": TRICKLE.replace(b"P2uYro0UCOQ4zxjKXaWCBui1", b"P2uYro0UCOQ4"),
    "two names": TRICKLE + b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:Other\r\n",
    "one mid twice": TRICKLE + b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n",
    "a mid of blanks": b"a=mid: \r\n",
    "many sections": b"m=audio 9 RTP/AVP 0\r\n" * 5,
    "a long line": b"a=candidate:" + b"1" * 2000 + b"\r\n",
    "too large": b"a=end-of-candidates\r\n" * (MOST_BYTES // 20),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_is_no_fragment_is_refused_in_a_line(which: str) -> None:
    """By its own name, before anything is done with it."""
    with pytest.raises(InputError, match=r"^fragment: ") as refused:
        read(WRONG[which])
    assert "\n" not in str(refused.value)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text("am=:0\r\nice-ufrgpwd candidate", max_size=200).map(str.encode))
def test_no_bytes_make_it_fail_otherwise(body: bytes) -> None:
    """Read, or refused."""
    with contextlib.suppress(InputError):
        read(body)


def test_this_servers_own_can_be_read_by_the_same_rules() -> None:
    """And it says that there are no more candidates, of the section that stands for the bundle."""
    lines = ["a=candidate:1 1 udp 2130706431 198.51.100.1 39132 typ host"]
    text = written("abcd", "x" * 22, lines, "video", ["v", "d"])
    assert read(text.encode()) == Fragment("abcd", "x" * 22, tuple(lines), True, ("v",))
    assert text.startswith("a=ice-options:trickle\r\na=group:BUNDLE v d\r\nm=video 9 ")
    assert text.endswith("a=end-of-candidates\r\n")
