"""Label maps to learn from, whichever folder they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trainers.data import Expected, open_prepared
from trainers.errors import DataError
from trainers.faces import CACHE_BYTES, Faces
from trainers.layouts.celebamask import LabelFiles, open_celebamask, open_maskgan

Layout = Literal["prepared", "celebamask", "maskgan"]
ALIGNED = "celeba-hq"
"""The crop rule of CelebAMask-HQ's pictures."""


@dataclass(frozen=True)
class Masks:
    """Pictures with label maps, both sides. inner, outer: the interpolated masks of the training pictures where a
    folder has them. about: JSON for checkpoint.json's `data`."""

    train: Faces
    validation: Faces
    inner: LabelFiles | None = None
    outer: LabelFiles | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def open_masks(
    folder: Path | str,
    layout: Layout,
    size: int,
    *,
    mode: str = "",
    crop: str = "",
    cache_bytes: int = CACHE_BYTES,
) -> Masks:
    """Pictures and label maps at `size` pixels.

    layout: "prepared" (drawn masks of `marotte prepare`; mode and crop, where given, have to be the folder's),
    "celebamask" (as published, split by CelebA's index) or "maskgan" (the official program's own folders, whose test
    side is the validation). Raises DataError.
    """
    if layout == "prepared":
        expected = Expected(mode=mode, crop=crop)
        opened = open_prepared(folder, size, expected=expected, parsing=True, cache_bytes=cache_bytes)
        return Masks(opened.train, opened.validation, about={**opened.about, "classes": "celebamask"})
    if crop not in ("", ALIGNED):
        raise DataError(f"{folder}: its pictures are cut by {ALIGNED!r}, the recipe expects {crop!r}")
    if layout == "celebamask":
        splits = open_celebamask(folder, size, cache_bytes=cache_bytes)
        return Masks(
            splits["train"], splits["validation"], about=_about(splits["train"], splits["validation"])
        )
    folders = open_maskgan(folder, size, cache_bytes=cache_bytes)
    train, test = folders["train"], folders["test"]
    return Masks(train.faces, test.faces, train.inter, train.outer, _about(train.faces, test.faces))


def _about(train: Faces, validation: Faces) -> dict[str, Any]:
    return {
        "extractor": None,
        "crop": {"rule": ALIGNED, "size": train.size},
        "size": train.size,
        "classes": "celebamask",
        "pictures": {"train": len(train), "validation": len(validation)},
    }
