"""Descriptions of WHIP clients as aiortc is able to answer them, and its answers as they expect them.

- aiortc knows H.264 by the two Baseline profiles that it encodes. Who only sends may send any profile: its decoder
  reads all of them. Such a payload type is offered to aiortc as Constrained Baseline, and answered as it was offered.
- A client may say sendrecv and mean sendonly (RFC 9725, 4.2); a page of ours, which has a data channel, means it.
- What the offer says of rtcp-mux-only, the answer says too, and that candidates may trickle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiortc.sdp import parse_h264_profile_level_id

from streaming.whip.fragment import OPTIONS

_KNOWN = {parse_h264_profile_level_id(known)[0] for known in ("42001f", "42e01f")}
_OFFERED: Final = {"level-asymmetry-allowed": "1", "packetization-mode": "1", "profile-level-id": "42e01f"}
_ANSWERED = ("packetization-mode", "profile-level-id")
_H264 = re.compile(r"a=rtpmap:(\d{1,3}) H264/90000", re.IGNORECASE)
_FMTP = re.compile(r"a=fmtp:(\d{1,3}) (.*)")
_DIRECTIONS = ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")


@dataclass(frozen=True, slots=True)
class Described:
    """sdp: an offer for aiortc. profiles: by payload type, what its H.264 was offered with. mux_only: whether its first
    section wants RTCP beside RTP alone."""

    sdp: str
    profiles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    mux_only: bool = False

    def answered(self, answer: str) -> str:
        """aiortc's answer as the client reads it."""
        lines = []
        for line in answer.split("\r\n"):
            if (match := _FMTP.fullmatch(line)) and match[1] in self.profiles:
                told = {name: v for name, v in _parameters(match[2]).items() if name not in _ANSWERED}
                line = _written(match[1], {**told, **self.profiles[match[1]]})
            if line.startswith("m=") and OPTIONS not in lines:
                lines.append(OPTIONS)
            lines.append(line)
            if line == "a=rtcp-mux" and self.mux_only:
                lines.append("a=rtcp-mux-only")
        return "\r\n".join(lines)


def described(offer: str, *, sends: bool = True) -> Described:
    """An offer with lines that end in CRLF, as streaming.candidates.clean_offer gives it. sends: whether it is there to
    send."""
    sections = re.split(r"(?<=\r\n)(?=m=)", offer)
    channel = any(section.startswith("m=application") for section in sections)
    profiles: dict[str, Mapping[str, str]] = {}
    taken = []
    for section in sections:
        lines = section.split("\r\n")
        if section.startswith(("m=audio", "m=video")) and sends and not channel:
            lines = [_sending(line) for line in lines]
        if section.startswith("m=video") and sends and "a=sendonly" in lines:
            lines = _known_profiles(lines, profiles)
        taken.append("\r\n".join(lines))
    return Described("".join(taken), profiles, "a=rtcp-mux-only" in offer)


def _sending(line: str) -> str:
    return "a=sendonly" if line == "a=sendrecv" else line


def _known_profiles(lines: list[str], profiles: dict[str, Mapping[str, str]]) -> list[str]:
    types = {match[1] for line in lines if (match := _H264.fullmatch(line))}
    offered = {
        match[1]: _parameters(match[2])
        for line in lines
        if (match := _FMTP.fullmatch(line)) and match[1] in types
    }
    strange = {kind for kind in types if not _is_known(offered.get(kind, {}))}
    for kind in strange:
        given = offered.get(kind, {})
        profiles[kind] = {name: given[name] for name in _ANSWERED if name in given}
    kept = []
    for line in lines:
        match = _FMTP.fullmatch(line)
        if match and match[1] in strange:
            continue
        kept.append(line)
        if (match := _H264.fullmatch(line)) and match[1] in strange:
            kept.append(_written(match[1], _OFFERED))
    return kept


def _is_known(parameters: Mapping[str, str]) -> bool:
    """Whether aiortc finds it among its own."""
    if parameters.get("packetization-mode", "0") != "1":
        return False
    try:
        return parse_h264_profile_level_id(parameters.get("profile-level-id", "42E01F"))[0] in _KNOWN
    except ValueError:
        return False


def _parameters(text: str) -> dict[str, str]:
    pairs = (pair.strip().partition("=") for pair in text.split(";"))
    return {name.lower(): value for name, _, value in pairs if name}


def _written(kind: str, parameters: Mapping[str, str]) -> str:
    return f"a=fmtp:{kind} " + ";".join(f"{name}={value}" for name, value in parameters.items())
