"""What of one face in one picture tells how well it can be moved, or followed: numbers, no judgement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final

from engine.errors import InputError

EYES: Final = ("", "right", "left", "both")
"""What Measures.covered_eyes may be."""


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one face.

    eyes_px: pixels between the outer corners of the eyes. yaw, pitch, roll: degrees, of the head. blur: 0 (every edge
    is sharp) .. 1, how little another blur takes away (Crete et al., "The blur effect", 2007), in the worse direction.
    light: 0..255, the luma that a twentieth of the face is above: highlights, which do not depend on the colour of a
    skin as its mean does. burnt: share of the face at 250 and above. one_sided: how many times more light one half
    sends back than the other, as a power of two (stops). margin: from the face to the nearest edge of the picture, in
    heights of the face; negative where it is cut off. strange: share of the skin whose colour is far from the rest of
    it. covered_eyes: as engine.features.doubts says it. hidden: share of the face's points that something stands
    before, where that is measured (engine/occlusion).
    """

    eyes_px: float
    yaw: float
    pitch: float
    roll: float
    blur: float
    light: float
    burnt: float
    one_sided: float
    margin: float
    strange: float
    covered_eyes: str = ""
    hidden: float = 0.0


def numbers(measures: Measures) -> dict[str, float]:
    """As they travel."""
    return asdict(measures) | {"covered_eyes": float(EYES.index(measures.covered_eyes))}


def of_numbers(told: object) -> Measures:
    """Read back. Raises InputError for anything but finite numbers by the names of all fields."""
    names = [one.name for one in fields(Measures)]
    if not isinstance(told, Mapping) or set(told) != set(names):
        raise InputError(f"measures: expected numbers by {', '.join(names)}")
    values = [told[name] for name in names]
    if not all(isinstance(one, (int, float)) and math.isfinite(one) for one in values):
        raise InputError("measures: expected finite numbers")
    which = told["covered_eyes"]
    if which not in range(len(EYES)):
        raise InputError(f"measures: covered_eyes: got {which}, expected 0 .. {len(EYES) - 1}")
    named = {name: float(told[name]) for name in names if name != "covered_eyes"}
    return Measures(**named, covered_eyes=EYES[int(which)])
