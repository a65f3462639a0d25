"""What a page asks for when it opens a call, and what of it can be answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiortc import RTCIceServer, RTCRtpSender
from aiortc.rtcicetransport import parse_stun_turn_uri
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.sdp import SessionDescription

from engine.config import known
from engine.errors import ConfigError, InputError
from engine.types import Mode
from engine.worker.interface import DriverKind, SessionSpec
from streaming.turn import account as account_of

if TYPE_CHECKING:
    from streaming.config import ServeConfig

_CODECS = ("auto", "vp8", "h264")
_PREFERRED = "h264"  # encoding and decoding it take half of VP8's time


@dataclass(frozen=True, slots=True)
class Offer:
    """What whoever drives a session asks for: sdp with one video section (sendrecv with a camera, sendonly where
    nothing is to come back, recvonly without a camera), and at most one audio section and one data channel; type
    "offer"; id of a source; driver "camera", "demo" or "tracker"; codec "auto", "vp8" or "h264"; bundle, mode
    and donors as in engine.worker.interface.SessionSpec, but mode as text."""

    sdp: str
    type: str
    source: str
    driver: str = "camera"
    codec: str = "auto"
    bundle: str = ""
    mode: str = ""
    donors: tuple[str, ...] = ()


def spec_of(offer: Offer, source: str) -> SessionSpec:
    """What its session is opened with. Raises ConfigError."""
    mode = Mode(known(offer.mode, [mode.value for mode in Mode], "mode")) if offer.mode else None
    return SessionSpec(source, driver_of(offer), bundle=offer.bundle, mode=mode, donors=offer.donors)


def driver_of(offer: Offer) -> DriverKind:
    """Who is to move the picture at first. Raises ConfigError."""
    try:
        return DriverKind(offer.driver)
    except ValueError:
        raise ConfigError(f"driver: got {offer.driver[:40]!r}, expected camera, demo or tracker") from None


@dataclass(frozen=True, slots=True)
class Sections:
    """What an offer has: the direction of its video and of its audio in the words of whoever offers, None where there
    is none; whether there is a data channel."""

    video: str | None
    audio: str | None = None
    channel: bool = False

    @property
    def camera(self) -> bool:
        """Whether it sends a video."""
        return self.video in ("sendrecv", "sendonly")

    @property
    def watches(self) -> bool:
        """Whether it wants one."""
        return self.video in ("sendrecv", "recvonly")

    @property
    def listens(self) -> bool:
        """Whether it wants sound."""
        return self.audio in ("sendrecv", "recvonly")


def _sections(sdp: str) -> Sections:
    """Raises InputError for what cannot be read, and for two of a kind."""
    try:
        media = SessionDescription.parse(sdp).media
    except Exception as error:  # its parser raises whatever it stumbles over
        raise InputError(f"sdp: it cannot be read ({type(error).__name__}); reload the page") from None
    kinds = [section.kind for section in media]
    if len(set(kinds)) < len(kinds) or not kinds:
        told = ", ".join(kinds)[:60] or "nothing"
        raise InputError(
            f"sdp: got {told}, expected at most one video section, one audio section and one data channel"
        )
    directions = {section.kind: section.direction for section in media}
    return Sections(directions.get("video"), directions.get("audio"), "application" in kinds)


def sections_of_viewer(sdp: str) -> Sections:
    """Those of an offer to watch. Raises InputError."""
    sections = _sections(sdp)
    if not sections.watches and not sections.listens:
        raise InputError("sdp: it wants neither picture nor sound, expected recvonly sections")
    return sections


def sections_of_driver(offer: Offer, driver: DriverKind) -> Sections:
    """Those of an offer to drive a session. Raises InputError, or ConfigError for what it asks for beside them."""
    if offer.codec not in _CODECS:
        raise ConfigError(f"codec: got {offer.codec[:40]!r}, expected auto, vp8 or h264")
    if offer.type != "offer":
        raise InputError(f"type: got {offer.type[:40]!r}, expected offer")
    sections = _sections(offer.sdp)
    if sections.video is None:
        raise InputError("sdp: got no video section, expected one")
    if not sections.camera and not sections.watches:
        raise InputError(
            f"sdp: the video is {sections.video}, expected sendrecv or sendonly, or recvonly without a camera"
        )
    if driver is DriverKind.CAMERA and not sections.camera:
        raise InputError("driver: the offer sends no camera; choose the demo, or allow the camera")
    return sections


def ice_servers(config: ServeConfig) -> list[RTCIceServer]:
    """Those of the configuration; where it has the secret of a TURN server, with an account of now."""
    return [ice_server(url, config.turn_secret) for url in config.ice_servers]


def ice_server(url: str, secret: str = "") -> RTCIceServer:
    """stun:HOST:PORT, turn:NAME:PASSWORD@HOST:PORT, or with a secret turn:HOST:PORT, which is given an account then;
    turns: is TLS, and ?transport=tcp at the end TCP. Raises ConfigError, and leaves the account out of it."""
    kind, _, rest = url.partition(":")
    account, at, host = rest.rpartition("@")
    name, _, password = account.partition(":")
    plain = f"{kind}:{host}"
    try:
        port = parse_stun_turn_uri(plain)["port"]
    except ValueError:
        port = 0
    relays = kind.startswith("turn")
    if relays and not at and secret and 0 < port <= 65535:
        name, password = account_of(secret)
        return RTCIceServer(plain, username=name, credential=password)
    if not 0 < port <= 65535 or bool(at) != relays:
        raise ConfigError(
            f"ice_servers: got {plain[:80]!r}, expected stun:HOST:PORT or turn:NAME:PASSWORD@HOST:PORT; give it again "
            "with --ice-server, or a TURN server's secret with --turn-secret-file"
        )
    return RTCIceServer(plain, username=name, credential=password) if at else RTCIceServer(plain)


def preferring(codec: str) -> list[RTCRtpCodecCapability]:
    """What aiortc is able to do, with this codec first: where the browser has it not, the other is better than none."""
    codec = _PREFERRED if codec == "auto" else codec
    able = RTCRtpSender.getCapabilities("video").codecs
    return sorted(able, key=lambda each: each.mimeType.lower() != f"video/{codec}")
