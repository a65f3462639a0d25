"""Clips as a browser's fake camera takes them: raw YUV4MPEG2, played in a loop."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from engine.errors import InputError
from engine.evaluate.parts import digest, file_digest
from engine.media import open_media
from engine.media.planes import BT601_CHROMA, i420_of
from engine.sample.play import play_sample
from engine.types import F64, U8

SIZE = (640, 480)
RATE = 30

_TINT_STRENGTH = 0.45  # of the pure colour: more leaves what RGB can show, and with it the face
_BORDER = 48


def camera_clip(
    driver: Path | None,
    folder: Path,
    *,
    seconds: float = 7.0,
    size: tuple[int, int] = SIZE,
    tint: float | None = None,
    back_and_forth: bool = True,
    start: float = 0.0,
) -> Path:
    """A driver as a fake camera's file in `folder`, or the one that was written there before.

    driver: a clip (or picture) with a face; None renders the moving sample. seconds: of it that are taken from
    `start` on; 640 x 480 is 14 MB a second. back_and_forth: play it backwards too, in every second turn, so that
    the loop has no jump (which doubles the file). tint: hue in degrees that replaces the clip's own colours. Raises
    InputError (no frame could be read).
    """
    folder.mkdir(parents=True, exist_ok=True)
    if driver is None:
        driver = folder / "moving_sample.mp4"
        if not driver.is_file():
            play_sample(driver)
    asked = digest(file_digest(driver), repr((seconds, size, tint, back_and_forth, start)))
    out = folder / f"{driver.stem}-{asked[:12]}.y4m"
    if not out.is_file():
        pictures = list(_planes(driver, size, tint, round(start * RATE), max(1, round(seconds * RATE))))
        if not pictures:
            raise InputError(f"{driver.name}: no frame of it could be read; get another clip")
        write_y4m(out, pictures + pictures[-2:0:-1] if back_and_forth else pictures)
    return out


def write_y4m(out: Path, pictures: list[U8], rate: int = RATE) -> None:
    """Write I420 planes, uint8 (H * 3 / 2, W) each, whole or not at all."""
    rows, width = pictures[0].shape
    unfinished = out.with_suffix(".part")
    with unfinished.open("wb") as stream:
        stream.write(b"YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420jpeg\n" % (width, rows * 2 // 3, rate))
        for planes in pictures:
            stream.write(b"FRAME\n")
            stream.write(planes.tobytes())
    unfinished.replace(out)


def _planes(driver: Path, size: tuple[int, int], tint: float | None, start: int, count: int) -> Iterator[U8]:
    with open_media(driver) as media:
        for frame in islice(media, start, start + count):
            planes = i420_of(_within(frame.rgb, size))
            if tint is not None:
                _tint(planes, tint)
            yield planes


def _within(rgb: U8, size: tuple[int, int]) -> U8:
    """All of a picture in the middle of a frame of `size`, with a blurred border where the aspects differ."""
    width, height = size
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    inner = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fitted = cv2.resize(rgb, inner, interpolation=way)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    right, bottom = width - inner[0] - left, height - inner[1] - top
    framed = cv2.copyMakeBorder(fitted, top, bottom, left, right, cv2.BORDER_REPLICATE)
    if left or top:
        blurred = cv2.blur(framed, (_BORDER, _BORDER))
        blurred[top : height - bottom, left : width - right] = fitted
        framed = blurred
    return np.asarray(framed, np.uint8)


def _tint(planes: U8, hue: float) -> None:
    """One hue instead of all colours; luma, which a tracker goes by, stays."""
    height = planes.shape[0] * 2 // 3
    chroma = planes[height:].reshape(2, -1)
    chroma[:] = np.rint(128 + _TINT_STRENGTH * (tint_chroma(hue) - 128))[:, None]


def tint_chroma(hue: float) -> F64:
    """(U, V), 0..255, of the pure colour of a hue in degrees."""
    pure = colorsys.hsv_to_rgb((hue % 360) / 360, 1.0, 1.0)
    return np.asarray(BT601_CHROMA @ np.array([*(255 * np.array(pure)), 1.0]), np.float64)
