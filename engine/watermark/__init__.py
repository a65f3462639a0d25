"""The invisible mark: 64 bits in the luma of every picture, and the detector that reads them blindly.

`open_embedder` and `open_detector` are the two doors; what is behind them can be exchanged (`Embedder`, `Detector`).
"""

from __future__ import annotations

from typing import Final, Protocol

from engine.types import U8
from engine.watermark.detector import Found, SpreadDetector
from engine.watermark.pattern import PUBLIC_KEY
from engine.watermark.payload import ENGINE, Payload
from engine.watermark.spread import SpreadEmbedder

DEFAULT_STRENGTH: Final = 1.0


class Embedder(Protocol):
    """Marks pictures of one size, one thread at a time."""

    def embed(self, planes: U8) -> None:
        """In place, I420 planes: uint8 (H * 3 / 2, W), C-contiguous. Raises ValueError for another size."""


class Detector(Protocol):
    """Reads one clip."""

    def add(self, luma: U8) -> None:
        """One decoded frame's Y, uint8 (H, W); every frame of the same size. Raises InputError otherwise."""

    def result(self) -> Found:
        """Of all frames added so far. Raises InputError where there is none."""


def open_embedder(
    size: tuple[int, int],
    payload: Payload,
    *,
    strength: float = DEFAULT_STRENGTH,
    key: bytes = PUBLIC_KEY,
) -> Embedder:
    """Of pictures of (width, height), both even. strength: of the allowed change, 0 .. 2. Raises ConfigError."""
    return SpreadEmbedder(size, payload, strength, key)


def open_detector(key: bytes = PUBLIC_KEY) -> Detector:
    """For one clip, or one window of it."""
    return SpreadDetector(key)


__all__ = [
    "DEFAULT_STRENGTH",
    "ENGINE",
    "PUBLIC_KEY",
    "Detector",
    "Embedder",
    "Found",
    "Payload",
    "open_detector",
    "open_embedder",
]
