"""Persons who are one: the same picture under two names, at another size or as another file, would teach what is held
back. Such persons go to the same side, and the report says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from engine.annotate.ledger import Entry
from engine.annotate.table import REAL
from engine.errors import InputError
from engine.types import F32, U8

ALIKE = 0.97
"""Correlation of two crops' brightness at 32 x 32 from which on they show the same picture. Measured on 206 faces: the
same picture at another size reaches .99, two people .90 at most."""

MOST_COMPARED = 20_000
"""Pictures that are compared; of more persons than that nobody is."""

_SIDE = 32
_PER_PERSON = 3
_CHUNK = 2000


def leaders(folder: Path, entries: Sequence[Entry]) -> dict[str, str]:
    """Every person to the name that stands for all who share a picture: the first of them by alphabet.

    folder: with images/. Compares a few real pictures of each.
    """
    chosen = _some_of_each(entries)
    names = list(dict.fromkeys(entry.person for entry in entries))
    if not chosen:
        return {name: name for name in names}
    thumbs = np.stack([_thumb(folder / "images" / f"{entry.image}.png") for entry in chosen])
    return joined(names, alike(thumbs, [entry.person for entry in chosen]))


def alike(thumbs: F32, persons: Sequence[str]) -> set[tuple[str, str]]:
    """Pairs of different persons with a picture in common. thumbs: float32 (N, D), each of mean 0 and length 1."""
    pairs: set[tuple[str, str]] = set()
    for start in range(0, len(thumbs), _CHUNK):
        rows, columns = np.nonzero(thumbs[start : start + _CHUNK] @ thumbs.T >= ALIKE)
        found = ((persons[start + int(row)], persons[int(column)]) for row, column in zip(rows, columns))
        pairs |= {(one, other) for one, other in found if one < other}
    return pairs


def joined(names: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Every name to the first by alphabet of those it is linked with, over any number of pairs."""
    leader = {name: name for name in names}

    def lead(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for one, other in pairs:
        first, second = sorted((lead(one), lead(other)))
        leader[second] = first
    return {name: lead(name) for name in leader}


def _some_of_each(entries: Sequence[Entry]) -> list[Entry]:
    """A few real pictures of every person, spread over them; none where there are too many persons."""
    own: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.kind == REAL:
            own.setdefault(entry.person, []).append(entry)
    each = min(_PER_PERSON, MOST_COMPARED // max(1, len(own)))
    return [found[-(-len(found) * k // each)] for found in own.values() for k in range(min(each, len(found)))]


def _thumb(path: Path) -> F32:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise InputError(f"{path}: was written and cannot be read again; is the disk full?")
    small: U8 = np.asarray(cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    flat = small.astype(np.float32).ravel()
    flat -= flat.mean()
    return np.asarray(flat / max(1.0, float(np.linalg.norm(flat))), np.float32)
