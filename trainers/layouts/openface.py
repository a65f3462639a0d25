"""OpenFace's CSV, read by the names of its columns and never by their places.

The still-image tool writes `face, confidence, AU01_r ..` with `-aus`, and hundreds of gaze, pose and landmark columns
before the AUs without it; the clip tool writes `frame, face_id, timestamp, confidence, success, ..`. Reading columns
2..18 takes gaze and pose for AUs in all but the first.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainers.errors import DataError
from trainers.faces import AU_NAMES

INTENSITY = 5.0
"""OpenFace's largest intensity, which is 1 here."""

_COLUMNS = tuple(f"{name}_r" for name in AU_NAMES)


def read_openface(path: Path) -> npt.NDArray[np.float32]:
    """The AUs of the face with the highest confidence, float32 (17,), 0..1, of one picture's table.

    Raises DataError when there is no face, when intensities (`AU.._r`) are missing, are no numbers or not in 0..5, or
    when the table is a clip's (rows of several frames).
    """
    names, rows = _rows(path)
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise DataError(
            f"{path}: lacks the column {missing[0]!r}; run OpenFace with -aus, which writes intensities (`AU01_r`)"
        )
    frames = {row["frame"] for row in rows} if "frame" in names else set()
    if len(frames) > 1:
        raise DataError(
            f"{path}: has rows of {len(frames)} frames, expected one picture's; use the still-image tool"
        )
    if not rows:
        raise DataError(f"{path}: lists no face; leave the picture out")
    best = max(rows, key=lambda row: _number(row.get("confidence", "1"), "confidence", path))
    aus = np.array([_number(best[name], name, path) for name in _COLUMNS])
    if not (aus.min() >= 0.0 and aus.max() <= INTENSITY):
        worst = _COLUMNS[int(np.argmax(np.abs(aus - INTENSITY / 2)))]
        raise DataError(f"{path}: {worst} is {best[worst]}, expected 0 .. 5; are the columns shifted?")
    return (aus / INTENSITY).astype(np.float32)


def _rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = [[cell.strip() for cell in line] for line in csv.reader(stream) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected OpenFace's CSV") from error
    if not lines:
        raise DataError(f"{path}: is empty; expected OpenFace's CSV with a header")
    names = lines[0]
    for line in lines[1:]:
        if len(line) != len(names):
            raise DataError(
                f"{path}: a row has {len(line)} cells, the header {len(names)}; is the file cut off?"
            )
    return names, [dict(zip(names, line)) for line in lines[1:]]


def _number(text: str, name: str, path: Path) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise DataError(f"{path}: {name} is {text!r}, expected a number")
    return number
