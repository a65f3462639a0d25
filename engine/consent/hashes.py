"""What a record is bound to: the SHA-256 of a source's bytes, and of each picture of one that has several."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import DecodeError
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
    """Of a file, or of decoded pixels (H, W, 3). Raises DecodeError for a file that cannot be read."""
    if not isinstance(source, (str, Path)):
        digest = hashlib.sha256(_PIXELS + repr(source.shape).encode())
        digest.update(source.tobytes())
        return digest.hexdigest()
    digest = hashlib.sha256()
    try:
        with open(source, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DecodeError(
            f"{one_line(source)}: it cannot be read ({why}); expected a picture or video"
        ) from error
    return digest.hexdigest()


def hashes_of_files(sources: Sequence[Path | str | U8]) -> tuple[str, ...]:
    """Of each."""
    return tuple(map(hash_of, sources))
