"""Aligned faces for StyleGAN2 and e4e: a prepared folder, or plain pictures as FFHQ is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from trainers.data import Expected, open_prepared
from trainers.errors import DataError
from trainers.faces import Faces
from trainers.layouts.pictures import PictureFiles
from trainers.stit.recipe import Data
from trainers.system import Draw

_ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})


@dataclass(frozen=True)
class Opened:
    """Both sides. about: JSON for checkpoint.json's `data`."""

    train: Faces
    validation: Faces
    about: Mapping[str, Any]


class Portraits:
    """Single pictures, float32 (3, S, S) in -1..1 by the name `image`. flip: probability of mirroring."""

    def __init__(self, faces: Faces, flip: float) -> None:
        self.faces, self.flip = faces, flip

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, draw: Draw) -> Mapping[str, Tensor]:
        flip = bool(draw.numbers().random() < self.flip)
        return {"image": self.faces.image(draw.index, flip=flip)}


def open_portraits(data: Data) -> Opened:
    """Open and check a recipe's data. Raises DataError."""
    if data.layout == "pictures":
        return _pictures(data)
    prepared = open_prepared(data.folder, data.size, expected=Expected("", data.mode, data.crop))
    about = {**prepared.about, "crop": {"rule": data.crop, "size": data.size}, "size": data.size}
    return Opened(prepared.train, prepared.validation, about)


def _pictures(data: Data) -> Opened:
    folder = Path(data.folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one of aligned square pictures")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS)
    if len(paths) <= data.held_back:
        raise DataError(
            f"{folder}: has {len(paths)} pictures, expected more than data.held_back, {data.held_back}"
        )
    cut = len(paths) - data.held_back
    train, validation = (_faces(part, data.size) for part in (paths[:cut], paths[cut:]))
    about = {
        "extractor": None,
        "crop": {"rule": data.crop, "size": data.size},
        "size": data.size,
        "pictures": {"train": len(train), "validation": len(validation)},
        "licences": [data.licence] if data.licence else [],
    }
    return Opened(train, validation, about)


def _faces(paths: list[Path], size: int) -> Faces:
    return Faces([path.name for path in paths], PictureFiles(tuple(paths), size), size=size)
