"""The two hand models: where are palms, and where are the 21 points of a hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from engine.backends import open_graph
from engine.models import locate
from engine.track import ssd
from engine.track.body_region import place
from engine.track.hand_region import from_palm
from engine.track.region import Region, cut
from engine.types import F32, F64, U8

POINTS = 21
"""Points of a hand: 0 wrist, then four from the root to the tip of thumb, index, middle, ring and little finger."""

PALM_SIZE, HAND_SIZE = 192, 224
"""Sides of the two models' inputs in pixels."""

_LAYERS = ((8, 2), (16, 6))
_WRIST, _KNUCKLE = 2, 4  # rows of a candidate, after the box's two corners
_MIN_PRESENCE = 0.5
_LANDMARKS, _PRESENCE = "Identity", "Identity_1"


@dataclass(frozen=True, slots=True, eq=False)
class Hand:
    """One hand. points: float32 (21, 2) in pixels. presence: 0..1 that it is one."""

    points: F32
    presence: float


class Looker(Protocol):
    """What the tracker asks of the models."""

    def find(self, rgb: U8, view: Region) -> list[Region]:
        """The regions of the hands in a part of the picture, surest first."""
        ...

    def read(self, rgb: U8, region: Region) -> Hand | None:
        """The hand in a region, or None where there is none."""
        ...

    def close(self) -> None: ...


@cache
def anchors() -> F32:
    """float32 (2016, 2): x, y of the anchors in the palm detector's square, 0..1. Read-only."""
    return ssd.anchors(PALM_SIZE, _LAYERS)


def palms(raw: F32, logits: F32, view: Region) -> list[Region]:
    """The regions of the hands that the detector saw in a view, surest first. raw: (1, 2016, 18), box and seven points
    of each anchor; logits: (1, 2016, 1)."""
    found, _ = ssd.merge(*ssd.decode(raw[0], logits.reshape(-1), anchors(), PALM_SIZE))
    regions = []
    for candidate in found:
        placed = place(candidate, view)
        regions.append(from_palm(placed[:2], placed[_WRIST], placed[_KNUCKLE]))
    return [region for region in regions if region.valid()]


class HandModel:
    """MediaPipe's palm detector and hand landmark model, the small ones. Not for several threads at once.

    backend: "auto" or the name of a backend. cache: folder of the models, None for the default one.
    Raises ModelError when a model is not there and BackendError when the runtime is not.
    """

    def __init__(self, backend: str = "auto", cache: Path | None = None, threads: int = 1) -> None:
        self._detector = open_graph(locate("palm_detection", cache), backend, threads)
        needed = (_LANDMARKS, _PRESENCE)
        self._landmarks = open_graph(locate("hand_landmark", cache), backend, threads, needed)
        self._square = np.zeros((1, PALM_SIZE, PALM_SIZE, 3), np.float32)
        self._hand = np.zeros((1, HAND_SIZE, HAND_SIZE, 3), np.float32)

    def find(self, rgb: U8, view: Region) -> list[Region]:
        """The regions of the hands in an upright view of the picture, uint8 (H, W, 3), surest first."""
        cut(rgb, view, self._square[0], 0.0, 1.0, black_outside=True)
        answer = self._detector.run({"input_1": self._square})
        return palms(answer["Identity"], answer["Identity_1"], view)

    def read(self, rgb: U8, region: Region) -> Hand | None:
        """The hand in a region of the picture, or None where there is none."""
        cut(rgb, region, self._hand[0], 0.0, 1.0, black_outside=False)
        answer = self._landmarks.run({"input_1": self._hand})
        presence = float(answer[_PRESENCE].reshape(-1)[0])
        points: F64 = answer[_LANDMARKS].reshape(POINTS, 3)[:, :2].astype(np.float64) / HAND_SIZE
        if not (presence > _MIN_PRESENCE and math.isfinite(presence) and np.isfinite(points).all()):
            return None
        return Hand(place(points, region).astype(np.float32), presence)

    def close(self) -> None:
        """Let go of both models."""
        self._detector.close()
        self._landmarks.close()
