"""The official files of a mesh: two obj texts, faces and face lists. They are brought by the user and never shipped.

| role | official name | holds |
| --- | --- | --- |
| face | smpl_faces.npy | faces (F, 3), as drawn |
| fim_enc | mapper_fim_enc.txt | obj text: faces as read into the texture, texture places of the condition map |
| uv_map | mapper_uv.txt | obj text: texture places that pictures are sampled at |
| part | smpl_part_info.json | {part: {"face": [...]}}, every face in a part |
| front, head, facial | front_body.json, head.json, front_facial.json | {"face": [...]} |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.mesh.layout import Layout, layout_of
from engine.mesh.raster import I32
from engine.types import F32

NAMES: Final[Mapping[str, str]] = {
    "face": "smpl_faces.npy",
    "fim_enc": "mapper_fim_enc.txt",
    "uv_map": "mapper_uv.txt",
    "part": "smpl_part_info.json",
    "front": "front_body.json",
    "head": "head.json",
    "facial": "front_facial.json",
}
"""Role -> official file name."""
GROUPS: Final = ("front", "head", "facial")
_MOST_BYTES: Final = 64 << 20
_MOST_NUMBER: Final = (1 << 31) - 1


def read_folder(folder: Path) -> Layout:
    """The layout out of a folder that holds all of NAMES. Raises InputError naming every file that is missing."""
    missing = [name for name in NAMES.values() if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"mesh files in {folder}: expected {', '.join(NAMES.values())}; missing {', '.join(missing)}"
        )
    return read_files({role: folder / name for role, name in NAMES.items()})


def read_files(paths: Mapping[str, Path]) -> Layout:
    """The layout out of files by role, as in NAMES; those of GROUPS may be left out.

    Raises InputError for a file that cannot be read as what it should be, or that does not fit the others.
    """
    faces = _faces(paths["face"])
    read_as, condition_corners = _obj(paths["fim_enc"])
    _, corners = _obj(paths["uv_map"])
    parts = {name: _list(entry, paths["part"]) for name, entry in sorted(_json(paths["part"]).items())}
    groups = {role: _list(_json(paths[role]), paths[role]) for role in GROUPS if role in paths}
    return layout_of(
        faces, corners, parts, groups=groups, texture_faces=read_as, condition_corners=condition_corners
    )


def _faces(path: Path) -> I32:
    _bounded(path)
    try:
        with path.open("rb") as stream:
            array = np.load(stream, allow_pickle=False)
    except (ValueError, EOFError, OSError, TokenError, BadZipFile, MemoryError, OverflowError) as error:
        raise InputError(f"{path.name}: expected a NumPy file of faces, got {error}") from None
    if (
        not isinstance(array, np.ndarray)
        or array.ndim != 2
        or array.shape[1] != 3
        or array.dtype.kind not in "iu"
    ):
        raise InputError(f"{path.name}: expected whole numbers (F, 3), got another array")
    if not len(array) or array.min() < 0 or array.max() > _MOST_NUMBER:
        raise InputError(
            f"{path.name}: expected faces of numbered points, got none, or numbers beyond 32 bits"
        )
    return array.astype(np.int32)


def _obj(path: Path) -> tuple[I32, F32]:
    """Points of the faces (F, 3) and the texture places of their corners (F, 3, 2), from 0..1 with y up to -1..1 with y
    down. Lines other than v, vt and f are passed over."""
    _bounded(path)
    places: list[list[str]] = []
    faces: list[list[list[str]]] = []
    try:
        with path.open(encoding="ascii") as lines:
            for line in lines:
                kind, *rest = line.split() or [""]
                if kind == "vt":
                    places.append(rest[:2])
                elif kind == "f":
                    faces.append([corner.split("/")[:2] for corner in rest[:3]])
        numbers = np.array(faces, np.int64) - 1
        found = np.array(places, np.float32)
        if numbers.ndim != 3 or numbers.shape[1:] != (3, 2) or found.ndim != 2 or found.shape[1] != 2:
            raise ValueError("faces without texture places")
        if numbers.min() < 0 or numbers[..., 1].max() >= len(found) or numbers.max() > _MOST_NUMBER:
            raise ValueError("a face with a place that is not there")
        if not np.isfinite(found).all():
            raise ValueError("texture places that are no numbers")
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{path.name}: expected an obj text with v, vt and f v/vt lines, got {error}"
        ) from None
    found[:, 1] = 1 - found[:, 1]
    return numbers[..., 0].astype(np.int32), (found * 2 - 1)[numbers[..., 1]]


def _json(path: Path) -> dict[str, Any]:
    _bounded(path)
    try:
        entry = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name}: expected JSON, got {error}") from None
    if not isinstance(entry, dict):
        raise InputError(f"{path.name}: expected a JSON object, got {type(entry).__name__}")
    return entry


def _list(entry: Any, path: Path) -> NDArray[np.int64]:
    numbers = entry.get("face") if isinstance(entry, dict) else None
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise InputError(f'{path.name}: expected {{"face": [numbers]}} in it, got another form')
    try:
        return np.array(numbers, np.int64)
    except OverflowError as error:
        raise InputError(f"{path.name}: expected numbers of faces, got {error}") from None


def _bounded(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"mesh file {path.name}: expected at {path}, none is there; bring the official one")
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(
            f"{path.name}: expected at most {_MOST_BYTES >> 20} MB, got {path.stat().st_size >> 20} MB"
        )
