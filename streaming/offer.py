"""What a page asks for when it opens a call, and what of it can be answered."""

from __future__ import annotations

from dataclasses import dataclass

from aiortc import RTCIceServer, RTCRtpSender
from aiortc.rtcicetransport import parse_stun_turn_uri
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.sdp import SessionDescription

from engine.config import known
from engine.errors import ConfigError, InputError
from engine.types import Mode
from engine.worker.interface import DriverKind, SessionSpec

_CODECS = ("auto", "vp8", "h264")
_PREFERRED = "h264"  # encoding and decoding it take half of VP8's time


@dataclass(frozen=True, slots=True)
class Offer:
    """What a page asks for: sdp with one video section (sendrecv with a camera, recvonly without) and one data
    channel; type "offer"; id of a source; driver "camera" or "demo"; codec "auto", "vp8" or "h264"; bundle, mode and
    donors as in engine.worker.interface.SessionSpec, but mode as text."""

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
        raise ConfigError(f"driver: got {offer.driver[:40]!r}, expected camera or demo") from None


def sends_camera(offer: Offer, driver: DriverKind) -> bool:
    """Whether the offer sends a camera. Raises InputError."""
    if offer.codec not in _CODECS:
        raise ConfigError(f"codec: got {offer.codec[:40]!r}, expected auto, vp8 or h264")
    if offer.type != "offer":
        raise InputError(f"type: got {offer.type[:40]!r}, expected offer")
    try:
        media = SessionDescription.parse(offer.sdp).media
    except Exception as error:  # its parser raises whatever it stumbles over
        raise InputError(f"sdp: it cannot be read ({type(error).__name__}); reload the page") from None
    if sorted(section.kind for section in media) != ["application", "video"]:
        kinds = ", ".join(section.kind for section in media)[:60] or "nothing"
        raise InputError(f"sdp: got {kinds}, expected one video section and one data channel")
    direction = next(section.direction for section in media if section.kind == "video")
    if direction not in ("sendrecv", "recvonly"):
        raise InputError(f"sdp: the video is {direction}, expected sendrecv, or recvonly without a camera")
    if driver is DriverKind.CAMERA and direction != "sendrecv":
        raise InputError("driver: the offer sends no camera; choose the demo, or allow the camera")
    return direction == "sendrecv"


def ice_server(url: str) -> RTCIceServer:
    """stun:host:port, or turn:name:password@host:port. Raises ConfigError, and leaves the account out of it."""
    kind, _, rest = url.partition(":")
    account, at, host = rest.rpartition("@")
    name, _, password = account.partition(":")
    plain = f"{kind}:{host}"
    try:
        port = parse_stun_turn_uri(plain)["port"]
    except ValueError:
        port = 0
    if not 0 < port <= 65535 or bool(at) != kind.startswith("turn"):
        raise ConfigError(
            f"ice_servers: got {plain[:80]!r}, expected stun:HOST:PORT or turn:NAME:PASSWORD@HOST:PORT; give it again "
            "with --ice-server"
        )
    return RTCIceServer(plain, username=name, credential=password) if at else RTCIceServer(plain)


def preferring(codec: str) -> list[RTCRtpCodecCapability]:
    """What aiortc is able to do, with this codec first: where the browser has it not, the other is better than none."""
    codec = _PREFERRED if codec == "auto" else codec
    able = RTCRtpSender.getCapabilities("video").codecs
    return sorted(able, key=lambda each: each.mimeType.lower() != f"video/{codec}")
