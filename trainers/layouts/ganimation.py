"""GANimation's official data folder.

    imgs/<id>.jpg   train_ids.csv   test_ids.csv   aus_openface.pkl (or aus.pkl, or openface_csv/<id>.csv)

The id files list one file name per line, whose last four characters are cut off. The AU pickle maps ids to 17
OpenFace intensities in 0..5; Python 2 and 3 write it alike. Ids without AUs are left out, as there, but told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainers.errors import DataError
from trainers.faces import AU_NAMES, CACHE_BYTES, Faces
from trainers.layouts.openface import INTENSITY, read_openface
from trainers.layouts.pickles import read_pickle
from trainers.layouts.pictures import PictureFiles
from trainers.statistics import AuStatistics, check_aus

AU_FILES = ("aus_openface.pkl", "aus.pkl", "openface_csv")
"""Where the AUs are looked for: the trainer's own name, the name that the official converter writes, and a folder of
OpenFace tables."""

Aus = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class AusFolder:
    """Both sides of the folder. left_out: ids without AUs, by side. statistics: of the training AUs."""

    train: Faces
    validation: Faces
    left_out: Mapping[str, tuple[str, ...]]
    statistics: AuStatistics | None


def open_aus_folder(
    folder: Path | str,
    size: int,
    *,
    images: str = "imgs",
    train_ids: str = "train_ids.csv",
    test_ids: str = "test_ids.csv",
    aus: str = "",
    check: bool = True,
    cache_bytes: int = CACHE_BYTES,
) -> AusFolder:
    """Read the official folder; pictures at `size`, AUs in 0..1 (intensities over 5).

    aus: name of the pickle or folder, by default the first of AU_FILES that is there. check: refuse AU statistics from
    which nothing can be learnt. Raises DataError; a picture that cannot be read is a PictureError when it is taken.
    """
    folder = Path(folder)
    table = read_aus(folder / aus) if aus else read_aus(_first(folder))
    sides, left_out = {}, {}
    for side, name in (("train", train_ids), ("validation", test_ids)):
        ids = read_ids(folder / name)
        left_out[side] = tuple(one for one in ids if one not in table)
        kept = [one for one in ids if one in table]
        if ids and not kept:
            raise DataError(
                f"{folder}: none of the {len(ids)} ids of {name} has AUs; are they of another data set?"
            )
        sides[side] = Faces(
            kept,
            PictureFiles(tuple(folder / images / f"{one}.jpg" for one in kept), size),
            size=size,
            aus=np.stack([table[one] for one in kept]) if kept else np.zeros((0, len(AU_NAMES)), np.float32),
            cache_bytes=cache_bytes,
        )
    trained = sides["train"].aus
    statistics = check_aus(trained.numpy(), str(folder)) if check and trained is not None else None
    return AusFolder(sides["train"], sides["validation"], left_out, statistics)


def read_ids(path: Path) -> list[str]:
    """The ids of a list, in order, each once: file names without their last four characters."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected one file name per line") from error
    names = [line.strip() for line in lines if line.strip()]
    strange = [name for name in names if len(name) < 5 or name[-4] != "."]
    if strange:
        raise DataError(
            f"{path}: {strange[0]!r} is no file name with an extension of three letters, such as {'a.jpg'!r}"
        )
    return list(dict.fromkeys(name[:-4] for name in names))


def read_aus(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Id to AUs, float32 (17,) in 0..1, from the official pickle or a folder of OpenFace tables.

    Raises DataError when it cannot be read, holds code, or its entries are no 17 intensities in 0..5: what becomes of a
    full table read by position.
    """
    if path.is_dir():
        return {table.stem: read_openface(table) for table in sorted(path.glob("*.csv"))}
    content = read_pickle(path)
    if not isinstance(content, dict) or not content:
        raise DataError(
            f"{path}: holds {type(content).__name__}, expected a dictionary from ids to 17 intensities"
        )
    return {_id(key, path): _intensities(value, key, path) for key, value in content.items()}


def _first(folder: Path) -> Path:
    for name in AU_FILES:
        if (folder / name).exists():
            return folder / name
    raise DataError(f"{folder}: holds no AUs; expected one of {', '.join(AU_FILES)}")


def _id(key: object, path: Path) -> str:
    if isinstance(key, bytes):
        return key.decode("latin-1")
    if not isinstance(key, str):
        raise DataError(f"{path}: has the id {key!r}, expected text")
    return key


def _intensities(value: object, key: object, path: Path) -> npt.NDArray[np.float32]:
    numbers: npt.NDArray[np.float64] | None = None
    if isinstance(value, (np.ndarray, Sequence)) and not isinstance(value, (str, bytes)):
        try:
            numbers = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            numbers = None
    if numbers is None or numbers.shape != (len(AU_NAMES),):
        got = type(value).__name__ if numbers is None else f"an array {numbers.shape}"
        raise DataError(
            f"{path}: {key!r} has {got}, expected {len(AU_NAMES)} intensities; a picture with several faces? "
            "Read OpenFace's tables instead (openface_csv/)"
        )
    if not (np.isfinite(numbers).all() and numbers.min() >= 0.0 and numbers.max() <= INTENSITY):
        worst = numbers[int(np.argmax(np.abs(np.nan_to_num(numbers, nan=np.inf) - INTENSITY / 2)))]
        raise DataError(
            f"{path}: {key!r} has an intensity of {worst:.3g}, expected 0 .. 5; a full table of OpenFace read by "
            "position gives gaze and pose: read it by name (openface_csv/)"
        )
    return (numbers / INTENSITY).astype(np.float32)
