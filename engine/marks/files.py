"""Marks on what a command writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import cv2

from engine.consent.hashes import hash_of
from engine.marks.config import MarksConfig
from engine.marks.marks import Marks
from engine.media import decode_picture, write_picture
from engine.media.unfinished import Seal
from engine.types import U8

_QUALITY: Final = 90


def session_of(made: str, sources: Iterable[Path | str | U8]) -> str:
    """What a file's watermark says in place of a live session's id: 24 hex digits of what it was made of, so that the
    same render is the same file on the same day. made: by what. Raises InputError for a file that cannot be read."""
    digest = hashlib.sha256(made.encode())
    for source in sources:
        digest.update(hash_of(source).encode())
    return digest.hexdigest()[:24]


def write_marked(
    path: Path,
    rgb: U8,
    config: MarksConfig,
    session: str,
    sealer: Callable[[Path], Seal | None] | None = None,
) -> None:
    """Write a picture of people, or a sheet of such, with its marks on. sealer: as in engine.provenance.sealing. Raises
    as engine.media.write_picture."""
    marks = Marks.of((rgb.shape[1], rgb.shape[0]), config, session)
    write_picture(path, marks.compose_rgb(rgb), None if sealer is None else sealer(path))


def marked_jpeg(data: bytes, config: MarksConfig, session: str) -> bytes:
    """A JPEG of what was generated, written anew with its marks on. Raises DecodeError."""
    if not config.on:
        return data
    rgb = decode_picture(data, "picture")
    marked = Marks.of((rgb.shape[1], rgb.shape[0]), config, session).compose_rgb(rgb)
    bgr = cv2.cvtColor(marked, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
