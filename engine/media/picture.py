"""Still pictures: bytes to upright RGB, and RGB to a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError, DecodeError
from engine.media.header import check_whole, essential_png, read_header
from engine.media.limits import PICTURE_LIMITS, Limits
from engine.media.orientation import upright
from engine.media.unfinished import Seal, Unfinished
from engine.media.wording import one_line
from engine.types import U8

_Stored = NDArray[np.integer[Any] | np.floating[Any]]

GROUND = 128
"""Transparent pixels are laid on this grey (0..255, all three channels)."""

# Widening samples of a whole picture at once takes several times its size.
_STRIP_ROWS = 128

_SUFFIX_OPTIONS: dict[str, list[int]] = {
    ".png": [],
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
}
PICTURE_SUFFIXES = tuple(_SUFFIX_OPTIONS)


def read_picture(path: str | os.PathLike[str], limits: Limits = PICTURE_LIMITS) -> U8:
    """Read a PNG, JPEG, WebP, BMP or TIFF file, told by its content and not by its name.

    Returns uint8 (H, W, 3) RGB, upright (EXIF orientation applied); colour profiles are not applied. Raises
    as `decode_picture` does, and InputError when the file cannot be opened.
    """
    path = Path(path)
    with limits.open_file(path) as file:
        data = file.read()
    return decode_picture(data, path.name, limits)


def decode_picture(data: bytes, name: str, limits: Limits = PICTURE_LIMITS) -> U8:
    """Decode one picture; `name` is for messages.

    Returns uint8 (H, W, 3) RGB, upright. Grey, palette and CMYK pictures become RGB, 16 bits are scaled to 8,
    transparent pixels are laid on grey `GROUND`, of an animation the first picture is taken. Raises
    DecodeError (no such picture, cut or damaged), TooLargeError, TooSmallError.
    """
    name = one_line(name)
    try:
        header = read_header(data)
        limits.check_size(name, header.width, header.height)
        check_whole(data, header.kind)
    except DecodeError as error:
        raise DecodeError(f"{name} cannot be decoded: {error}") from error
    stored = _decode(essential_png(data) if header.kind == "PNG" else data)
    if stored is None or sorted(stored.shape[:2]) != sorted((header.height, header.width)):
        raise DecodeError(f"{name} cannot be decoded: its {header.kind} data is damaged; get the file again")
    return upright(_to_rgb(stored), header.orientation)


def resize_within(rgb: U8, side: int) -> U8:
    """Shrink (H, W, 3) so that its longer side is at most `side` pixels; never enlarges, keeps the shape."""
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return rgb
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def write_picture(path: str | os.PathLike[str], rgb: U8, seal: Seal | None = None) -> None:
    """Write uint8 (H, W, 3) RGB as PNG, JPEG or WebP by suffix; an older file stays until this is whole.

    seal: what is done to it then, before it takes its name. Raises ConfigError (suffix or folder), InputError (disk),
    and what sealing raises.
    """
    path = Path(path)
    options = _SUFFIX_OPTIONS.get(path.suffix.lower())
    if options is None:
        raise ConfigError(
            f"{one_line(path.name)} is no picture name: end it in {', '.join(PICTURE_SUFFIXES)}"
        )
    _, coded = cv2.imencode(path.suffix.lower(), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    unfinished = Unfinished(path)
    try:
        unfinished.write(coded.tobytes())
    except BaseException:
        unfinished.discard()
        raise
    unfinished.seal(seal)


def _decode(data: bytes) -> _Stored | None:
    """Stored pixels, uint8 or uint16, (H, W) or (H, W, 3 or 4) in BGR order; None when OpenCV cannot."""
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    return stored if stored is not None and stored.dtype in (np.uint8, np.uint16) else None


def _to_rgb(stored: _Stored) -> U8:
    rgb = np.empty((*stored.shape[:2], 3), np.uint8)
    for top in range(0, len(rgb), _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS)
        rgb[rows] = _strip_to_rgb(stored[rows])
    return rgb


def _strip_to_rgb(stored: _Stored) -> U8:
    if stored.dtype == np.uint16:
        stored = cv2.convertScaleAbs(stored, alpha=1 / 257)
    if stored.ndim == 2:
        return np.asarray(cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB), np.uint8)
    rgb = np.asarray(cv2.cvtColor(stored[..., :3], cv2.COLOR_BGR2RGB), np.uint8)
    return rgb if stored.shape[2] == 3 else _on_ground(rgb, np.asarray(stored[..., 3], np.uint8))


def _on_ground(rgb: U8, alpha: U8) -> U8:
    weight = alpha[..., None].astype(np.uint16)
    laid = (rgb * weight + GROUND * (255 - weight) + 127) // 255
    return laid.astype(np.uint8)
