"""What measures the driver for a session: any object that offers these methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypedDict

from engine.types import F32, U8, Body, Face, Frame


class Tracker(Protocol):
    """Follows faces through a stream, main face first."""

    @property
    def main_id(self) -> int | None:
        """Track id of the main face, also while it is out of sight and its seat is held; None when nobody has it."""
        ...

    def track(self, frame: Frame) -> tuple[Face, ...]: ...


class BodyTracker(Protocol):
    """Follows one body at its own rate."""

    def track(self, frame: Frame) -> Body | None: ...


class Segmenter(Protocol):
    """Tells person from background: uint8 (H, W), 255 = person."""

    def mask(self, rgb: U8) -> U8: ...


class Occlusion(Protocol):
    """Tells what stands in front of faces: hands, things, hair."""

    def mask(self, frame: Frame, faces: Sequence[Face]) -> U8 | None:
        """uint8 (H, W), 255 = something covers a face there, 0 elsewhere; None where nothing covers any. Steady over
        time: nobody filters it after this."""
        ...

    def reset(self) -> None:
        """Forget every face: the next one is another driver's."""
        ...


class Expressions(Protocol):
    """Blendshape scores by name, each 0..1, from the 478 points of a face."""

    def measure(self, points: F32) -> Mapping[str, float]: ...


class Measurers(TypedDict, total=False):
    """What measures the driver beside the tracker, by the names of a session's arguments."""

    body: BodyTracker
    segmenter: Segmenter
    occlusion: Occlusion
    expressions: Expressions
