"""What a self check reads of one frame: a head's pose, a mouth, and how near the face is to the portrait's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from engine.errors import InputError


@dataclass(frozen=True, slots=True)
class Signs:
    """Of the followed face in one frame.

    yaw, pitch: degrees, as engine.types.HeadPose has them. mouth: as engine.types.Openness has it. track: a number that
    stays while the same face is followed. score: the likeness of all its frontal frames so far to the portrait
    (engine/self_check/likeness.py), and looks: how many frames that were; 0 and 0 before the first.
    """

    yaw: float
    pitch: float
    mouth: float
    track: int
    score: float = 0.0
    looks: int = 0


def numbers(signs: Signs) -> dict[str, float]:
    """As they travel."""
    return asdict(signs)


def of_numbers(told: object) -> Signs:
    """Read back. Raises InputError for anything but finite numbers by the names of all fields."""
    names = [one.name for one in fields(Signs)]
    if not isinstance(told, Mapping) or set(told) != set(names):
        raise InputError(f"signs: expected numbers by {', '.join(names)}")
    values = [told[name] for name in names]
    if not all(isinstance(one, (int, float)) and math.isfinite(one) for one in values):
        raise InputError("signs: expected finite numbers")
    yaw, pitch, mouth, track, score, looks = values
    return Signs(float(yaw), float(pitch), float(mouth), int(track), float(score), int(looks))
