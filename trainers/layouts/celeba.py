"""CelebA and CelebA-HQ as GeoGAN reads them.

img_align_celeba/<file>                 178 x 218, of which the central 178 x 178 are used
Anno/list_attr_celeba.txt               count, names, then per file one of -1 and 1 per name
Anno|Eval/list_eval_partition.txt       file and 0 (train), 1 (validation) or 2 (test)
all_landmark.json                       file to 68 (x, y) pixels of the 178 x 218 picture, 300-W order
CelebA-HQ                               HDF5, `data1024x1024` (N, 3, 1024, 1024) uint8
image_list.txt                          columns `idx` (row of CelebA-HQ) and `orig_file`
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.errors import DataError, PictureError
from trainers.faces import CACHE_BYTES, U8, Faces, resize_pixels, scale_landmarks
from trainers.layouts.pictures import PictureFiles

SIDE, WIDTH, HEIGHT = 178, 178, 218
TOP = (HEIGHT - SIDE) // 2
PARTITIONS = {"0": "train", "1": "validation", "2": "test"}
HQ_DATA = "data1024x1024"

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Attributed:
    """One split. attributes: bool (N, A), columns in the order of `names`; row k belongs to picture k of `faces`."""

    faces: Faces
    attributes: npt.NDArray[np.bool_]
    names: tuple[str, ...]

    def split_by(self, attribute: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Indices (without it, with it), in list order; fresh arrays, so that attributes never share a list."""
        if attribute not in self.names:
            raise DataError(f"attribute {attribute!r} is not read, expected one of {', '.join(self.names)}")
        column = self.attributes[:, self.names.index(attribute)]
        return np.flatnonzero(~column), np.flatnonzero(column)


def normalise_landmarks(
    points: npt.NDArray[np.floating], center: Sequence[float] = (88.0, 108.0), scale: float = 88.0
) -> F32:
    """Landmarks (..., 2) in pixels of the 178 x 218 picture to GeoGAN's units: (x - center_x) / scale, and y likewise.

    The official numbers are the defaults. (88.5, 108.5) and 88.5 would be exact: -1..1 over the pixel centres of the
    central 178 x 178. Landmarks outside the crop lie beyond -1..1.
    """
    return ((np.asarray(points, np.float64) - np.asarray(center, np.float64)) / scale).astype(np.float32)


def open_celeba(
    folder: Path | str,
    size: int,
    attributes: Sequence[str],
    *,
    images: str = "img_align_celeba",
    landmarks: bool = True,
    cache_bytes: int = CACHE_BYTES,
) -> dict[str, Attributed]:
    """The splits `train`, `validation` and `test` by the official partition; nothing is shared between them.

    attributes: names of list_attr_celeba.txt. landmarks: read all_landmark.json too; pictures it lacks are left out.
    Pictures and landmarks are those of the central 178 x 178 at `size`. Raises DataError.
    """
    folder = Path(folder)
    table = read_attributes(folder / "Anno" / "list_attr_celeba.txt", attributes)
    partition = read_partition(folder)
    points = read_landmarks(folder / "all_landmark.json") if landmarks else None
    splits = {}
    for side in PARTITIONS.values():
        files = [name for name in table if partition.get(name) == side and (points is None or name in points)]
        places = None if points is None else _cropped(np.array([points[name] for name in files]), size)
        faces = Faces(
            files,
            PictureFiles(tuple(folder / images / name for name in files), size, square=SIDE),
            size=size,
            landmarks=places,
            cache_bytes=cache_bytes,
        )
        splits[side] = Attributed(faces, _rows(table, files, attributes), tuple(attributes))
    return _not_empty(splits, folder)


def open_celeba_hq(
    folder: Path | str,
    size: int,
    attributes: Sequence[str],
    *,
    data: str = "CelebA-HQ",
    cache_bytes: int = CACHE_BYTES,
) -> dict[str, Attributed]:
    """CelebA-HQ's splits, by the partition of each picture's origin in CelebA, whose attributes it has.

    Needs h5py; raises DataError saying so, or what is wrong with the files.
    """
    folder = Path(folder)
    table = read_attributes(folder / "Anno" / "list_attr_celeba.txt", attributes)
    partition = read_partition(folder)
    origin = read_image_list(folder / "image_list.txt")
    rows = _HdfRows(folder / data)
    if max(origin, default=0) >= rows.count:
        raise DataError(f"{folder / 'image_list.txt'}: names row {max(origin)}, {data} has {rows.count}")
    splits = {}
    for side in PARTITIONS.values():
        kept = [row for row, name in origin.items() if name in table and partition.get(name) == side]
        files = [origin[row] for row in kept]
        faces = Faces(files, _HdfPictures(rows, tuple(kept), size), size=size, cache_bytes=cache_bytes)
        splits[side] = Attributed(faces, _rows(table, files, attributes), tuple(attributes))
    return _not_empty(splits, folder)


def read_attributes(path: Path, attributes: Sequence[str]) -> dict[str, tuple[bool, ...]]:
    """File to whether it has each of `attributes`, in the file's order. Raises DataError."""
    lines = _lines(path)
    names = lines[1].split() if len(lines) > 1 else []
    unknown = [name for name in attributes if name not in names]
    if unknown or not attributes:
        raise DataError(
            f"{path}: has no attribute {unknown[0] if unknown else ''!r}; expected some of {', '.join(names)}"
        )
    columns = [names.index(name) + 1 for name in attributes]
    table: dict[str, tuple[bool, ...]] = {}
    for number, line in enumerate(lines[2:], 3):
        cells = line.split()
        if len(cells) != len(names) + 1 or not set(cells[1:]) <= {"1", "-1"}:
            raise DataError(
                f"{path}: line {number} is no file name with {len(names)} of 1 and -1; is it cut off?"
            )
        table[cells[0]] = tuple(cells[column] == "1" for column in columns)
    if lines[0].strip().isdigit() and int(lines[0]) != len(table):
        raise DataError(f"{path}: lists {len(table)} files and announces {lines[0].strip()}; is it cut off?")
    return table


def read_partition(folder: Path) -> dict[str, str]:
    """File to train, validation or test; the list stands under Eval (as CelebA ships it) or Anno (as GeoGAN asks)."""
    places = [folder / place / "list_eval_partition.txt" for place in ("Anno", "Eval")]
    path = next((one for one in places if one.is_file()), None)
    if path is None:
        raise DataError(f"{places[0]} is not there, nor under Eval; get it with CelebA's annotations")
    partition = {}
    for number, line in enumerate(_lines(path), 1):
        cells = line.split()
        if len(cells) != 2 or cells[1] not in PARTITIONS:
            raise DataError(f"{path}: line {number} is no file name with 0, 1 or 2; is it cut off?")
        partition[cells[0]] = PARTITIONS[cells[1]]
    return partition


def read_landmarks(path: Path) -> dict[str, F32]:
    """File to float32 (68, 2), pixels of the 178 x 218 picture. Raises DataError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected a file name to 68 points each"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: is no object, expected a file name to 68 points each")
    points = {}
    for name, places in content.items():
        try:
            points[name] = np.array(places, np.float32)
        except (TypeError, ValueError):
            points[name] = np.empty(0, np.float32)
        if points[name].shape != (68, 2) or not np.isfinite(points[name]).all():
            raise DataError(f"{path}: {name!r} has no 68 points (x, y)")
    return points


def read_image_list(path: Path) -> dict[int, str]:
    """Row of CelebA-HQ to the name of the picture that it was made from. Columns `idx` and `orig_file` by name."""
    lines = _lines(path)
    names = lines[0].split()
    if not {"idx", "orig_file"} <= set(names):
        raise DataError(f"{path}: its header lacks idx or orig_file; get CelebA-HQ's image_list.txt")
    row, origin = names.index("idx"), names.index("orig_file")
    found: dict[int, str] = {}
    for number, line in enumerate(lines[1:], 2):
        cells = line.split()
        if len(cells) != len(names) or not cells[row].isdigit():
            raise DataError(f"{path}: line {number} has not the {len(names)} columns of its header")
        found[int(cells[row])] = cells[origin]
    return found


class _HdfRows:
    """The rows of the HDF5 file, opened anew in each process that reads."""

    def __init__(self, path: Path) -> None:
        try:
            import h5py  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise DataError(
                "CelebA-HQ needs h5py, which is not installed: `pip install h5py`, or marotte[celeba-hq]"
            ) from error
        self._h5py, self._path = h5py, path
        self._open: Any = None
        try:
            shape, kind = self._data().shape, self._data().dtype
        except (OSError, KeyError) as error:
            raise DataError(
                f"{path}: is no HDF5 file with {HQ_DATA} ({error}); get CelebA-HQ again"
            ) from error
        if len(shape) != 4 or shape[1] != 3 or kind != np.uint8:
            raise DataError(f"{path}: {HQ_DATA} is {kind} {shape}, expected uint8 (N, 3, 1024, 1024)")
        self.count = int(shape[0])

    def __call__(self, row: int, size: int) -> U8:
        try:
            chw = self._data()[row]
        except OSError as error:
            raise PictureError(f"{self._path}: row {row} cannot be read ({error})") from error
        return resize_pixels(np.ascontiguousarray(np.asarray(chw, np.uint8).transpose(1, 2, 0)), size)

    def _data(self) -> Any:
        if self._open is None:
            self._open = self._h5py.File(self._path, "r")
        return self._open[HQ_DATA]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None, "_h5py": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import h5py

        self.__dict__.update(state | {"_h5py": h5py})


@dataclass(frozen=True)
class _HdfPictures:
    rows: _HdfRows
    kept: tuple[int, ...]
    size: int

    def __call__(self, index: int) -> U8:
        return self.rows(self.kept[index], self.size)


def _cropped(points: F32, size: int) -> F32:
    """From pixels of the 178 x 218 picture to those of its central square at `size`."""
    if not len(points):
        return np.zeros((0, 68, 2), np.float32)
    return scale_landmarks(points - np.array([0.0, TOP], np.float32), SIDE, size)


def _rows(
    table: Mapping[str, tuple[bool, ...]], files: Sequence[str], attributes: Sequence[str]
) -> npt.NDArray[np.bool_]:
    return np.array([table[name] for name in files], bool).reshape(len(files), len(attributes))


def _not_empty(splits: dict[str, Attributed], folder: Path) -> dict[str, Attributed]:
    if not len(splits["train"].faces):
        raise DataError(
            f"{folder}: no picture is listed for training in all of its lists; are they of one data set?"
        )
    return splits


def _lines(path: Path) -> list[str]:
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); get it with CelebA's annotations") from error
    if not lines:
        raise DataError(f"{path}: is empty; get it with CelebA's annotations")
    return lines
