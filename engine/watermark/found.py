"""What a detector says of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.errors import InputError
from engine.types import U8
from engine.watermark.payload import Payload

LEAST_CHANCE: Final = 1e-6
"""A mark is said to be there where chance alone would make one less often than that."""


@dataclass(frozen=True, slots=True)
class Found:
    """present: whether a mark is there by the test. probability_of_chance: at most this, that unmarked pictures look so
    (0 .. 1). payload: what it says, None where its CRC does not fit or nothing is present. bits_sure: the share of
    coded bits received as they were sent, 0 .. 1. frames: how many were added. scale: pixels per chip. offset: (x, y)
    of the tile's origin in pixels of the picture, of its mirror image where `mirrored`."""

    present: bool
    probability_of_chance: float
    payload: Payload | None
    bits_sure: float
    frames: int
    scale: float
    offset: tuple[float, float]
    mirrored: bool = False


def check_luma(luma: U8, before: tuple[int, ...] | None) -> None:
    """before: the shape of the frames before, None for the first one. Raises InputError for another frame than
    uint8 (H, W) of that shape."""
    if luma.ndim != 2 or luma.dtype != "uint8":
        raise InputError(f"watermark: got a frame of {luma.dtype} {luma.shape}, expected uint8 (H, W)")
    if min(luma.shape) < LEAST_SIDE:
        raise InputError(
            f"watermark: got a frame of {luma.shape}, expected {LEAST_SIDE} pixels a side at least"
        )
    if before is not None and before != luma.shape:
        raise InputError(
            f"watermark: got a frame of {luma.shape}, the ones before are {before}: one detector per size"
        )


LEAST_SIDE: Final = 16
