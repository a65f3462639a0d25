"""What a record is bound to: the SHA-256 of a source's bytes, and of each picture of one that has several."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import InputError
from engine.media.limits import VIDEO_LIMITS
from engine.media.wording import one_line
from engine.types import U8
from engine.worker.pictures import parted
from engine.worker.sources import id_of, without_labels

_PIXELS = b"marotte: decoded pixels\n"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Hashes:
    """source: of the whole, as SourceInfo.id. pictures: of each, where the whole holds several, or a picture and its
    labels; else none."""

    source: str
    pictures: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """As Record.sources has them."""
        return (self.source, *self.pictures)


def hashes_of(data: bytes, name: str) -> Hashes:
    """Of a source's bytes as a worker takes them. Raises DecodeError for several pictures that are not whole."""
    several = parted(data, name)
    if several is not None:
        return Hashes(id_of(data), tuple(id_of(one.data) for one in several.pictures))
    picture = without_labels(data)
    return Hashes(id_of(data), () if len(picture) == len(data) else (id_of(picture),))


def hash_of(source: Path | str | U8) -> str:
    """Of a file, or of decoded pixels (H, W, 3). Raises InputError for a file that cannot be read."""
    if not isinstance(source, (str, Path)):
        if not isinstance(source, np.ndarray):
            got = type(source).__name__
            raise InputError(f"picture: got {got}, expected uint8 (height, width, 3) in RGB order")
        digest = hashlib.sha256(_PIXELS + repr(source.shape).encode())
        digest.update(source.tobytes())
        return digest.hexdigest()
    digest = hashlib.sha256()
    with VIDEO_LIMITS.open_file(Path(source)) as file:
        try:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        except OSError as error:
            raise InputError(
                f"{one_line(source)} cannot be read ({error.strerror}): check the disk"
            ) from error
    return digest.hexdigest()
