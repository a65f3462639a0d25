"""What was found in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from engine.provenance.reading import Manifest

SYNTHETIC: Final = frozenset(
    {
        "trainedAlgorithmicMedia",
        "compositeWithTrainedAlgorithmicMedia",
        "compositeSynthetic",
        "algorithmicMedia",
    }
)
"""IPTC's digital source types of what was generated, or partly."""


class Status(IntEnum):
    """What one file comes to; of several the largest is the command's exit status."""

    MARKED = 0
    """At least one mark says that it was generated, and none is broken."""
    NONE = 1
    """No mark was found: it may be a plain recording, or they were removed."""
    UNREADABLE = 2
    """It is no picture or video that is read."""
    BROKEN = 3
    """A manifest does not hold: the file was changed after it was signed, or the manifest was."""


@dataclass(frozen=True, slots=True)
class BadgeSeen:
    """found: whether the best likeness is above the threshold. likeness: correlation of the best place with the drawn
    badge, -1 .. 1. text: of that badge. box: x0 y0 x1 y1 as parts of the picture's sides. place: in words."""

    found: bool
    likeness: float
    text: str
    box: tuple[float, float, float, float]
    place: str


@dataclass(frozen=True, slots=True)
class WatermarkSeen:
    """present: in at least one window. probability_of_chance: at most this, that a file without the mark looks so, over
    all windows that were tried. windows, marked: how many were looked at, and in how many it is. engine, session, day:
    the payload; None where it could not be read. ours: the payload names this engine. session: 8 hex digits, the first
    of the SHA-256 of the session's name."""

    present: bool
    probability_of_chance: float
    windows: int
    marked: int
    engine: int | None = None
    ours: bool = False
    session: str | None = None
    day: str | None = None
    bits_sure: float | None = None
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class ConsentSeen:
    """A record that the manifest names. record: whether it lies here, and whether it holds for a render."""

    id: str
    record: str


C2paState = Literal["absent", "valid", "trusted", "broken", "not read"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one file. c2pa: "not read" where the library is missing; then `why` says so. frames: how many were looked at.
    why: of an unreadable file."""

    file: str
    status: Status
    why: str = ""
    kind: Literal["", "picture", "video"] = ""
    size: tuple[int, int] = (0, 0)
    frames: int = 0
    seconds: float = 0.0
    badge: BadgeSeen | None = None
    watermark: WatermarkSeen | None = None
    c2pa: C2paState = "absent"
    manifest: Manifest | None = None
    consent: tuple[ConsentSeen, ...] = ()

    def judged(self) -> Verdict:
        """With the status that the findings come to."""
        if self.c2pa == "broken":
            return replace(self, status=Status.BROKEN)
        manifest = self.manifest
        says = manifest is not None and (manifest.source_type in SYNTHETIC or bool(manifest.made))
        seen = self.badge is not None and self.badge.found
        marked = self.watermark is not None and self.watermark.present
        return replace(self, status=Status.MARKED if says or seen or marked else Status.NONE)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        found = asdict(self)
        found["status"] = self.status.name.lower()
        if self.manifest is not None:
            found["manifest"] = _plain(asdict(self.manifest) | {"made": self.manifest.made})
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
