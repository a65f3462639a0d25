"""What of a browser's offer is let in: its size and shape, and the addresses that it asks this machine to reach."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiortc.sdp import SessionDescription

from engine.errors import InputError

MOST_BYTES: Final = 64 << 10
MOST_LINE: Final = 1024
MOST_SECTIONS: Final = 4
MOST_CANDIDATES: Final = 16
_KINDS = ("audio", "video", "application")
_LOWEST_PORT = 1024

_IPv4 = ipaddress.IPv4Address
_IPv6 = ipaddress.IPv6Address
_NEAR = [
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8", "::1/128",  # this machine
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",  # this house
        "169.254.0.0/16", "fe80::/10",  # this wire
    )
]  # fmt: skip
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_LINE = re.compile(r"[a-z]=[^\x00-\x1f\x7f]*")
_NUMBER = re.compile(r"[0-9]{1,10}")
_FOUNDATION = re.compile(r"[A-Za-z0-9+/]{1,32}")
_MDNS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.local", re.IGNORECASE)
_TRANSPORT = ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:", "a=rtcp-mux")
_TYPES = ("host", "srflx", "prflx", "relay")


@dataclass(frozen=True, slots=True)
class _Candidate:
    foundation: str
    component: int
    transport: str
    priority: int
    address: str
    port: int
    kind: str

    def __str__(self) -> str:
        """Only what was looked at: extensions stay outside."""
        return (
            f"a=candidate:{self.foundation} {self.component} udp {self.priority} {self.address} {self.port} "
            f"typ {self.kind}"
        )


def clean_offer(sdp: str, *, public: bool, what: str = "offer") -> str:
    """The offer with those remote candidates that this machine may be asked to send packets to.

    Kept are at most 16, UDP, ports from 1024 on, with loopback, private, link-local or unique local addresses,
    `.local` names, or this machine's own; `public`: also with global ones. The rest is left out. Raises InputError
    for an offer that is too large, has too many media sections, or cannot be read. what: its name, for its words.
    """
    kept: list[str] = []
    sections = candidates = 0
    for line in _lines(sdp, what):
        if line.startswith("m="):
            sections += 1
            _check_section(line, sections, what)
        if line.startswith("a=candidate:"):
            taken = clean_candidates([line], public=public, most=MOST_CANDIDATES - candidates, what=what)
            candidates += len(taken)
            kept += taken
        elif line.startswith("c="):
            kept.append(
                "c=IN IP4 0.0.0.0"
            )  # an address outside the candidates is not needed, and not believed
        elif not line.startswith(("a=rtcp:", "a=remote-candidates:")):
            kept.append(line)
    if not sections:
        raise InputError(f"{what}: it has no media section; expected one as createOffer() makes it")
    cleaned = "\r\n".join(_of_one_transport(kept)) + "\r\n"
    _check_readable(cleaned, what)
    return cleaned


def clean_answer(sdp: str, *, near: bool) -> str:
    """The same of another server's answer to an offer of ours. near: whether it may have candidates that are not of
    the whole net; else none but those is kept. Raises InputError."""
    lines = clean_offer(sdp, public=True, what="answer").split("\r\n")
    return "\r\n".join(line for line in lines if near or not _is_near(line))


def _is_near(line: str) -> bool:
    if not line.startswith("a=candidate:"):
        return False
    address = line.split(" ")[4]
    return bool(_MDNS.fullmatch(address)) or not ipaddress.ip_address(address).is_global


def clean_candidates(lines: Iterable[str], *, public: bool, most: int, what: str = "offer") -> list[str]:
    """Of lines "a=candidate:...", those of which clean_offer would keep at most `most`, as it writes them. Raises
    InputError for one that cannot be read. what: where they come from, for its words."""
    kept: list[str] = []
    for line in lines:
        candidate = _read(line, what)
        if len(kept) < most and _allowed(candidate, public):
            kept.append(str(candidate))
    return kept


def candidates_of(sdp: str) -> int:
    """How many candidates a cleaned offer has."""
    return sum(line.startswith("a=candidate:") for line in sdp.split("\r\n"))


def _of_one_transport(lines: list[str]) -> list[str]:
    """Give a section that only goes with the bundle, and so says nothing of ICE and DTLS (RFC 9143, 7.2.1), what the
    first one says: aiortc asks each."""
    starts = [at for at, line in enumerate(lines) if line.startswith("m=")]
    ends = [*starts[1:], len(lines)]
    sections = [lines[start:end] for start, end in zip(starts, ends)]
    shared = [line for line in sections[0] if line.startswith(_TRANSPORT)]
    for section in sections[1:]:
        if "a=bundle-only" in section:
            told = {line.partition(":")[0] for line in section}
            section += [line for line in shared if line.partition(":")[0] not in told]
    return [*lines[: starts[0]], *(line for section in sections for line in section)]


def _lines(sdp: str, what: str) -> list[str]:
    # A letter has at least one byte: the size is known to be too large before anything is encoded.
    if len(sdp) > MOST_BYTES or len(sdp.encode(errors="replace")) > MOST_BYTES:
        raise InputError(
            f"{what}: it has more than {MOST_BYTES} bytes; expected one as createOffer() makes it"
        )
    lines = sdp.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if lines[0] != "v=0":
        raise InputError(f"{what}: expected a session description that begins with v=0")
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_LINE:
            raise InputError(
                f"{what}: line {number} has {len(line)} characters; expected at most {MOST_LINE}"
            )
        if not _LINE.fullmatch(line):
            raise InputError(f"{what}: line {number} is no line of a session description (a letter, =, text)")
    return lines


def _check_section(line: str, number: int, what: str) -> None:
    kind, *rest = line.removeprefix("m=").split(" ")
    if number > MOST_SECTIONS:
        raise InputError(f"{what}: it has more than {MOST_SECTIONS} media sections")
    if kind not in _KINDS or len(rest) < 3 or not _NUMBER.fullmatch(rest[0]):
        raise InputError(f"{what}: media section {number} cannot be read; expected {', '.join(_KINDS)}")


def _read(line: str, what: str) -> _Candidate:
    fields = line.removeprefix("a=candidate:").split(" ")
    if (
        len(fields) < 8
        or fields[6] != "typ"
        or fields[7] not in _TYPES
        or not _FOUNDATION.fullmatch(fields[0])
    ):
        raise InputError(f"{what}: a candidate cannot be read; expected it as the browser gives it")
    numbers = (fields[1], fields[3], fields[5])
    if not all(_NUMBER.fullmatch(text) for text in numbers):
        raise InputError(f"{what}: a candidate's component, priority or port is no number")
    component, priority, port = map(int, numbers)
    if port > 65535 or priority >= 1 << 32:
        raise InputError(f"{what}: a candidate has port {port} and priority {priority}, which do not exist")
    return _Candidate(fields[0], component, fields[2].lower(), priority, fields[4], port, fields[7])


def _allowed(candidate: _Candidate, public: bool) -> bool:
    return (
        candidate.transport == "udp"
        and candidate.component == 1  # RTP and RTCP share it
        and candidate.port >= _LOWEST_PORT
        and _reachable(candidate.address, public)
    )


def _reachable(text: str, public: bool) -> bool:
    if _MDNS.fullmatch(text):
        return True
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, _IPv6):
        if address.scope_id is not None:
            return False
        # What carries an IPv4 address inside goes where that one goes.
        if address.ipv4_mapped is not None:
            return _reachable(str(address.ipv4_mapped), public)
        if address.sixtofour is not None or address.teredo is not None:
            return False
    if any(address.version == near.version and address in near for near in _NEAR):
        # The mask of a far network is not known, and most broadcast addresses end in 255.
        return not (isinstance(address, _IPv4) and address.packed.endswith(b"\xff"))
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return False
    if not public:
        return _is_own(address)  # a browser beside this server, on a machine whose address is a public one
    return address.is_global or address in _SHARED or _is_own(address)


def _is_own(address: _IPv4 | _IPv6) -> bool:
    """Whether it is this machine's: what is sent to it would leave from it. Nothing is sent to find that out."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((str(address), 9))
            return ipaddress.ip_address(asking.getsockname()[0]) == address
    except OSError:
        return False


def _check_readable(sdp: str, what: str) -> None:
    """Read it as it will be read, where an error can still be told as the offer's."""
    try:
        session = SessionDescription.parse(sdp)
    except Exception as error:  # its parser raises whatever it stumbles over, StopIteration too
        raise InputError(f"{what}: it cannot be read; expected one as createOffer() makes it") from error
    names = [section.rtp.muxId for section in session.media]
    bundled = [name for group in session.group if group.semantic == "BUNDLE" for name in group.items]
    if len(set(names)) != len(names) or set(names) != set(bundled):
        raise InputError(f"{what}: expected all its media in one bundle, each with a mid of its own")
    for section in session.media:
        if section.dtls is None or section.dtls.role is None or not section.dtls.fingerprints:
            raise InputError(f"{what}: a media section has no fingerprint or no setup; expected both")
        if section.ice is None or not section.ice.usernameFragment or not section.ice.password:
            raise InputError(f"{what}: a media section has no ICE name or password; expected both")
