"""The folders that GANimation is trained on, opened: prepared ones, and the official code's layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainers.data import Expected, open_prepared
from trainers.errors import DataError
from trainers.faces import AU_NAMES, Faces
from trainers.ganimation.recipe import Data
from trainers.layouts.ganimation import open_aus_folder


@dataclass(frozen=True)
class Side:
    """Pictures with three labels each (N, 17): what was measured on them; for synthesised ones what was asked, with
    what their base shows; and that without what their base shows, relative, which is 0 for real ones."""

    faces: Faces
    measured: Tensor
    asked: Tensor
    relative: Tensor


@dataclass(frozen=True)
class Opened:
    """By split its pictures. about: JSON for checkpoint.json."""

    sides: Mapping[str, Side]
    about: Mapping[str, Any]


def open_data(data: Data) -> Opened:
    """Open and check a recipe's data. Raises DataError."""
    if data.layout == "official":
        return _official(data)
    size = data.read_size or data.size
    expected = Expected(data.extractor, data.mode, data.crop)
    measured = open_prepared(data.folder, size, expected=expected)
    asked, relative = (  # the same pictures with the other labels: no second copy of them is kept
        open_prepared(data.folder, size, expected=expected, labels=labels, cache_bytes=0)
        for labels in ("asked", "relative")
    )
    sides = {
        split: Side(shown, _aus(shown), _aus(with_asked), _aus(with_relative))
        for split, shown, with_asked, with_relative in (
            ("train", measured.train, asked.train, relative.train),
            ("validation", measured.validation, asked.validation, relative.validation),
        )
    }
    return Opened(sides, {**measured.about, "labels": data.labels})


def _aus(faces: Faces) -> Tensor:
    if faces.aus is None:
        raise DataError("the pictures have no action units")
    return faces.aus


def _official(data: Data) -> Opened:
    folder = open_aus_folder(data.folder, data.size)
    sides = {
        split: Side(faces, aus := _aus(faces), aus, torch.zeros_like(aus))
        for split, faces in (("train", folder.train), ("validation", folder.validation))
    }
    about = {
        "extractor": {"name": "openface", "version": "", "mode": data.mode},
        "mode": data.mode,
        "crop": {"rule": "box", "size": data.size},
        "aus": list(AU_NAMES),
        "labels": "measured",
        "pictures": {split: len(side.faces) for split, side in sides.items()},
        "left_out": {side: len(ids) for side, ids in folder.left_out.items()},
    }
    return Opened(sides, about)
