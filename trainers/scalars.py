"""What is recorded over time: one row of means per interval, as CSV and for TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.checkpoint import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_FIRST = ("step", "stage", "seconds")


class Window:
    """The mean of each scalar since the last row; a scalar that is not there in every step counts where it is."""

    def __init__(self, state: Mapping[str, tuple[float, int]] | None = None) -> None:
        self._sums = {name: (float(total), int(count)) for name, (total, count) in (state or {}).items()}

    def add(self, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)

    def means(self) -> dict[str, float]:
        """The means, and a new beginning."""
        means = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums = {}
        return means

    def state(self) -> dict[str, tuple[float, int]]:
        return dict(self._sums)


class Table:
    """`scalars.csv`: step, stage, seconds of training so far, then one column per scalar, empty where it was not there.

    A training that goes on from `step` keeps the rows up to it.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self._columns: list[str] = list(_FIRST)
        self._rows: list[dict[str, str]] = []
        if path.exists() and step > 0:
            with path.open(encoding="utf-8", errors="replace", newline="") as file:
                reader = csv.DictReader(file)
                self._rows = [
                    row for row in reader if (row["step"] or "").isdigit() and int(row["step"]) <= step
                ]
                self._columns = list(reader.fieldnames or _FIRST)
        self._rewrite()

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row. Raises StorageError or OSError when it cannot be written."""
        text = {
            name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in row.items()
        }
        self._rows.append(text)
        further = [name for name in row if name not in self._columns]
        if further:
            self._columns += further
            self._rewrite()
        else:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(self._text([text]))

    def contents(self) -> tuple[Sequence[str], Sequence[Mapping[str, str]]]:
        """Columns and rows, as text."""
        return self._columns, self._rows

    def _rewrite(self) -> None:
        write_text(self._path, self._text([dict(zip(self._columns, self._columns)), *self._rows]))

    def _text(self, rows: list[dict[str, str]]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self._columns, restval="", lineterminator="\n").writerows(rows)
        return text.getvalue()


class Board:
    """The same for TensorBoard, below `tensorboard/`."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: SummaryWriter = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, scalars: Mapping[str, float], step: int) -> None:
        """Raises OSError when it cannot be written."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
