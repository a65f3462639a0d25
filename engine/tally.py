"""What a render did, counted frame by frame."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from engine.media import MediaReader, MediaWriter
from engine.types import FrameReport, Mode


@dataclass(slots=True)
class Span:
    """Frames in a row with the same outcome. from_s: the driver's time of the first."""

    outcome: str
    from_s: float
    frames: int = 0


@dataclass(slots=True)
class Tally:
    """What a render did, for its report. about: what was rendered by what. spans: the outcomes in order of time.
    most_faces: moved in one frame. notes: what the user should know about the result. interrupted: it ended before
    the driver did.
    """

    about: dict[str, Any] = field(default_factory=dict)
    frames: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    most_faces: int = 0
    spans: list[Span] = field(default_factory=list)
    seconds: dict[str, array[float]] = field(default_factory=dict, repr=False)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    def add(self, report: FrameReport, time_s: float) -> None:
        """Count the frame at `time_s` of the driver's clock."""
        self.frames += 1
        self.most_faces = max(self.most_faces, report.faces)
        self.outcomes[report.outcome.value] += 1
        if not self.spans or self.spans[-1].outcome != report.outcome.value:
            self.spans.append(Span(report.outcome.value, time_s))
        self.spans[-1].frames += 1
        if report.reason:
            self.reasons[report.reason] += 1
        for stage, spent in report.seconds.items():
            self.seconds.setdefault(stage, array("d")).append(spent)

    def conclude(
        self,
        media: MediaReader,
        writer: MediaWriter,
        faces: int,
        found: int,
        mode: Mode = Mode.PUPPET,
        what: str = "face",
    ) -> None:
        """Put into notes what is not as a user would expect it. faces: asked for; found: in the source, of a puppet.
        what: is looked for in the driver."""
        nobody = f"no {what}"
        self.notes += writer.notes
        if mode is Mode.PUPPET:
            self._conclude_puppet(media, faces, found)
        elif 0 < self.most_faces < faces:
            self.notes.append(f"{media.name}: at most {self.most_faces} of {faces} faces were found at once")
        if media.dropped:
            self.notes.append(f"{media.name}: {counted(media.dropped)} left out, being damaged")
        if self.frames and self.reasons[nobody] == self.frames:
            shown = "the portrait stands still" if mode is Mode.PUPPET else "a plain card stands in its place"
            self.notes.append(f"{media.name}: {nobody} in any of {counted(self.frames)}: {shown}")
        for reason, count in self.reasons.items():
            if reason != nobody:
                self.notes.append(f"{counted(count)} failed, where the fallback stands ({reason})")

    def _conclude_puppet(self, media: MediaReader, faces: int, found: int) -> None:
        if found < faces:
            self.notes.append(f"{found} of {faces} faces were found in the source")
        if 0 < self.most_faces < found:
            self.notes.append(
                f"{media.name}: at most {self.most_faces} of {found} faces moved at once; the others stand still"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain data: counts, and per stage the median and 95th percentile in milliseconds."""
        stages = {
            stage: {
                "median_ms": 1e3 * float(np.median(spent)),
                "p95_ms": 1e3 * float(np.quantile(spent, 0.95)),
            }
            for stage, spent in self.seconds.items()
        }
        return self.about | {
            "interrupted": self.interrupted,
            "frames": self.frames,
            "outcomes": dict(self.outcomes),
            "reasons": dict(self.reasons),
            "spans": [asdict(span) for span in self.spans],
            "stages": stages,
            "notes": self.notes,
        }


def counted(frames: int) -> str:
    """In words: 1 frame, 2 frames."""
    return f"{frames} frame" if frames == 1 else f"{frames} frames"
