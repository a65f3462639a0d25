"""Which faces a source is to give: those that are seen in it, those of chosen parts, those that look to the front.

What a source is not to give has ABSENT for its corners: its flow is then absent wherever such a face is drawn.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.mesh.flow import ABSENT
from engine.mesh.layout import Layout
from engine.mesh.raster import I32
from engine.types import F32

Numbers = NDArray[np.int64]

TOGETHER: Final = {
    "upper": ("torso", "left_arm", "right_arm", "left_hand", "right_hand"),
    "lower": ("left_leg", "right_leg", "left_foot", "right_foot"),
    "arms": ("left_arm", "right_arm"),
    "hands": ("left_hand", "right_hand"),
    "legs": ("left_leg", "right_leg"),
    "feet": ("left_foot", "right_foot"),
    "face": ("skin", "brows", "lips", "eyes", "mouth"),
}
"""Names that stand for several parts of a body or a bust; `body` is all but the head and what is on it, `all` is
everything."""
_ON_THE_HEAD: Final = ("head", "facial")


def seen(index: I32) -> Numbers:
    """The numbers of the faces in an index map, ascending."""
    found = np.unique(index)
    return found[found >= 0].astype(np.int64)


def only(corners: F32, faces: Numbers) -> F32:
    """Corners (F, 3, 2) of these faces, ABSENT for all others."""
    kept = np.full_like(corners, ABSENT)
    kept[faces] = corners[faces]
    return kept


def visible(corners: F32, index: I32, neighbours: Numbers) -> F32:
    """Corners (F, 3, 2) of the faces seen in the source's index map and of their neighbours, ABSENT for all others.

    neighbours: (F, k) of `Layout.neighbours`, which holds the face itself.
    """
    return only(corners, np.unique(neighbours[seen(index)]))


def plain(part: str) -> str:
    """A part's name without the number that files put before it: 02_left_leg is left_leg."""
    return re.sub(r"^\d+_", "", part)


def faces_of(layout: Layout, names: Sequence[str]) -> Numbers:
    """The faces of parts by name, ascending: the layout's parts with or without their number, and TOGETHER's names.

    Raises ConfigError for a name that is none of them.
    """
    parts = {plain(part): numbers for part, numbers in layout.parts.items()}
    named = {name: [part for part in members if part in parts] for name, members in TOGETHER.items()}
    if set(_ON_THE_HEAD) & set(parts):  # a bust has none
        named["body"] = [part for part in parts if part not in _ON_THE_HEAD]
    named["all"] = list(parts)
    found: list[Numbers] = []
    for name in names:
        members = named.get(name) or [plain(name)]
        if not set(members) <= set(parts):
            known = [*parts, *(other for other, held in named.items() if held)]
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}" if near else ""
            raise ConfigError(f"part {name!r}: expected one of {', '.join(known)}{hint}")
        found += [parts[part] for part in members]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def shared_out(layout: Layout, names: Sequence[Sequence[str]], primary: int = 0) -> list[Numbers]:
    """For each person the faces that are taken from them: their parts, and for the primary one what nobody gives."""
    shares = [faces_of(layout, one) for one in names]
    taken = np.zeros(layout.count, bool)
    for share in shares:
        taken[share] = True
    shares[primary] = np.union1d(shares[primary], np.flatnonzero(~taken))
    return shares


def frontness(index: I32, front: Numbers) -> int:
    """How many faces of a group are seen: of `front` more are seen the more a body is turned to the camera."""
    return len(np.intersect1d(seen(index), front))


def ranked(counts: Sequence[int], most: int) -> list[int]:
    """At most `most` frames for sources, out of each frame's `frontness`: the most frontal one first, then the one seen
    most from behind, and so on in turn; of equal ones the earlier."""
    order = sorted(range(len(counts)), key=lambda frame: -counts[frame])
    back = sorted(range(len(counts)), key=lambda frame: counts[frame])
    in_turn = [frame for pair in zip(order, back) for frame in pair]
    return list(dict.fromkeys(in_turn))[:most]
