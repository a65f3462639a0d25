"""Several pictures of one person as one source: their bytes as one, and which of them are used.

The bytes are a line that says so, the length of a head, the head as JSON, and the pictures one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np

from engine import several
from engine.denied.hashing import hashes_of
from engine.errors import DecodeError, InputError, MarotteError, NoFaceError, TooSmallError
from engine.media import Limits
from engine.types import U8, Face, FaceShape, Source
from engine.worker.interface import PictureInfo

TOGETHER: Final = Limits(file_bytes=64 << 20)
"""What is read of all pictures of one person together."""

_MAGIC: Final = b"marotte: several pictures of one person\n"
_LENGTH_BYTES: Final = 8
_MOST_HEAD: Final = 64 << 10
_THUMB_PX: Final = 112
_THUMB_QUALITY: Final = 85
_AROUND: Final = 1.5  # of a face's box


@dataclass(frozen=True, slots=True)
class Picture:
    """One of them, as it was sent."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Pictures:
    """What was sent for one person. accept: names of acceptances, see engine.several."""

    pictures: tuple[Picture, ...]
    accept: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Person:
    """What was found in them. source: those that are used, as one. notes: as in SourceInfo."""

    source: Source
    pictures: tuple[PictureInfo, ...]
    notes: tuple[str, ...] = ()


def with_pictures(pictures: Sequence[Picture], accept: AbstractSet[str] = frozenset()) -> bytes:
    """Pictures of one person as the bytes of one source."""
    told = {"pictures": [[one.name, len(one.data)] for one in pictures], "accept": sorted(accept)}
    head = json.dumps(told, separators=(",", ":")).encode()
    length = len(head).to_bytes(_LENGTH_BYTES, "big")
    return b"".join((_MAGIC, length, head, *(one.data for one in pictures)))


def are_joined(data: bytes) -> bool:
    """Whether these are the bytes of several pictures, or say so."""
    return data.startswith(_MAGIC)


def parted(data: bytes, name: str) -> Pictures | None:
    """The same read back; None for the bytes of anything else. Raises DecodeError where they are not what they say,
    TooLargeError and InputError for too many."""
    if not are_joined(data):
        return None
    TOGETHER.check_bytes(name, len(data))
    start = len(_MAGIC) + _LENGTH_BYTES
    end = start + int.from_bytes(data[len(_MAGIC) : start], "big")
    if end - start > _MOST_HEAD or end > len(data):
        raise _damaged(name)
    named, accept = _head(data[start:end], name)
    if not 1 <= len(named) <= several.MOST_SOURCES:
        raise InputError(
            f"{name}: got {len(named)} pictures of one person, expected 1 .. {several.MOST_SOURCES}"
        )
    if sum(length for _, length in named) != len(data) - end:
        raise _damaged(name)
    found = []
    for called, length in named:
        found.append(Picture(called, data[end : end + length]))
        end += length
    return Pictures(tuple(found), accept)


def _head(head: bytes, name: str) -> tuple[list[tuple[str, int]], frozenset[str]]:
    try:
        told: Any = json.loads(head)
        named = [(called, length) for called, length in told["pictures"]]
        accept = frozenset(told["accept"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(name) from error
    sound = all(isinstance(called, str) and type(length) is int and length >= 0 for called, length in named)
    if not sound or not all(isinstance(one, str) for one in accept):
        raise _damaged(name)
    return named, accept


def _damaged(name: str) -> DecodeError:
    return DecodeError(f"{name}: damaged, it is not the pictures that it says it is; send them again")


Look = Callable[[Picture], tuple[U8, Callable[[], tuple[Source, FaceShape]]]]
"""A picture decoded, and on request its main face with the shape that tells whose it is."""


def one_person(given: Pictures, look: Look, go_on: Callable[[], None]) -> Person:
    """Which of them are used.

    One without a face, or with one that is too small, is left out, and what shows nothing new too. Raises what `look`
    raises where none is left, and for a picture that cannot be read; DifferentPeopleError as engine.several does.
    """
    thumbs: list[bytes] = []
    hashes: list[bytes] = []  # also of those left out: they are one person's all the same
    found: dict[int, tuple[Source, FaceShape]] = {}
    why: dict[int, str] = {}
    faults: list[MarotteError] = []
    for number, picture in enumerate(given.pictures):
        go_on()
        rgb, find = look(picture)
        hashes.append(hashes_of(rgb).tobytes())
        try:
            found[number] = find()
        except (NoFaceError, TooSmallError) as error:
            why[number] = _left_out(error)
            faults.append(error)
        thumbs.append(thumbnail(rgb, found[number][0].face if number in found else None))
    if not found:
        raise faults[0]
    numbers, (sources, shapes) = list(found), zip(*found.values())
    several.check_one_person(shapes, [one.name for one in sources], given.accept)
    looks = [several.look_of(one.rgb, one.face) for one in sources]
    chosen = several.choose(looks, several.MOST_SOURCES)
    why |= {numbers[k]: reason for k, reason in several.left_out(looks, chosen).items()}
    places = {numbers[k]: place for place, k in enumerate(chosen)}
    told = tuple(
        PictureInfo(one.name, places.get(number), why.get(number, ""), thumbs[number], hashes[number])
        for number, one in enumerate(given.pictures)
    )
    notes = _notes(sources, shapes) if several.ACCEPTANCE in given.accept else ()
    return Person(several.as_one([sources[k] for k in chosen]), told, notes)


def _left_out(error: NoFaceError | TooSmallError) -> str:
    return "no face was found in it" if isinstance(error, NoFaceError) else "its face is too small"


def _notes(sources: Sequence[Source], shapes: Sequence[FaceShape]) -> tuple[str, ...]:
    """What was accepted by name, said with its measure."""
    return tuple(
        f"taken as one person by name ({several.ACCEPTANCE}): the face of {name} {apart}"
        for name, apart in several.differing(shapes, [one.name for one in sources])
    )


def thumbnail(rgb: U8, face: Face | None) -> bytes:
    """JPEG of the square around a face, or of the middle of a picture (H, W, 3) where there is none."""
    height, width = rgb.shape[:2]
    side, centre = float(min(height, width)), np.array([width / 2, height / 2])
    if face is not None:
        low, high = face.box[:2].astype(float), face.box[2:].astype(float)
        side, centre = _AROUND * float(max(high - low)), (low + high) / 2
    factor = _THUMB_PX / max(1.0, side)
    shift = _THUMB_PX / 2 - factor * centre
    matrix = np.array([[factor, 0.0, shift[0]], [0.0, factor, shift[1]]])
    small = max(1, round(width * min(1.0, factor))), max(1, round(height * min(1.0, factor)))
    if factor < 1.0:  # shrunk by areas first: a warp alone would take single pixels
        rgb = np.asarray(cv2.resize(rgb, small, interpolation=cv2.INTER_AREA), np.uint8)
        matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
    cut = cv2.warpAffine(rgb, matrix, (_THUMB_PX, _THUMB_PX), borderMode=cv2.BORDER_REPLICATE)
    options = [cv2.IMWRITE_JPEG_QUALITY, _THUMB_QUALITY]
    done, coded = cv2.imencode(".jpg", cv2.cvtColor(cut, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise InputError("a small picture could not be written as JPEG")
    return coded.tobytes()
