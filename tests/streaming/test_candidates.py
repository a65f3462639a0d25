"""What of an offer is let in, whatever somebody who has the token may write into one."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputError
from streaming.candidates import MOST_BYTES, MOST_CANDIDATES, candidates_of, clean_candidates, clean_offer

# As Chromium 156 makes them, on a machine with an address of the documentation's range, which is nobody's.
OFFERS = {
    path.stem: path.read_text(encoding="utf-8").replace("\n", "\r\n")
    for path in sorted((Path(__file__).parent / "data").glob("chromium_*.sdp"))
}
OFFER = OFFERS["chromium_camera"]
_CANDIDATE = re.compile(r"a=candidate:(\S+) (\d+) (\S+) (\d+) (\S+) (\d+) typ (\S+)")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address of this machine's own decides a test."""
    monkeypatch.setattr("streaming.candidates._is_own", lambda address: False)


def _with(*candidates: str) -> str:
    head, _, tail = OFFER.partition("a=candidate:")
    lines = [f"a=candidate:{candidate}" for candidate in candidates]
    rest = [line for line in tail.split("\r\n")[1:] if not line.startswith("a=candidate:")]
    return head + "\r\n".join([*lines, *rest])


def _host(address: str, port: int = 50000, transport: str = "udp") -> str:
    return f"1 1 {transport} 2122194687 {address} {port} typ host generation 0 network-id 1"


def _kept(offer: str, *, public: bool = False) -> list[str]:
    found = [
        _CANDIDATE.fullmatch(line)
        for line in clean_offer(offer, public=public).split("\r\n")
        if "candidate:" in line
    ]
    assert all(found), "only whole candidates leave, without extensions"
    return [match[5] for match in found if match]


@pytest.mark.parametrize("name", OFFERS)
def test_what_chromium_offers_goes_through(name: str) -> None:
    """Everything that a call needs is still there, and a second cleaning changes nothing."""
    cleaned = clean_offer(OFFERS[name], public=False)
    before, after = SessionDescription.parse(OFFERS[name]), SessionDescription.parse(cleaned)
    for theirs, ours in zip(before.media, after.media):
        assert (ours.kind, ours.fmt, ours.direction) == (theirs.kind, theirs.fmt, theirs.direction)
        assert ours.rtp.codecs == theirs.rtp.codecs
        assert ours.ice.usernameFragment == theirs.ice.usernameFragment
        assert ours.dtls == theirs.dtls
    assert "fd00::2" in {candidate.ip for media in after.media for candidate in media.ice_candidates}
    assert "192.0.2.2" not in cleaned
    assert clean_offer(cleaned, public=False) == cleaned


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.9", "172.31.255.1", "192.168.1.20", "169.254.7.7", "::1", "fe80::1",
        "fd12:3456::1", "::ffff:192.168.1.20", "c1b0f1c4-1f0e-4d0e-8ab4-0123456789ab.local",
    ],
)  # fmt: skip
def test_near_addresses_are_tried(address: str) -> None:
    """This machine, this house, this wire, and names that only these know."""
    assert _kept(_with(_host(address))) == [address]


@pytest.mark.parametrize(
    "address",
    [
        "224.0.0.251", "239.1.1.1", "255.255.255.255", "0.0.0.0", "10.255.255.255", "192.168.1.255", "240.0.0.1",
        "::", "ff02::1", "fe80::1%eth0", "::ffff:224.0.0.1", "::ffff:0.0.0.0", "2002:a00:1::1", "64:ff9b::a00:1",
        "2001:0:1::1", "::10.0.0.1", "evil.example", "a.b.local", "-.local", ".local", "localhost", "0x7f.1",
        "127.1", "2130706433", "010.0.0.1", "127.0.0.1.", "[::1]",
    ],
)  # fmt: skip
def test_what_is_no_ones_address_is_never_tried(address: str) -> None:
    """Not even where public addresses are asked for: groups, everybody, nobody, tunnels, names, odd spellings."""
    for public in (False, True):
        assert _kept(_with(_host(address)), public=public) == []


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:21f::1", "100.64.1.1"])
def test_far_addresses_are_tried_when_asked_for(address: str) -> None:
    """Without --public-ice nobody makes this server send packets into the net."""
    assert _kept(_with(_host(address))) == []
    assert _kept(_with(_host(address)), public=True) == [address]


def test_this_machines_own_address_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser beside the server is reached also where the machine's only address is a public one."""
    own = ipaddress.ip_address("93.184.216.34")
    monkeypatch.setattr("streaming.candidates._is_own", lambda address: address == own)
    assert _kept(_with(_host("93.184.216.34"), _host("93.184.216.35"))) == ["93.184.216.34"]


def test_only_udp_to_ports_of_users_is_tried() -> None:
    """No service of the system, no TCP, no second component."""
    near = "192.168.1.20"
    offers = [_host(near, port) for port in (0, 9, 53, 1023)] + [_host(near, transport="tcp")]
    offers += [_host(near).replace("1 1 udp", "1 2 udp"), _host(near, transport="sctp")]
    assert _kept(_with(*offers)) == []
    assert _kept(_with(_host(near, 1024), _host(near, 65535, "UDP"))) == [near, near]


def test_candidates_are_few() -> None:
    """Of a thousand sixteen are left."""
    kept = _kept(_with(*(_host(f"10.0.{k}.1") for k in range(200))))
    assert kept == [f"10.0.{k}.1" for k in range(MOST_CANDIDATES)]


def test_no_other_line_brings_an_address_in() -> None:
    """What older ways of connecting state beside the candidates is not believed."""
    line = "a=remote-candidates:1 8.8.8.8 53\r\na=rtcp:53 IN IP4 8.8.8.8\r\nc=IN IP4 8.8.8.8\r\na=mid:0\r\n"
    assert "8.8.8.8" not in clean_offer(OFFER.replace("a=mid:0\r\n", line), public=True)


WRONG = {
    "": "begins with v=0",
    "v=0": "no media section",
    "x" * (MOST_BYTES + 1): "more than 65536 bytes",
    "ä" * (MOST_BYTES // 2 + 1): "more than 65536 bytes",
    OFFER + "a=" + "x" * 1100 + "\r\n": "at most 1024",
    OFFER + "\r\nno line\r\n": "is no line",
    OFFER.replace("\r\n", "\r"): "begins with v=0",
    OFFER + "a=x\x00y\r\n": "is no line",
    OFFER + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 3: "more than 4 media sections",
    OFFER + "m=text 9 UDP 96\r\n": "media section 3 cannot be read",
    OFFER + "m=video\r\n": "media section 3 cannot be read",
    OFFER + "a=candidate:\r\n": "a candidate cannot be read",
    OFFER + "a=candidate:1 1 udp 1 10.0.0.1 5000 typ nonsense\r\n": "a candidate cannot be read",
    OFFER + "a=candidate:1 x udp 1 10.0.0.1 5000 typ host\r\n": "is no number",
    OFFER + "a=candidate:1 1 udp 1 10.0.0.1 99999 typ host\r\n": "which do not exist",
    OFFER + "a=candidate:1 1 udp 9999999999 10.0.0.1 5000 typ host\r\n": "which do not exist",
    OFFER + "a=candidate:1 1 udp ١ 10.0.0.1 5000 typ host\r\n": "is no number",
    "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF x\r\n": "cannot be read",
    OFFER.replace("a=group:BUNDLE 0 1\r\n", ""): "in one bundle",
    OFFER.replace("a=mid:1", "a=mid:0"): "in one bundle",
    OFFER.replace("a=mid:0\r\n", ""): "in one bundle",
    OFFER.replace("a=setup:actpass\r\n", "", 1): "no fingerprint or no setup",
    re.sub("a=fingerprint:.*\r\n", "", OFFER): "no fingerprint or no setup",
    re.sub("a=ice-pwd:.*\r\n", "", OFFER): "no ICE name or password",
}


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_no_offer_is_refused(number: int) -> None:
    """With one line that says what was expected."""
    offer, said = list(WRONG.items())[number]
    with pytest.raises(InputError, match=said) as raised:
        clean_offer(offer, public=False)
    assert "\n" not in str(raised.value)


_LINES = [line for offer in OFFERS.values() for line in offer.split("\r\n") if line]
_WORDS = st.one_of(
    st.sampled_from(
        ["udp", "tcp", "typ", "host", "srflx", "1", "0", "5000", "10.0.0.1", "8.8.8.8", "::1", "x.local"]
    ),
    st.ip_addresses().map(str),
    st.integers(-1, 1 << 40).map(str),
    st.text(max_size=8),
)
_MADE = st.lists(_WORDS, max_size=10).map(lambda words: "a=candidate:" + " ".join(words))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(_LINES), _MADE, st.text(max_size=40)), max_size=60),
    st.booleans(),
    st.booleans(),
)
def test_whatever_is_written_is_cleaned_or_refused(lines: list[str], whole: bool, public: bool) -> None:
    """InputError and no other error; what comes out is read without a fault and holds nothing that is not allowed."""
    offer = (OFFER if whole else "v=0\r\n") + "\r\n".join(lines)
    try:
        cleaned = clean_offer(offer, public=public)
    except InputError:
        return
    candidates = [line for line in cleaned.split("\r\n") if line.startswith("a=candidate:")]
    assert len(candidates) <= MOST_CANDIDATES
    for line in candidates:
        fields = _CANDIDATE.fullmatch(line)
        assert fields is not None
        assert fields[3] == "udp"
        assert 1024 <= int(fields[6]) <= 65535
        if not fields[5].endswith(".local"):
            address = ipaddress.ip_address(fields[5])
            assert not address.is_multicast
            assert not address.is_unspecified
            assert public or address.is_private or address.is_loopback or address.is_link_local
    assert clean_offer(cleaned, public=public) == cleaned


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_offer_is_cleaned_or_refused(data: st.DataObject) -> None:
    """A real one with a piece cut out, doubled or overwritten."""
    offer = data.draw(st.sampled_from(list(OFFERS.values())))
    start = data.draw(st.integers(0, len(offer)))
    end = data.draw(st.integers(start, min(len(offer), start + 200)))
    piece = data.draw(st.one_of(st.just(""), st.just(offer[start:end] * 2), st.text(max_size=20)))
    try:
        cleaned = clean_offer(offer[:start] + piece + offer[end:], public=False)
    except InputError:
        return
    SessionDescription.parse(cleaned)


def test_a_section_that_goes_with_the_bundle_says_nothing_of_its_own() -> None:
    """As RFC 9725 shows it: its ICE and DTLS are those of the first section."""
    first, media, second = OFFER.rpartition("m=application")
    bare = [
        line for line in second.split("\r\n") if not line.startswith(("a=ice-", "a=fingerprint", "a=setup"))
    ]
    head = bare[0].split(" ")
    bare[0] = " ".join(["", "0", *head[2:]])
    offer = SessionDescription.parse(
        clean_offer(first + media + "\r\n".join([*bare[:-1], "a=bundle-only", ""]), public=False)
    )
    assert offer.media[1].ice == offer.media[0].ice
    assert offer.media[1].dtls == offer.media[0].dtls
    with pytest.raises(InputError, match="fingerprint"):
        clean_offer(first + media + "\r\n".join(bare), public=False)


def test_candidates_that_come_later_are_let_in_as_those_of_an_offer() -> None:
    """The same addresses, no more than are still free, and a line that is none is refused by the name of its place."""
    near, far = f"a=candidate:{_host('192.168.1.2')}", f"a=candidate:{_host('8.8.8.8')}"
    tcp = f"a=candidate:{_host('192.168.1.2', transport='tcp')}"
    taken = clean_candidates([near, far, tcp], public=False, most=4)
    assert taken == ["a=candidate:1 1 udp 2122194687 192.168.1.2 50000 typ host"]
    assert len(clean_candidates([near, far], public=True, most=4)) == 2
    assert clean_candidates([near, near], public=False, most=1) == taken
    assert clean_candidates([near], public=False, most=0) == []
    assert candidates_of(clean_offer(_with(*[_host("10.0.0.1")] * 20), public=False)) == MOST_CANDIDATES
    with pytest.raises(InputError, match="fragment: a candidate"):
        clean_candidates(["a=candidate:nonsense"], public=False, most=4, what="fragment")
