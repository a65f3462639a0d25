"""ARKit's face as the Live Link Face app sends it over UDP (port 11111 by its default), one face a packet.

All numbers are big-endian: version (one byte, 6), the device's id and the subject's name (each a 32-bit length and so
many bytes), frame number (32 bits) and its fraction (float), frame rate as numerator and denominator (32 bits each),
how many scores follow (one byte, 61), and these as floats: the 52 blendshapes of `NAMES`, then yaw, pitch and roll of
the head, of the left eye and of the right one, in radians. The head's signs are those by which senders of this format
turn a figure in Unreal: yaw turns the nose to the picture's right, pitch up, roll tilts against the clock.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from engine.acting import Acting
from engine.drivers.blendshapes import about_axes, acting_of
from engine.errors import InputError
from engine.geometry import pose_rotation
from engine.types import HeadPose

VERSION: Final = 6
MOST_BYTES: Final = 1024
_LONGEST_TEXT = 256

NAMES: Final = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
_HEAD = 3
_COUNT = len(NAMES) + 9


def read(packet: bytes) -> Acting | None:
    """The face in a packet; None where it says that there is none (a packet without scores). Raises InputError."""
    at = 0

    def take(layout: str) -> tuple[float, ...]:
        nonlocal at
        start, at = at, at + struct.calcsize(layout)
        if at > len(packet):
            raise _wrong(f"it ends after {len(packet)} bytes")
        return struct.unpack_from(layout, packet, start)

    if len(packet) > MOST_BYTES:
        raise _wrong(f"it has {len(packet)} bytes, expected at most {MOST_BYTES}")
    (version,) = take("!B")
    if version != VERSION:
        raise _wrong(f"version {version}, expected {VERSION}")
    for what in ("device", "subject"):
        (length,) = take("!i")
        if not 0 <= length <= _LONGEST_TEXT:
            raise _wrong(f"{what}: got {length} bytes of text, expected 0 .. {_LONGEST_TEXT}")
        take(f"!{int(length)}s")
    if at == len(packet):
        return None
    take("!ifii")
    (count,) = take("!B")
    if count != _COUNT:
        raise _wrong(f"{count} scores, expected {_COUNT}")
    scores = np.array(take(f"!{_COUNT}f"))
    if at != len(packet):
        raise _wrong(f"{len(packet) - at} bytes more than expected")
    if not np.isfinite(scores).all():
        raise _wrong("a score that is no finite number")
    shapes = np.clip(scores[: len(NAMES)], 0.0, 1.0)
    yaw, pitch, roll = about_axes(*scores[len(NAMES) : len(NAMES) + _HEAD].tolist())
    return acting_of(dict(zip(NAMES, shapes.tolist())), pose_rotation(HeadPose(yaw, pitch, -roll)))


def _wrong(what: str) -> InputError:
    return InputError(f"Live Link Face: {what}; set the app to ARKit mode and its default format")
