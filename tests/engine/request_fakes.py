"""A face that is exactly known: drawn as two coloured spots, and read back from them.

Red at the mouth is the intensity of AU26, green at the right eye that of AU01; blue below 20 there means that nobody is
seen. The face stands in the middle of the picture, which is 20 cm wide.
"""

from __future__ import annotations

import numpy as np

from engine import canonical
from engine.evaluate.subjects import Subject, subject_of
from engine.features.au_basis import deform
from engine.types import AU_NAMES, F32, U8, Face, Frame

SIDE = 256
GROUND = (0, 0, 90)
LEAST_BLUE = 20


def points_of(jaw: float, brow: float, shape: tuple[int, ...]) -> F32:
    """The face's points in a picture of this shape."""
    aus = np.zeros(len(AU_NAMES), np.float32)
    aus[AU_NAMES.index("AU26")], aus[AU_NAMES.index("AU01")] = jaw, brow
    scale, middle = shape[1] / 20.0, np.array([shape[1] / 2, shape[0] / 2, 0.0])
    return (deform(canonical.VERTICES, aus) * scale + middle).astype(np.float32)


def spots(shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the mouth and the right eye are read."""
    points, reach = points_of(0.0, 0.0, shape), max(1, shape[1] // 64)
    centres = points[[13, 159], :2].round().astype(int)
    mouth, eye = (
        (slice(y - reach, y + reach + 1), slice(x - reach, x + reach + 1)) for x, y in centres.tolist()
    )
    return mouth, eye


def picture(jaw: float = 0.0, brow: float = 0.0, side: int = SIDE) -> U8:
    """A face with these intensities."""
    return painted(np.full((side, side, 3), GROUND, np.uint8), jaw, brow)


def painted(rgb: U8, jaw: float | None, brow: float | None) -> U8:
    """Another expression on a picture; None leaves a part as it is."""
    rgb = rgb.copy()
    mouth, eye = spots(rgb.shape)
    if jaw is not None:
        rgb[(*mouth, 0)] = round(255 * jaw)
    if brow is not None:
        rgb[(*eye, 1)] = round(255 * brow)
    return rgb


class SpotTracker:
    """Reads the two spots."""

    def __init__(self) -> None:
        self.looked = 0

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        self.looked += 1
        mouth, eye = spots(rgb.shape)
        if rgb[(*mouth, 2)].mean() < LEAST_BLUE:
            return ()
        points = points_of(rgb[(*mouth, 0)].mean() / 255, rgb[(*eye, 1)].mean() / 255, rgb.shape)
        box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])
        return (Face(box, points, 1.0, 1),)

    def track(self, frame: Frame) -> tuple[Face, ...]:
        return self.detect(frame.rgb)

    def reset(self) -> None:
        """It remembers nothing."""

    def close(self) -> None:
        """Nothing is open."""


def somebody(name: str = "one", jaw: float = 0.0, brow: float = 0.0, person: str = "") -> Subject:
    return subject_of(picture(jaw, brow), SpotTracker(), name=name, person=person)
