"""Pictures with the attributes of a recipe, from a prepared folder or from CelebA's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.data import Expected, open_prepared
from trainers.faces import AU_NAMES, Faces
from trainers.geogan.recipe import Attribute, Data
from trainers.layouts.celeba import open_celeba, open_celeba_hq

HAS, LACKS, BETWEEN = 1, 0, -1

I8 = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Album:
    """Pictures of one split. labels: int8 (N, attributes): 1 has it, 0 lacks it, -1 is in between."""

    faces: Faces
    labels: I8

    @property
    def has_landmarks(self) -> bool:
        return self.faces.landmarks is not None

    def landmarks(self, row: int) -> Tensor:
        """float32 (68, 2), -1..1 over the pixel centres of the crop; beyond where a landmark lies outside of it."""
        return 2.0 * self.faces.points(row) / (self.faces.size - 1) - 1.0

    def certain(self, row: int) -> Tensor:
        """float32 (attributes,): 1 where the picture has it, else 0."""
        return torch.from_numpy((self.labels[row] == HAS).astype(np.float32))


@dataclass(frozen=True)
class Opened:
    """Both splits, and what checkpoint.json says of them."""

    train: Album
    validation: Album
    about: Mapping[str, Any]


def open_albums(data: Data, attributes: Sequence[Attribute]) -> Opened:
    """The data of a recipe. Raises DataError where it does not suit it."""
    names = [attribute.name for attribute in attributes]
    if data.layout == "prepared":
        expected = Expected(mode=data.mode, crop=data.crop)
        prepared = open_prepared(data.folder, data.size, expected=expected, labels=data.labels)
        train, validation = (
            Album(faces, _labels(faces, attributes)) for faces in (prepared.train, prepared.validation)
        )
        return Opened(train, validation, {**prepared.about, "attributes": names})
    if data.layout == "celeba":
        splits = open_celeba(Path(data.folder), data.size, names)
    else:
        splits = open_celeba_hq(Path(data.folder), data.size, names)
    train, validation = (
        Album(splits[side].faces, splits[side].attributes.astype(np.int8)) for side in ("train", "validation")
    )
    about = {
        "extractor": None,
        "crop": {"rule": "celeba", "size": data.size},
        "size": data.size,
        "pictures": {"train": len(train.faces), "validation": len(validation.faces)},
        "attributes": names,
    }
    return Opened(train, validation, about)


def _labels(faces: Faces, attributes: Sequence[Attribute]) -> I8:
    if faces.aus is None:
        return np.zeros((len(faces), len(attributes)), np.int8)
    return labels_of(faces.aus.numpy(), attributes)


def labels_of(aus: npt.NDArray[np.float32], attributes: Sequence[Attribute]) -> I8:
    """(N, attributes) from AUs (N, 17): 1 from `present` up, 0 up to `absent`, -1 between."""
    columns = []
    for attribute in attributes:
        value = aus[:, [AU_NAMES.index(name) for name in attribute.aus]].max(axis=1)
        columns.append(
            np.where(value >= attribute.present, HAS, np.where(value <= attribute.absent, LACKS, BETWEEN))
        )
    return np.stack(columns, axis=1).astype(np.int8)
