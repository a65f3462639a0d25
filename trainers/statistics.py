"""What a table of action units looks like, and whether anything can be learnt from it.

Wrong AUs are the commonest cause of a GANimation that learns to do nothing: gaze or pose numbers read as AUs, a table
of another extractor, intensities not divided by 5, one row repeated for every picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainers.errors import DataError
from trainers.faces import AU_NAMES

_LEAST_SPREAD = 0.02
_SILENT = 0.005
_LEAST_ALIVE = 3
_BEYOND = 1e-3


@dataclass(frozen=True)
class AuStatistics:
    """Per AU, in the order of `names`. zeros: share of pictures in which it is exactly 0."""

    names: tuple[str, ...]
    pictures: int
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    least: tuple[float, ...]
    largest: tuple[float, ...]
    zeros: tuple[float, ...]

    @property
    def alive(self) -> tuple[str, ...]:
        """The AUs that differ between pictures; the others cannot be learnt."""
        return tuple(name for name, spread in zip(self.names, self.spread) if spread >= _SILENT)

    def lines(self) -> list[str]:
        """A table to print."""
        head = f"{'AU':<6}{'mean':>8}{'spread':>8}{'least':>8}{'largest':>8}{'zeros':>8}"
        rows = zip(self.names, self.mean, self.spread, self.least, self.largest, self.zeros)
        return [
            head,
            *(f"{name:<6}" + "".join(f"{value:8.3f}" for value in values) for name, *values in rows),
        ]


def au_statistics(aus: npt.NDArray[np.float32], names: Sequence[str] = AU_NAMES) -> AuStatistics:
    """Of a table (N, len(names)), N at least 1."""
    columns = np.asarray(aus, np.float64)
    figures = (columns.mean(0), columns.std(0), columns.min(0), columns.max(0), (columns == 0).mean(0))
    return AuStatistics(tuple(names), len(columns), *(tuple(map(float, values)) for values in figures))


def check_aus(aus: npt.NDArray[np.float32], where: str, names: Sequence[str] = AU_NAMES) -> AuStatistics:
    """The statistics of a table that can be learnt from. Raises DataError that explains why one cannot.

    Refused: no rows, another width, numbers that are not finite or not in 0..1, all zeros, all rows alike, fewer than
    three AUs that vary. where: what the table is, for the message.
    """
    table = np.asarray(aus)
    if table.ndim != 2 or table.shape[1] != len(names) or not len(table):
        raise DataError(
            f"{where}: got AUs {table.shape}, expected (pictures, {len(names)}), at least one picture"
        )
    check_range(table, where, names)
    statistics = au_statistics(table, names)
    if not np.any(table):
        raise DataError(
            f"{where}: every AU is 0 in all {len(table)} pictures; the extractor found nothing: run it again"
        )
    if len(table) > 1 and max(statistics.spread) < _LEAST_SPREAD:
        raise DataError(
            f"{where}: the AUs are the same in all {len(table)} pictures (largest spread "
            f"{max(statistics.spread):.3f}); is one row repeated? Nothing can be learnt from them"
        )
    if len(table) > 1 and len(statistics.alive) < _LEAST_ALIVE:
        raise DataError(
            f"{where}: only {', '.join(statistics.alive) or 'no AU'} varies between pictures, expected at least "
            f"{_LEAST_ALIVE} AUs; use more varied pictures or synthesised expressions"
        )
    return statistics


def check_range(aus: npt.NDArray[np.floating], where: str, names: Sequence[str] = AU_NAMES) -> None:
    """Raises DataError when a number of a table (N, len(names)) is not finite or not in 0..1: what else it may be."""
    if not aus.size:
        return
    if not np.isfinite(aus).all():
        row = int(np.argwhere(~np.isfinite(aus))[0][0])
        raise DataError(f"{where}: the AUs of picture {row} are not finite; measure them again")
    row, column = (int(place) for place in np.unravel_index(np.argmax(np.abs(aus - 0.5)), aus.shape))
    worst = float(aus[row, column])
    if -_BEYOND <= worst <= 1.0 + _BEYOND:
        return
    if aus.min() >= 0.0 and aus.max() <= 5.0 + _BEYOND:
        hint = "they look like OpenFace's 0..5: divide by 5"
    else:
        hint = "these are no intensities (gaze, pose or presence columns, read by position?)"
    raise DataError(f"{where}: {names[column]} is {worst:.3g} in picture {row}, expected 0 .. 1; {hint}")
