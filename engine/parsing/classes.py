"""The two orders in which the field numbers the same 19 parts of a head, and labels that say which one they are in.

CelebAMask-HQ's own order is MaskGAN's, the parsing U-Net's and that of everything we draw and store. The BiSeNet of
face-parsing.PyTorch, which STIT uses, has another: its 4 is an eye, too, its 10 the nose, its 17 the hair. Labels of
one read as the other look like a face, so a network's labels travel as `Parsing`, and are renumbered by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.config import known
from engine.errors import InputError

U8 = NDArray[np.uint8]


class Part(IntEnum):
    """The classes in the order and by the names of CelebAMask-HQ.

    L_ and R_ are the sides of the picture, as that data set has them, not the person's: L_EYE is the person's
    right eye. U_LIP and L_LIP are the upper and the lower lip, EYE_G is glasses, EAR_R an earring, NECK_L a
    necklace.
    """

    BACKGROUND = 0
    SKIN = 1
    NOSE = 2
    EYE_G = 3
    L_EYE = 4
    R_EYE = 5
    L_BROW = 6
    R_BROW = 7
    L_EAR = 8
    R_EAR = 9
    MOUTH = 10
    U_LIP = 11
    L_LIP = 12
    HAIR = 13
    HAT = 14
    EAR_R = 15
    NECK_L = 16
    NECK = 17
    CLOTH = 18


_COLOURS = {
    "background": (0, 0, 0), "skin": (204, 0, 0), "nose": (76, 153, 0), "eye_g": (204, 204, 0),
    "l_eye": (51, 51, 255), "r_eye": (204, 0, 204), "l_brow": (0, 255, 255), "r_brow": (51, 255, 255),
    "l_ear": (102, 51, 0), "r_ear": (255, 0, 0), "mouth": (102, 204, 0), "u_lip": (255, 255, 0),
    "l_lip": (0, 0, 153), "hair": (0, 0, 204), "hat": (255, 51, 153), "ear_r": (0, 204, 204),
    "neck_l": (0, 51, 0), "neck": (255, 153, 51), "cloth": (0, 204, 0),
}  # fmt: skip
"""RGB of a part in either table: those of CelebAMask-HQ's own pictures."""


@dataclass(frozen=True, slots=True)
class ClassTable:
    """One order of classes. name: for messages and files. names: of the classes, at their numbers."""

    name: str
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def number(self, part: str) -> int:
        """Of a class by its name. Raises ConfigError naming the nearest."""
        known(part, self.names, f"class of {self.name}")
        return self.names.index(part)

    def numbers(self, parts: Iterable[str]) -> tuple[int, ...]:
        """Of several."""
        return tuple(self.number(part) for part in parts)

    @property
    def palette(self) -> U8:
        """RGB per class, uint8 (19, 3), for pictures that people look at; a part has one colour in both tables.
        Read-only."""
        return _palette(self)

    @property
    def mirror(self) -> tuple[int, ...]:
        """What a class is called in the mirrored picture: eyes, brows and ears change sides."""
        swapped = {"l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"}
        other = {"l": "r", "r": "l"}
        return tuple(
            self.number(other[name[0]] + name[1:]) if name in swapped else number
            for number, name in enumerate(self.names)
        )


CELEBAMASK = ClassTable("celebamask", tuple(part.name.lower() for part in Part))
"""CelebAMask-HQ and MaskGAN."""

BISENET = ClassTable(
    "bisenet",
    (
        "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r",
        "nose", "mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
    ),
)  # fmt: skip
"""face-parsing.PyTorch, and STIT's segmentation by it."""

TABLES = {table.name: table for table in (CELEBAMASK, BISENET)}
"""By name."""


@dataclass(frozen=True, slots=True, eq=False)
class Parsing:
    """A parsing mask with the table that its numbers are of. labels: uint8 (H, W).

    Raises InputError for floats (a label that went through a picture's scaling may come back one lower), for other
    shapes and for classes that the table does not have.
    """

    labels: U8
    table: ClassTable

    def __post_init__(self) -> None:
        labels = self.labels
        if not isinstance(labels, np.ndarray) or labels.dtype != np.uint8 or labels.ndim != 2:
            got = (
                f"{labels.dtype} {labels.shape}" if isinstance(labels, np.ndarray) else type(labels).__name__
            )
            raise InputError(
                f"parsing: got {got}, expected uint8 (H, W), a class per pixel; never scale labels"
            )
        if labels.size and int(labels.max()) >= len(self.table):
            raise InputError(
                f"parsing: got class {int(labels.max())}, expected 0 .. {len(self.table) - 1} of {self.table.name}"
            )

    def to(self, table: ClassTable) -> Parsing:
        """The same parts by another table's numbers, matched by name."""
        if table == self.table:
            return self
        return Parsing(_renumbering(self.table, table)[self.labels], table)

    def of(self, table: ClassTable) -> U8:
        """The labels where they have to be of this table. Raises InputError where they are not: nothing is guessed."""
        if self.table != table:
            raise InputError(
                f"parsing: got labels of {self.table.name}, expected {table.name}; convert them by "
                f"to({table.name.upper()})"
            )
        return self.labels


@lru_cache
def _renumbering(source: ClassTable, target: ClassTable) -> U8:
    missing = set(source.names) - set(target.names)
    if missing:
        raise InputError(f"parsing: {target.name} has no class {sorted(missing)[0]!r} of {source.name}")
    return np.array([target.names.index(name) for name in source.names], np.uint8)


@lru_cache
def _palette(table: ClassTable) -> U8:
    palette: U8 = np.array([_COLOURS[name] for name in table.names], np.uint8)
    palette.setflags(write=False)
    return palette
