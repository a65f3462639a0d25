"""Prepared clips for systems that see a person through a mesh: frames, the mesh drawn over each, and what follows.

    DIR/mesh_clips.json              format, mesh, size S, faces F, texture U, crop, and the clips with person and split
    DIR/condition.npy, corners.npy   of the mesh's layout
    DIR/clips/<name>/*.npy           the arrays of one clip, by name; docs/dataset.md says what each holds

A clip's folder appears whole or not at all, the table last.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, StateError
from engine.mesh.layout import Layout
from engine.mesh.views import View, own_texture, view_of
from engine.types import F32, U8

FORMAT: Final = 1
TABLE: Final = "mesh_clips.json"
_SHORT: Final = 32767
_SURE: Final = 8
"""Of 255: a pixel belongs to the background where no more of it is the person."""


class MeshFrame(NamedTuple):
    """One frame, S pixels a side. rgb: uint8 (S, S, 3). person: uint8 (S, S), 255 = person. points: float32 (V, 3), x
    and y in -1..1, y down, z smaller is nearer. yaw: degrees, nan where it is not known. head: int32 (4,), min_x,
    max_x, min_y, max_y in pixels."""

    rgb: U8
    person: U8
    points: F32
    yaw: float
    head: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """A clip's line in the table. skipped: frames that were looked at and not used, None where nobody counted."""

    name: str
    person: str
    frames: int
    split: str
    origin: str
    licence: str
    skipped: int | None = None


def write_clip(folder: Path, frames: Iterable[MeshFrame], layout: Layout, texture: int) -> int:
    """One clip's arrays into its folder; how many frames there are. Raises InputError where there are none, StateError
    where the disk does not take them."""
    laid = layout.drawn(texture)
    kept: dict[str, list[NDArray[Any]]] = {}
    for frame in frames:
        view = view_of(frame.rgb, frame.person, frame.points, layout)
        own, sees = own_texture(view, laid)
        arrays = {**_of_frame(frame, view), "texture": pixels(own), "seen": (255 * sees).astype(np.uint8)}
        for name, array in arrays.items():
            kept.setdefault(name, []).append(array)
    if not kept:
        raise InputError(f"{folder.name}: no frame of it could be used")
    stacked = {name: np.stack(arrays) for name, arrays in kept.items()}
    stacked["background"] = background_of(stacked["images"], stacked["masks"])
    _save(folder, stacked)
    return len(stacked["images"])


def _of_frame(frame: MeshFrame, view: View) -> dict[str, NDArray[Any]]:
    index = view.raster.index
    short = np.int16 if len(view.corners) <= _SHORT else np.int32
    return {
        "images": frame.rgb,
        "filled": pixels(view.filled),
        "reach": (255 * view.reach).astype(np.uint8),
        "masks": frame.person,
        "index": index.astype(short),
        "weights": view.raster.weights.astype(np.float16),
        "points": view.corners,
        "head": np.asarray(frame.head, np.int32),
        "body": _box(index >= 0),
        "yaw": np.asarray(frame.yaw, np.float32),
    }


def pixels(picture: F32) -> U8:
    """float32 (3, S, S) in -1..1 as uint8 (S, S, 3)."""
    scaled = np.clip(np.rint((picture + 1) * 127.5), 0, 255)
    return np.ascontiguousarray(scaled.transpose(1, 2, 0), np.uint8)


def _box(there: NDArray[np.bool_]) -> NDArray[np.int32]:
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    if not len(rows):
        return np.zeros(4, np.int32)
    return np.array([columns[0], columns[-1] + 1, rows[0], rows[-1] + 1], np.int32)


def background_of(images: U8, masks: U8) -> U8:
    """uint8 (S, S, 3): of every pixel the median over the frames (N, S, S, 3) in which it is no person's; where it
    always is, continued from around there."""
    hidden = masks > _SURE
    never = np.asarray(hidden.all(0))
    seen = np.where((hidden & ~never)[..., None], np.float32(np.nan), images.astype(np.float32))
    known = np.asarray(np.nanmedian(seen, axis=0)).round().astype(np.uint8)
    if not never.any():
        return known
    if never.all():
        return np.full_like(known, 127)
    return np.asarray(cv2.inpaint(known, never.astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)


def _save(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array, allow_pickle=False)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StateError(
            f"{folder} could not be written ({error.strerror or error}): free some space, then run the same "
            "command again"
        ) from error


def write_table(
    out: Path,
    clips: Sequence[ClipEntry],
    layout: Layout,
    *,
    mesh: str,
    size: int,
    texture: int,
    crop: Mapping[str, Any],
) -> None:
    """What the clips share, and their table: the last file, which makes the folder whole. Raises StateError."""
    table = {
        "format": FORMAT,
        "mesh": mesh,
        "size": size,
        "faces": layout.count,
        "texture": texture,
        "crop": dict(crop),
        "clips": [
            {
                "name": clip.name,
                "person": clip.person,
                "frames": clip.frames,
                "split": clip.split,
                "origin": clip.origin,
                "licence": clip.licence,
                "skipped": clip.skipped,
            }
            for clip in clips
        ],
    }
    partial = out / f".{TABLE}.partial"
    try:
        np.save(out / "condition.npy", layout.condition, allow_pickle=False)
        np.save(out / "corners.npy", layout.corners, allow_pickle=False)
        partial.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        partial.replace(out / TABLE)
    except OSError as error:
        raise StateError(
            f"{out} could not be written ({error.strerror or error}): free some space"
        ) from error
