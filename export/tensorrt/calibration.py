"""Calibration sets on disk: what graphs are given in use, from which int8 and fp8 take their ranges."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError


def cases(folder: Path, graph: str) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The cases of a graph: folder/graph/*.npz in the order of their names, each with one array per input.

    They are read one at a time, as they are asked for. Raises ConfigError at once where there is none, and then for a
    file that is no archive of plain arrays.
    """
    files = sorted((folder / graph).glob("*.npz"))
    if not files:
        raise ConfigError(
            f"calibration: there is no {folder / graph}/*.npz, expected 16 or more cases of that graph, each with an "
            "array per input"
        )
    return map(_case, files)


def _case(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"calibration: {file} is no archive of plain arrays ({type(error).__name__}); write it by numpy.savez"
        ) from error
