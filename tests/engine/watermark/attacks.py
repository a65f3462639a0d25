"""What happens to marked pictures on their way: the project's own encoders at live settings, and what others do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
import cv2
import numpy as np

from engine.types import U8
from engine.worker.interface import TICKS, TIME_BASE
from streaming.codecs import kind_of
from streaming.encoders import Coder
from streaming.measured import NoRecorder

RATE = 30
Window = tuple[slice, slice]


class Coded:
    """Pictures through an encoder and a decoder, one in, one out. bits: per second."""

    def __init__(self, codec: str, bits: int) -> None:
        self._coder = Coder(kind_of(codec), "figures", NoRecorder())
        self._coder.aim(bits)
        self._decoder = av.CodecContext.create(codec, "r")
        self._count = 0
        self.bytes = 0

    def __call__(self, planes: U8) -> U8:
        """I420 planes as the other side gets them."""
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = self._count * TICKS // RATE, TIME_BASE
        self._count += 1
        data = self._coder.encode(frame, False)
        self.bytes += len(data)
        decoded = self._decoder.decode(av.Packet(data))
        if len(decoded) != 1:
            raise ValueError(f"got {len(decoded)} pictures of one packet, expected one")
        return np.ascontiguousarray(decoded[0].to_ndarray())


def luma_of(planes: U8) -> U8:
    return np.ascontiguousarray(planes[: planes.shape[0] * 2 // 3])


def resized(planes: U8, size: tuple[int, int], interpolation: int = cv2.INTER_AREA) -> U8:
    """I420 planes of another even (width, height)."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    luma = cv2.resize(planes[:height], size, interpolation=interpolation)
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    half = [cv2.resize(plane, (size[0] // 2, size[1] // 2), interpolation=interpolation) for plane in chroma]
    return np.concatenate([luma, np.stack(half).reshape(size[1] // 2, size[0])]).astype(np.uint8)


def scaled_size(size: tuple[int, int], share: float) -> tuple[int, int]:
    return tuple(2 * round(side * share / 2) for side in size)  # type: ignore[return-value]


def scaled(luma: U8, share: float) -> U8:
    return np.asarray(cv2.resize(luma, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8)


def cropped(luma: U8, share: float = 0.1) -> U8:
    """Without a tenth of its width and of its height, taken off unevenly."""
    height, width = luma.shape
    top, left = int(height * share * 0.7), int(width * share * 0.3)
    return np.ascontiguousarray(
        luma[top : top + int(height * (1 - share)), left : left + int(width * (1 - share))]
    )


def about_face(luma: U8, window: Window, side: int = 360) -> U8:
    """Cut out and resized to a square tile, as call apps show a person."""
    return np.asarray(cv2.resize(luma[window], (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


class Recorded:
    """Shown larger on a screen and recorded from there: a second codec, at the second one's bitrate."""

    def __init__(self, codec: str, bits: int, size: tuple[int, int]) -> None:
        self._coded = Coded(codec, bits)
        self._size = scaled_size(size, 1.125)

    def __call__(self, planes: U8) -> U8:
        return self._coded(resized(planes, self._size, cv2.INTER_LINEAR))


def each(pictures: Iterable[U8], every: int) -> Iterator[U8]:
    """Every so manieth."""
    return (picture for index, picture in enumerate(pictures) if index % every == 0)
