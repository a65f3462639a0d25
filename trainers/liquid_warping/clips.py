"""Prepared clips of `marotte prepare --mesh`: frames of a person with the mesh drawn over them.

    DIR/mesh_clips.json              format, mesh, size S, faces F, texture U, crop; clips, person, side
    DIR/condition.npy                float32 (F + 1, 3), a face's colour in the condition map; last row: background
    DIR/corners.npy                  float32 (F, 3, 2), where faces lie in the texture, -1..1, y down
    DIR/clips/<name>/images.npy      uint8 (N, S, S, 3), RGB
                     filled.npy      uint8 (N, S, S, 3), the person, continued a little beyond its border
                     reach.npy       uint8 (N, S, S), 255 where `filled` shows something
                     masks.npy       uint8 (N, S, S), 255 = person
                     index.npy       int16 or int32 (N, S, S), the face drawn, -1 none
                     weights.npy     float16 (N, S, S, 3), of its corners
                     points.npy      float32 (N, F, 3, 2), the faces' corners in the picture, -1..1, y down
                     texture.npy     uint8 (N, U, U, 3), the frame as read into the texture
                     seen.npy        uint8 (N, U, U), 255 where it shows that place
                     head.npy, body.npy   int32 (N, 4), min_x, max_x, min_y, max_y in pixels
                     yaw.npy         float32 (N,), degrees
                     background.npy  uint8 (S, S, 3), the picture without the person, as far as it is known

Arrays are mapped, not read: a folder may be larger than the memory. Nothing in it is unpickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainers.arrays import DAMAGE
from trainers.errors import DataError, PictureError

FORMAT: Final = 1
TABLE: Final = "mesh_clips.json"
SIDES: Final = ("train", "validation")

Array = NDArray[Any]


@dataclass(frozen=True)
class Mesh:
    """What all clips share. name: "face" or "smpl". condition, corners: see above. texture: its side U."""

    name: str
    size: int
    texture: int
    condition: Array
    corners: Array

    @property
    def faces(self) -> int:
        return len(self.corners)


@dataclass(frozen=True)
class Clip:
    """One clip. side: of SIDES. frames: N."""

    name: str
    person: str
    side: str
    frames: int
    folder: Path
    mesh: Mesh

    def array(self, name: str) -> Array:
        """One of its arrays, mapped. Raises PictureError where it is missing, damaged, or of another shape."""
        path = self.folder / f"{name}.npy"
        try:
            found: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        except DAMAGE as error:
            raise PictureError(f"{path}: is missing or damaged ({error}); prepare the clip again") from error
        wanted, kinds = self._expected(name)
        if found.shape != wanted or found.dtype.name not in kinds:
            raise PictureError(
                f"{path}: holds {found.dtype} {found.shape}, expected {' or '.join(kinds)} {wanted}"
            )
        return found

    def _expected(self, name: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
        n, s, u = self.frames, self.mesh.size, self.mesh.texture
        plain = ("uint8",)
        return {
            "images": ((n, s, s, 3), plain),
            "filled": ((n, s, s, 3), plain),
            "reach": ((n, s, s), plain),
            "masks": ((n, s, s), plain),
            "index": ((n, s, s), ("int16", "int32")),
            "weights": ((n, s, s, 3), ("float16", "float32")),
            "points": ((n, self.mesh.faces, 3, 2), ("float32",)),
            "texture": ((n, u, u, 3), plain),
            "seen": ((n, u, u), plain),
            "head": ((n, 4), ("int32", "int64")),
            "body": ((n, 4), ("int32", "int64")),
            "yaw": ((n,), ("float32",)),
            "background": ((s, s, 3), plain),
        }[name]

    @cached_property
    def turned(self) -> Array:
        """How far each frame is turned from the camera, degrees; unknown counts as turned away."""
        yaws = np.abs(np.asarray(self.array("yaw")))
        return np.where(np.isnan(yaws), np.float32(180.0), yaws)


@dataclass(frozen=True)
class Clips:
    """A folder's clips. about: what checkpoint.json says of them."""

    mesh: Mesh
    clips: tuple[Clip, ...]
    about: Mapping[str, Any]

    def of(self, side: str) -> tuple[Clip, ...]:
        """Those of one side."""
        return tuple(clip for clip in self.clips if clip.side == side)


def open_clips(folder: Path, size: int, *, lists: Path | None = None, person: str = "") -> Clips:
    """A prepared folder. lists: a folder whose train.txt and val.txt name the clips of either side, in iPER's way, one
    per line. person: keep this one's alone. Raises DataError where it does not suit."""
    table = _table(folder / TABLE)
    _expect(folder, "format", table.get("format"), FORMAT)
    _expect(folder, "size", table.get("size"), size)
    condition, corners = (_shared(folder / f"{name}.npy") for name in ("condition", "corners"))
    faces = table.get("faces")
    if corners.shape != (faces, 3, 2) or condition.shape != (len(corners) + 1, 3):
        raise DataError(
            f"{folder}: condition and corners are {condition.shape} and {corners.shape}, expected {faces} faces"
        )
    mesh = Mesh(str(table["mesh"]), size, int(table["texture"]), condition, corners)
    sides = None if lists is None else _listed(lists)
    clips = [_clip(entry, folder, mesh, sides) for entry in table["clips"]]
    kept = tuple(clip for clip in clips if clip is not None and person in ("", clip.person))
    if not kept:
        known = ", ".join(sorted({str(entry["person"]) for entry in table["clips"]})[:5])
        raise DataError(f"{folder}: holds no clip of {person or 'a side'}; its persons are {known}")
    counts = {side: sum(clip.frames for clip in kept if clip.side == side) for side in SIDES}
    about = {
        "extractor": None,
        "crop": table.get("crop"),
        "size": size,
        "mesh": mesh.name,
        "texture": mesh.texture,
        "pictures": counts,
        "persons": len({clip.person for clip in kept}),
        "licences": sorted({str(entry.get("licence", "")) for entry in table["clips"]} - {""}),
    }
    return Clips(mesh, kept, about)


def _clip(entry: Mapping[str, Any], folder: Path, mesh: Mesh, sides: Mapping[str, str] | None) -> Clip | None:
    name = str(entry["name"])
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{folder}: a clip is named {name!r}, expected a name inside of the folder")
    side = str(entry["split"]) if sides is None else sides.get(_plain(name))
    if side is None:
        return None
    if side not in SIDES:
        raise DataError(f"{folder}: clip {name} is of the side {side!r}, expected train or validation")
    return Clip(name, str(entry["person"]), side, int(entry["frames"]), folder / "clips" / name, mesh)


def _table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); make it by `marotte prepare CLIPS --mesh face --out {path.parent}`"
        ) from error
    if not isinstance(table, dict) or not isinstance(table.get("clips"), list):
        raise DataError(f"{path}: lists no clips; prepare the folder again")
    if missing := [name for name in ("mesh", "texture", "faces") if name not in table]:
        raise DataError(f"{path}: does not say {missing[0]}; prepare the folder again")
    _expect_count(path, "texture", table["texture"])
    for entry in table["clips"]:
        if not isinstance(entry, dict):
            raise DataError(f"{path}: lists {entry!r} as a clip; prepare the folder again")
        if missing := [name for name in ("name", "person", "frames", "split") if name not in entry]:
            raise DataError(f"{path}: a clip does not say its {missing[0]}; prepare the folder again")
        _expect_count(path, "frames", entry["frames"])
    return table


def _expect_count(path: Path, what: str, got: Any) -> None:
    if type(got) is not int or got < 1:
        raise DataError(
            f"{path}: its {what} is {got!r}, expected a whole number above 0; prepare the folder again"
        )


def _shared(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    except DAMAGE as error:
        raise DataError(f"{path}: is missing or damaged ({error}); prepare the folder again") from error


def _expect(folder: Path, what: str, got: Any, expected: Any) -> None:
    if got != expected:
        raise DataError(f"{folder}: its {what} is {got!r}, expected {expected!r}; prepare it for that")


def _listed(folder: Path) -> dict[str, str]:
    """Clip to side, of iPER's lists."""
    sides: dict[str, str] = {}
    for side, file in zip(SIDES, ("train.txt", "val.txt")):
        try:
            lines = (folder / file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{folder / file}: cannot be read ({error})") from error
        names = [_plain(line.strip()) for line in lines if line.strip()]
        if twice := [name for name in names if name in sides]:
            raise DataError(f"{folder}: {twice[0]} stands on both sides, or twice")
        sides |= dict.fromkeys(names, side)
    return sides


def _plain(name: str) -> str:
    """A clip's name without what sets its parts apart: 001/1/1 in iPER's lists is the video 001_1_1.mp4, and the clip
    001_1_1 or 001__1__1 that is prepared from it."""
    return re.sub(r"[/_]+", "_", name.removesuffix(".mp4"))


def frontal_first(clip: Clip, frames: Sequence[int]) -> list[int]:
    """These frames of a clip, the least turned first; of equally turned ones the earlier."""
    return sorted(frames, key=lambda frame: (float(clip.turned[frame]), frame))
