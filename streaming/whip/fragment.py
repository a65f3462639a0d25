"""application/trickle-ice-sdpfrag (RFC 8840): the part of a session description that only ICE needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.errors import InputError
from streaming.candidates import MOST_LINE, MOST_SECTIONS

MEDIA_TYPE: Final = "application/trickle-ice-sdpfrag"
MOST_BYTES: Final = 16 << 10
OPTIONS: Final = "a=ice-options:trickle"
"""What answers and fragments of this server say of ICE, always the same."""

_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_LINE = re.compile(r"[acm]=[^\x00-\x1f\x7f]*")
_MID = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,32}")


@dataclass(frozen=True, slots=True)
class Fragment:
    """ufrag, password: of the sender's ICE, both empty where it names none. candidates: its lines, as they came
    ("a=candidate:..."). ended: there are no more. mids: the media sections that it names, in their order."""

    ufrag: str = ""
    password: str = ""
    candidates: tuple[str, ...] = ()
    ended: bool = False
    mids: tuple[str, ...] = ()


def read(body: bytes) -> Fragment:
    """A client's fragment. All of its sections must be of one ICE session, for all media share one transport.

    Raises InputError for what is larger than MOST_BYTES, has a line that is none, or names two sessions.
    """
    if len(body) > MOST_BYTES:
        raise InputError(f"fragment: got {len(body)} bytes, expected at most {MOST_BYTES}")
    ufrags, passwords, mids, candidates = [], [], [], []
    ended, sections = False, 0
    for line in _lines(body):
        name, _, value = line.partition(":")
        if line.startswith("m="):
            sections += 1
        elif name == "a=ice-ufrag":
            ufrags.append(_matching(_UFRAG, value, "ice-ufrag"))
        elif name == "a=ice-pwd":
            passwords.append(_matching(_PASSWORD, value, "ice-pwd"))
        elif name == "a=mid":
            mids.append(_matching(_MID, value, "mid"))
        elif name == "a=candidate":
            candidates.append(line)
        elif name == "a=end-of-candidates":
            ended = True
    if sections > MOST_SECTIONS:
        raise InputError(f"fragment: got {sections} media sections, expected at most {MOST_SECTIONS}")
    if len(set(mids)) != len(mids):
        raise InputError("fragment: two of its media sections have one mid")
    if len(set(ufrags)) > 1 or len(set(passwords)) > 1 or bool(ufrags) != bool(passwords):
        raise InputError("fragment: expected one ice-ufrag and one ice-pwd, or none of them")
    ufrag, password = (next(iter(each), "") for each in (ufrags, passwords))
    return Fragment(ufrag, password, tuple(candidates), ended, tuple(mids))


def written(ufrag: str, password: str, candidates: Sequence[str], kind: str, mids: Sequence[str]) -> str:
    """This server's own after a restart of ICE: all its candidates ("a=candidate:..."), under the section that stands
    for the bundle. kind: that section's, "audio", "video" or "application". mids: of the whole bundle, its own first.
    """
    protocol = "UDP/DTLS/SCTP webrtc-datachannel" if kind == "application" else "UDP/TLS/RTP/SAVPF 0"
    lines = [
        OPTIONS,
        f"a=group:BUNDLE {' '.join(mids)}",
        f"m={kind} 9 {protocol}",
        f"a=mid:{mids[0]}",
        f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{password}",
        *candidates,
        "a=end-of-candidates",
    ]
    return "\r\n".join(lines) + "\r\n"


def _lines(body: bytes) -> list[str]:
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError as error:
        raise InputError("fragment: expected ASCII text") from error
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_LINE or not _LINE.fullmatch(line):
            raise InputError(f"fragment: line {number} is none of a=, m= and c= (RFC 8840)")
    return lines


def _matching(pattern: re.Pattern[str], value: str, name: str) -> str:
    if not pattern.fullmatch(value):
        raise InputError(f"fragment: its {name} is none (RFC 8839)")
    return value
