"""Sessions that edit, with a tracker that is told where the faces are."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from engine import canonical
from engine.features import gaze, openness
from engine.features.au_basis import deform
from engine.features.shape import fit_shape
from engine.pipeline import PipelineConfig, Session
from engine.plug import Generator, Runner
from engine.types import AU_NAMES, F32, Face, FaceShape, Frame, Mode, Neutral, Source

WIDTH, HEIGHT = 201, 157
HUE = (180, 20, 200)
"""The driver's tint: no card, portrait or edit of these tests has it."""

ONLY_OFFSETS = {"mouth": 0.0, "eyes": 0.0, "brows": 0.0}
"""Gains with which the AUs asked for are the offsets, whatever the face shows."""


def face_at(
    x: float, y: float, track_id: int = 1, *, scale: float = 5.0, roll: float = 0.0, **aus: float
) -> Face:
    """A canonical face, moved by `aus`, whose middle is at (x, y)."""
    values = np.array([aus.get(name, 0.0) for name in AU_NAMES], np.float32)
    cosine, sine = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    shape = FaceShape(deform(canonical.VERTICES, values), turn, scale, np.array([x, y, 0.0]))
    points: F32 = shape.points()
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float32)
    return Face(box, points, 1.0, track_id)


def rest() -> Neutral:
    """The canonical face at rest."""
    shape = fit_shape(face_at(100, 80).points)
    return Neutral(shape, openness.measure(shape), gaze.measure(shape), 1.0)


def frame_at(number: int, size: tuple[int, int] = (WIDTH, HEIGHT), seed: int | None = None) -> Frame:
    """A frame in HUE, with a grain where `seed` is given."""
    rgb = np.empty((size[1], size[0], 3), np.uint8)
    rgb[...] = HUE
    if seed is not None:
        grain = np.random.default_rng(seed).integers(-15, 16, rgb.shape)
        rgb = (rgb.astype(int) + grain).clip(0, 255).astype(np.uint8)
    return Frame(rgb, number, Fraction(1, 30), number / 30)


def donor_source(value: int = 90, name: str = "donor", **aus: float) -> Source:
    """A grey picture of 128 x 128 with a face."""
    return Source(
        np.full((128, 128, 3), value, np.uint8), face_at(64, 64, scale=4.0, **aus), None, name, name
    )


class Scripted:
    """Gives the faces it was told, frame by frame, the last ones for ever; raises what it was told to raise."""

    def __init__(self, *script: Sequence[Face] | Exception) -> None:
        self._script, self.main_id = list(script), 1

    def track(self, frame: Frame) -> tuple[Face, ...]:
        now = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(now, Exception):
            raise now
        return tuple(now)


class Covering:
    """An occlusion mask that covers one half of the picture. resets: how often it was told to forget."""

    def __init__(self, side: str) -> None:
        self.side, self.resets = side, 0

    def reset(self) -> None:
        self.resets += 1

    def mask(self, frame: Frame, faces: Sequence[Face]) -> np.ndarray | None:
        mask = np.zeros(frame.rgb.shape[:2], np.uint8)
        half = mask.shape[1] // 2
        if self.side == "left":
            mask[:, :half] = 255
        elif self.side == "all":
            mask[...] = 255
        else:
            return None
        return mask


def edit_session(
    opened: tuple[Generator, Runner],
    tracker: Any,
    sources: Sequence[Source] = (),
    **options: Any,
) -> Session:
    """A session in edit mode with a pinned neutral."""
    return Session(
        tracker,
        *opened,
        sources,
        config=PipelineConfig(mode=Mode.EDIT),
        neutral=rest(),
        **options,
    )
