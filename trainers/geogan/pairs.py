"""Which target meets which donor.

Every sample is drawn from one split only: train never sees a picture of a held-back person. Each attribute has its own
lists of who has it and who lacks it. Target and donor are different persons, unless the pair is a synthesised one with
a wanted picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.errors import DataError
from trainers.faces import AU_NAMES
from trainers.geogan.album import HAS, LACKS, Album
from trainers.geogan.recipe import Attribute, Shares
from trainers.geogan.regions import lower_face
from trainers.system import Draw

Rows = NDArray[np.int64]
LOWER_AUS = tuple(
    AU_NAMES.index(name) for name in ("AU10", "AU12", "AU14", "AU15", "AU17", "AU20", "AU25", "AU26")
)
NEIGHBOURS = 12
"""A donor for a wanted picture is one of so many that are nearest to it in the AUs of the lower face."""
_TRIES = 32


class Nobody:
    """The pairs of a split that nobody is in."""

    def __len__(self) -> int:
        return 0

    def __getitem__(self, draw: Draw) -> Mapping[str, Any]:
        raise IndexError(draw.index)


class Lists(NamedTuple):
    """Of one attribute: rows that have it, rows that lack it."""

    having: Rows
    lacking: Rows


def lists_of(labels: NDArray[np.int8], attributes: Sequence[Attribute], lacks: str) -> list[Lists]:
    """One pair of lists per attribute, each its own. lacks: "drawn" or "every", see recipe.Data.

    Raises DataError where one of them would be empty, with the numbers.
    """
    found = []
    nothing = (labels == LACKS).all(axis=1)
    for index, attribute in enumerate(attributes):
        having = np.flatnonzero(labels[:, index] == HAS)
        lacking = np.flatnonzero(nothing if lacks == "every" else labels[:, index] == LACKS)
        if not len(having) or not len(lacking):
            raise DataError(
                f"attribute {attribute.name!r}: {len(having)} pictures have it and {len(lacking)} lack it, expected "
                f"both among the {len(labels)} of a side (training, held back); change its thresholds or add pictures"
            )
        found.append(Lists(having, lacking))
    return found


class Unpaired:
    """Pairs of the adversarial stage: an epoch goes once over every picture that has an attribute.

    pairing: "random" draws a target of another person anew each time. "fixed" is the official one: the longer list is
    cut to the shorter one, and the i-th of one meets the i-th of the other.

    A sample: target, donor float32 (3, S, S) in -1..1; target_labels, donor_labels float32 (attributes,), 1 has it;
    target_landmarks, donor_landmarks float32 (68, 2) where there are any.
    """

    def __init__(self, album: Album, attributes: Sequence[Attribute], lacks: str, pairing: str) -> None:
        self._album, self._fixed = album, pairing == "fixed"
        self._lists = lists_of(album.labels, attributes, lacks)
        if self._fixed:
            self._lists = [
                Lists(one.having[: len(one.lacking)], one.lacking[: len(one.having)]) for one in self._lists
            ]
        self._places = [
            (kind, place) for kind, one in enumerate(self._lists) for place in range(len(one.having))
        ]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, draw: Draw) -> Mapping[str, Any]:
        kind, place = self._places[draw.index]
        donor = int(self._lists[kind].having[place])
        lacking = self._lists[kind].lacking
        target = int(lacking[place]) if self._fixed else self._other(lacking, donor, draw.numbers())
        return sample_of(self._album, target, donor)

    def _other(self, rows: Rows, donor: int, numbers: np.random.Generator) -> int:
        person = self._album.faces.person
        drawn = rows[numbers.integers(len(rows), size=_TRIES)]
        others = [int(row) for row in drawn if person[row] != person[donor]]
        return others[0] if others else int(drawn[0])


def sample_of(album: Album, target: int, donor: int) -> dict[str, Any]:
    """Pictures, labels and landmarks of a pair of rows."""
    sample: dict[str, Any] = {}
    for role, row in (("target", target), ("donor", donor)):
        sample[role] = album.faces.image(row)
        sample[f"{role}_labels"] = album.certain(row)
        if album.has_landmarks:
            sample[f"{role}_landmarks"] = album.landmarks(row)
    return sample


class Supervised:
    """Pairs with a wanted picture, from several expressions of one base picture, which lie pixel on pixel.

    Target and wanted picture share their base; wanted is the wanted expression below the eyes and the target above
    (`regions.lower_face`), because the attributes belong to the lower face. The donor shows that lower face, too: it is
    the wanted expression itself, or another person's that is near to it in the AUs of the lower face.
    A sample is one of `Unpaired` and: wanted (3, S, S); wanted_landmarks; has_wanted (1,), always 1; donor_plain (3, S,
    S), the donor with the calmest lower face of its own that lacks every attribute, where there is one (has_plain (1,)
    is 1), else the donor: what removal has to make of the donor.
    """

    def __init__(self, album: Album, shares: Shares) -> None:
        faces = album.faces
        if faces.aus is None or not album.has_landmarks:
            raise DataError("supervised stage: needs a prepared folder with AUs and landmarks")
        self._album, self._shares = album, shares
        self._plain = (album.labels == LACKS).all(axis=1)
        having = (album.labels == HAS).any(axis=1)
        base = np.where(faces.base.numpy() >= 0, faces.base.numpy(), np.arange(len(faces)))
        families = [np.flatnonzero(base == first) for first in np.unique(base)]
        self._family = {int(row): rows for rows in families for row in rows}
        self._families = [rows for rows in families if len(rows) > 1 and self._plain[rows].any()]
        self._wanted = [
            (place, int(row)) for place, rows in enumerate(self._families) for row in rows[having[rows]]
        ]
        if not self._wanted:
            raise DataError(
                "supervised stage: no picture is there with and without an attribute; prepare with --synthesise"
            )
        aus = faces.aus.numpy()[:, LOWER_AUS]
        self._lower = aus.sum(axis=1)
        self._near = _nearest(aus, [row for _, row in self._wanted], faces.person.numpy(), having)

    def __len__(self) -> int:
        return len(self._wanted)

    def __getitem__(self, draw: Draw) -> Mapping[str, Any]:
        place, wanted = self._wanted[draw.index]
        numbers = draw.numbers()
        target = self._target(self._families[place], wanted, numbers)
        near = self._near[draw.index]
        own = numbers.random() < self._shares.own or not len(near)
        donor = wanted if own else int(near[numbers.integers(len(near))])
        sample = sample_of(self._album, target, donor)
        marks = self._album.landmarks(wanted)
        sample["wanted"] = self._lowered(sample["target"], wanted)
        sample["wanted_landmarks"] = marks
        without = self._calmest(donor)
        sample["donor_plain"] = self._lowered(sample["donor"], donor if without is None else without)
        return sample | {
            "has_wanted": torch.ones(1),
            "has_plain": torch.full((1,), float(without is not None)),
        }

    def _calmest(self, row: int) -> int | None:
        """Of a picture's family the one with the least lower face among those that lack every attribute."""
        plain = self._family[row][self._plain[self._family[row]]]
        return int(plain[self._lower[plain].argmin()]) if len(plain) else None

    def _lowered(self, picture: Tensor, row: int) -> Tensor:
        """A picture with the lower face of another one of its family."""
        lower = lower_face(self._album.landmarks(row)[None], self._album.faces.size)[0]
        return torch.lerp(picture, self._album.faces.image(row), lower)

    def _target(self, rows: Rows, wanted: int, numbers: np.random.Generator) -> int:
        others = rows[rows != wanted]
        plain = others[self._plain[others]]
        if not len(plain) or numbers.random() < self._shares.any_target:
            return int(others[numbers.integers(len(others))])
        return int(plain[numbers.integers(len(plain))])


class Mixed:
    """Pairs of both kinds: every picture of `Supervised`, and of `Unpaired` as many that their share is `unpaired`.

    A sample has all names of `Supervised`; where nothing is known has_wanted and has_plain are 0, and the pictures are
    the target and the donor themselves.
    """

    def __init__(self, supervised: Supervised, unpaired: Unpaired, share: float) -> None:
        self._supervised, self._unpaired, self._share = supervised, unpaired, share

    def __len__(self) -> int:
        return len(self._supervised)

    def __getitem__(self, draw: Draw) -> Mapping[str, Any]:
        numbers = draw.numbers()
        if numbers.random() >= self._share:
            return self._supervised[draw]
        index = int(numbers.integers(len(self._unpaired)))
        sample = dict(self._unpaired[Draw(index, int(numbers.integers(2**62)))])
        sample["wanted"] = sample["target"].clone()
        sample["wanted_landmarks"] = sample["target_landmarks"].clone()
        sample["donor_plain"] = sample["donor"].clone()
        return sample | {"has_wanted": torch.zeros(1), "has_plain": torch.zeros(1)}


def _nearest(
    aus: NDArray[np.float32], wanted: Sequence[int], person: Rows, having: NDArray[np.bool_]
) -> list[Rows]:
    """For every wanted row the NEIGHBOURS rows of other persons that are nearest to it and have an attribute."""
    candidates = np.flatnonzero(having)
    found = []
    for row in wanted:
        apart = np.square(aus[candidates] - aus[row]).sum(axis=1)
        apart[person[candidates] == person[row]] = np.inf
        count = min(NEIGHBOURS, int(np.isfinite(apart).sum()))
        found.append(candidates[np.argpartition(apart, count - 1)[:count]] if count else candidates[:0])
    return found
