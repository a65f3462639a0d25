"""The invisible mark: 64 bits in the luma of every picture, and the detector that reads them blindly.

`open_embedder` and `open_detector` are the two doors; what is behind them can be exchanged (`Embedder`, `Detector`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from engine.types import U8
from engine.watermark.found import Found
from engine.watermark.pattern import PUBLIC_KEY
from engine.watermark.payload import ENGINE, Payload

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
    model: Path | None = None,
    backend: str = "auto",
) -> Embedder:
    """Of pictures of (width, height), both even. strength: of the allowed change, 0 .. 2. model: a learned embedder as
    ONNX (engine/watermark/learned.py) that `backend` runs, in place of the spread spectrum. Raises ConfigError; with a
    model also PortError, ModelError, BackendError."""
    if model is None:
        from engine.watermark.spread import SpreadEmbedder

        return SpreadEmbedder(size, payload, strength, key)
    from engine.watermark.learned import LearnedEmbedder

    return LearnedEmbedder(model, size, payload, strength, key, backend)


def open_detector(key: bytes = PUBLIC_KEY, *, model: Path | None = None, backend: str = "auto") -> Detector:
    """For one clip, or one window of it. model: a learned detector as ONNX, as in open_embedder; raises as that."""
    if model is None:
        from engine.watermark.detector import SpreadDetector

        return SpreadDetector(key)
    from engine.watermark.learned import LearnedDetector

    return LearnedDetector(model, key, backend)


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
