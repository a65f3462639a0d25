"""A face's shape as a template that can be deleted, and taken back by deleting what it was made with.

A measured shape is noisy, so it cannot be hashed and compared: two readings of one face never give the same bits. What
is kept is a projection of it on directions drawn at random from a secret salt of this installation (cancellable
biometrics: Ratha, Connell, Bolle, "Enhancing security and privacy in biometrics-based authentication systems", 2001).
Distances are nearly kept by it (Johnson, Lindenstrauss, 1984; directions of equal signs: Achlioptas, 2003), and without
the salt a template says nothing that could be compared with another installation's.

It is still biometric data. Nothing of it is made unless the operator turns it on, and it is kept for a stated time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np

from engine.features.likeness import telling
from engine.types import F32, F64, FaceShape

DIRECTIONS: Final = 64
MOST_APART_CM: Final = 0.06
"""Distance up to which a face is reported as like a denied one: of 45875 pairs of different people 9 in a thousand are
nearer, of 485 pairs of one person 40 in a hundred are farther apart. It is no ground to refuse anybody."""
SALT_BYTES: Final = 32

_KEYS: Final = frozenset({"salt", "until", "values"})


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """salt: the short name of the salt that it was made with, 16 hex digits. until: when it is to be deleted. values:
    float32 (DIRECTIONS,), centimetres."""

    salt: str
    until: datetime
    values: F32

    def told(self) -> dict[str, Any]:
        """As it stands in an entry's file."""
        values = base64.b64encode(self.values.astype("<f2").tobytes()).decode()
        return {"salt": self.salt, "until": self.until.isoformat(timespec="seconds"), "values": values}

    @classmethod
    def of(cls, told: object) -> Template:
        """Read back. Raises ValueError."""
        if (
            not isinstance(told, Mapping)
            or set(told) != _KEYS
            or not all(isinstance(one, str) for one in told.values())
        ):
            raise ValueError("its template has not the keys of one")
        until = utc(told["until"])
        try:
            data = base64.b64decode(told["values"].encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise ValueError("its template is no base64") from error
        if len(data) != 2 * DIRECTIONS:
            raise ValueError(f"its template has {len(data)} bytes, expected {2 * DIRECTIONS}")
        values = np.frombuffer(data, "<f2").astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError("its template holds what is no number")
        return cls(told["salt"][:16], until, values)


def utc(text: str) -> datetime:
    """A time of ISO 8601 with its zone. Raises ValueError."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time has no zone")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time is too far away") from error


def name_of(salt: bytes) -> str:
    """What a salt is called, which does not tell it."""
    return hashlib.sha256(b"marotte: the name of a salt\n" + salt).hexdigest()[:16]


def template_of(shape: FaceShape, salt: bytes, until: datetime) -> Template:
    """Of one face."""
    return Template(name_of(salt), until, projected(shape, salt))


def projected(shape: FaceShape, salt: bytes) -> F32:
    """float32 (DIRECTIONS,): distances between two of them are nearly those of engine.features.likeness, within a tenth
    or so."""
    told = telling(shape)
    return np.asarray(_directions(salt, len(told)) @ told, np.float32)


def distance(template: Template, values: F32) -> float:
    """Centimetres between a template and a face of the same salt."""
    return float(np.linalg.norm(template.values - values))


@lru_cache(maxsize=4)
def _directions(salt: bytes, size: int) -> F64:
    """(DIRECTIONS, size) of equal signs, by the salt alone."""
    count = DIRECTIONS * size
    data = hashlib.shake_256(b"marotte: directions of a face's shape\n" + salt).digest((count + 7) // 8)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))[:count].reshape(DIRECTIONS, size)
    return np.asarray((2.0 * bits - 1.0) / np.sqrt(DIRECTIONS))
