"""Files to be denied, and files that are asked for: what of them is compared."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from engine.denied.entries import MOST_FRAMES, MOST_PICTURES
from engine.denied.hashing import BYTES, hashes_of
from engine.denied.store import REFUSED, Denied, Match
from engine.errors import ConfigError, DecodeError, DeniedError, InputError
from engine.media import open_media, resize_within
from engine.media.wording import one_line
from engine.source import MAX_SIDE
from engine.types import U8, FaceShape, Frame

if TYPE_CHECKING:
    from engine.puppet import Opening

LOOK_EVERY_S: Final = 0.2
"""Between two frames of a clip that is denied: as often as a source's best frame is looked for."""
ASK_EVERY_S: Final = 1.0
"""The same of a clip that is asked for: its best frame is asked for once more when it is found."""
FIRST_S: Final = 60.0
"""Of a clip: as far as a source is looked for in it."""

_CHUNK: Final = 1 << 20
_log = logging.getLogger("marotte.denied")


@dataclass(slots=True)
class Read:
    """Of files together. sums: SHA-256 of each, hex. pictures: uint8 (H, W, 3) of each photo, and the first frame of a
    clip where there is none. frames: the first hash of each frame of the clips, (N, 32)."""

    sums: list[str] = field(default_factory=list)
    pictures: list[U8] = field(default_factory=list)
    frames: U8 = field(default_factory=lambda: np.zeros((0, BYTES), np.uint8))


def read(paths: Sequence[Path]) -> Read:
    """Photos of one person and clips, to be denied. Raises DecodeError for one that cannot be read, ConfigError for too
    many."""
    if len(paths) > MOST_PICTURES:
        raise ConfigError(f"deny: got {len(paths)} files, expected at most {MOST_PICTURES} at once")
    found = Read()
    for path in paths:
        found.sums.append(sum_of(path))
        with open_media(path) as media:
            if media.still:
                found.pictures.append(resize_within(next(iter(media)).rgb, MAX_SIDE))
            else:
                _read_clip(found, media)
    return found


def _read_clip(found: Read, frames: Iterable[Frame]) -> None:
    hashes = [found.frames]
    for rgb in spaced(frames, LOOK_EVERY_S):
        if not found.pictures:
            found.pictures.append(rgb)
        hashes.append(hashes_of(rgb)[:1])
    found.frames = np.concatenate(hashes)[:MOST_FRAMES]


def refuse_files(sources: Iterable[Path | str | U8], denied: Denied | None = None) -> None:
    """Raise DeniedError for the first of these that stands on the list, by its bytes or by what it shows; nothing is
    read where the list is empty. What cannot be read is left to whoever reads it next."""
    denied = denied or Denied()
    if not denied.all():
        return
    for source in sources:
        if isinstance(source, (str, Path)):
            _refuse_file(Path(source), denied)
        elif (match := denied.match(source)) is not None:
            raise _refused("the picture in memory", match.entry.id)


def sum_of(path: Path) -> str:
    """SHA-256 of a file. Raises DecodeError."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DecodeError(
            f"{one_line(path)}: it cannot be read ({why}); expected a picture or video"
        ) from error
    return digest.hexdigest()


def spaced(frames: Iterable[Frame], every_s: float) -> Iterator[U8]:
    """The frames of a clip's first FIRST_S seconds, as far apart as that, reduced as a source is."""
    due_s, end_s = -math.inf, math.inf
    for frame in frames:
        end_s = min(end_s, frame.time_s + FIRST_S)
        if frame.time_s > end_s:
            return
        if frame.time_s >= due_s:
            due_s = frame.time_s + every_s
            yield resize_within(frame.rgb, MAX_SIDE)


def shape_in(pictures: Sequence[U8], opening: Opening) -> FaceShape | None:
    """Of the main face of the first picture that has one."""
    from engine.features.shape import fit_shape
    from engine.source import find_faces

    with closing(opening.detector()) as detector:
        for rgb in pictures:
            if found := find_faces(rgb, detector):
                return fit_shape(found[0].points)
    return None


def matches_of(path: Path, denied: Denied) -> Match | None:
    """The entry that a file stands for, by its bytes, else by what it shows. Raises DecodeError as its reading does."""
    match = denied.match(None, sums=(sum_of(path),))
    if match is not None:
        return match
    with open_media(path) as media:
        frames = (next(iter(media)).rgb,) if media.still else spaced(media, ASK_EVERY_S)
        return next((one for rgb in frames if (one := denied.match(rgb)) is not None), None)


def _refuse_file(path: Path, denied: Denied) -> None:
    try:
        match = matches_of(path, denied)
    except InputError:
        return
    if match is not None:
        raise _refused(one_line(path.name), match.entry.id)


def _refused(name: str, entry: str) -> DeniedError:
    _log.warning("a source was refused by entry %s of the deny-list", entry)
    return DeniedError(f"{name}: {REFUSED}")
